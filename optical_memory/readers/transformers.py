"""GOT-OCR2.0 and DeepSeek-OCR 2, through transformers' own classes; no code from the hub is run."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any, cast

from PIL import Image

from optical_memory.errors import CheckpointError, MissingExtraError, ReaderError
from optical_memory.readers.base import Reading
from optical_memory.readers.images import open_page
from optical_memory.renderers.base import Page


class TransformersReader(ABC):
    """A vision-language model that transformers knows, asked to transcribe one image at a time.

    ``path`` is a checkpoint folder or a hub id; ``device`` and ``dtype`` are torch's names ("cuda", "bfloat16");
    ``max_new_tokens`` bounds the transcript. Raises MissingExtraError, and CheckpointError for a checkpoint that cannot
    be found, is damaged, or belongs to another model.
    """

    name = "transformers"
    default_path = ""
    model_type = ""

    def __init__(
        self,
        path: str | None = None,
        *,
        device: str | None = None,
        dtype: str = "auto",
        max_new_tokens: int = 4096,
    ) -> None:
        """Load the model."""
        try:
            import transformers
        except ImportError as error:
            raise MissingExtraError("transformers", "transformers") from error
        source, library = path or self.default_path, cast(Any, transformers)
        try:
            found = library.AutoConfig.from_pretrained(source).model_type
            if found != self.model_type:
                raise CheckpointError(f"{source!r} is a model of type {found!r}, not {self.model_type!r}")
            self._processor: Any = library.AutoProcessor.from_pretrained(source)
            self._model: Any = library.AutoModelForImageTextToText.from_pretrained(source, dtype=dtype).eval()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise CheckpointError(f"cannot load {source!r} with transformers: {error}") from error
        if device is not None:
            self._model.to(device)
        self.max_new_tokens = max_new_tokens

    def read(self, page: Page | bytes) -> Reading:
        """Read a page or an encoded image. Raises ReaderError."""
        import torch

        start = time.perf_counter()
        inputs = self._inputs(open_page(page)).to(self._model.device, self._model.dtype)
        length = inputs["input_ids"].shape[1]
        image_tokens = int((inputs["input_ids"] == self._processor.image_token_id).sum())
        try:
            with torch.no_grad():
                output = self._model.generate(**inputs, do_sample=False, max_new_tokens=self.max_new_tokens)
        except RuntimeError as error:
            raise ReaderError(f"{self.name} failed: {error}") from error
        text = self._processor.batch_decode(output[:, length:], skip_special_tokens=True)[0]
        return Reading(text=text.strip(), seconds=time.perf_counter() - start, tokens=image_tokens)

    @abstractmethod
    def _inputs(self, image: Image.Image) -> Any:
        """Return what the model takes for one image, as torch tensors."""


class GotOcr2Reader(TransformersReader):
    """GOT-OCR2.0 (arXiv 2409.01704): 256 image tokens for the whole page."""

    name = "got-ocr2"
    default_path = "stepfun-ai/GOT-OCR-2.0-hf"
    model_type = "got_ocr2"

    def _inputs(self, image: Image.Image) -> Any:
        vision = self._model.config.vision_config
        side = vision.image_size // vision.patch_size // 4  # two stride-2 convolutions behind the patches
        return self._processor(images=image, num_image_tokens=side**2, return_tensors="pt")


class DeepseekOcr2Reader(TransformersReader):
    """DeepSeek-OCR 2, with the published plain prompt."""

    name = "deepseek-ocr-2"
    default_path = "deepseek-community/DeepSeek-OCR-2"
    model_type = "deepseek_ocr2"

    def _inputs(self, image: Image.Image) -> Any:
        return self._processor(images=image, text="<image>\nFree OCR.", return_tensors="pt")
