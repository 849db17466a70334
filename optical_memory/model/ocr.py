"""DeepSeek-OCR: DeepEncoder and decoder as one model, built from sizes or loaded from a checkpoint folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from optical_memory.errors import ContextTooLongError, ImageError, InputError, UnsupportedConfigError
from optical_memory.model.answer import Answer, Stream
from optical_memory.model.blocks import AttentionKind
from optical_memory.model.checkpoint import Checkpoint, as_tensor, fill, progress_bar, save
from optical_memory.model.config import OcrConfig, check_overrides
from optical_memory.model.decoder import Decoder
from optical_memory.model.deepencoder import DeepEncoder
from optical_memory.model.generate import Generator
from optical_memory.model.image import MAX_TILES, Mode, Pixels, find_mode, prepare
from optical_memory.model.initialise import materialise
from optical_memory.model.limits import device_memory
from optical_memory.model.prompts import FREE_OCR, Context
from optical_memory.model.tokenizer import Tokenizer
from optical_memory.renderers.base import Page

_FORMS = 128
"""Forms of a layer that may be compiled: three kinds of layers, in as many modes and batch sizes as come."""
Picture = Image.Image | Pixels | Tensor | np.ndarray[Any, Any]
"""What the encoder takes: an image, its prepared pixels, or one view as (3, S, S) normalised values."""


class DeepseekOcr(nn.Module):
    """The published model, or one of other sizes.

    Built without values: each half takes memory when it is loaded or first used (see ``initialise.py``). For
    inference; ``requires_grad_()`` makes it trainable.
    """

    def __init__(
        self,
        config: OcrConfig,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        attention: AttentionKind = "fused",
    ) -> None:
        super().__init__()
        self.config = config
        self.folder: Path | None = None  # where the checkpoint and its tokenizer lie
        with torch.device("meta"):
            self.encoder = DeepEncoder(config.encoder, attention=attention).to(dtype)
            self.decoder = Decoder(config.decoder).to(dtype)
        # Follows .to(): what has no values yet is made where this is.
        self.register_buffer("_where", torch.empty(0, device=device, dtype=dtype), persistent=False)
        self._where: Tensor
        self.requires_grad_(False).eval()

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self._where.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of parameters and activations."""
        return self._where.dtype

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Let ``.to()`` and its kin change the type of parameters without values, and leave them without."""

        def moved(tensor: Tensor) -> Tensor:
            if not tensor.is_meta:
                return fn(tensor)
            return torch.empty_like(tensor, dtype=fn(torch.empty(0, dtype=tensor.dtype)).dtype)

        super()._apply(moved, recurse)  # type: ignore[no-untyped-call]
        return self

    def load_tensors(self, tensors: Mapping[str, Any], *, strict: bool = True, check: bool = True) -> Self:
        """Load published tensors by name: torch or NumPy, in any type.

        ``strict=False`` allows any subset; what is not loaded keeps its values, or gets random ones when first
        used. ``check`` refuses NaN and infinity. Raises CheckpointError with the lists of names missing, unexpected
        and mis-shaped; the model is unchanged then.
        """
        fill(self, self.config, tensors, strict=strict, check=check, device=self.device)
        self.__dict__.pop("generator", None)  # its caches are of the old values
        return self

    def save(self, folder: str | Path) -> None:
        """Write config, index and tensors under the published names. Raises MissingExtraError."""
        self.ready(self.encoder, self.decoder)
        save(self, self.config, folder)

    def vision_tokens(self, pixels: Tensor | np.ndarray[Any, Any]) -> Tensor:
        """Encode normalised pixels (3, S, S) to (N, hidden) projected tokens in row order, no newlines.

        A batch (B, 3, S, S) gives (B, N, hidden). S is a multiple of 64. Raises ImageError, OutOfMemoryError.
        """
        batch = as_tensor(pixels)
        if batch.dim() not in (3, 4):
            raise ImageError(f"pixels must be (3, S, S) or (B, 3, S, S), not {tuple(batch.shape)}")
        with device_memory([find_mode(batch.shape[-1])]):
            tokens = self._encode(batch if batch.dim() == 4 else batch.unsqueeze(0))  # (B, N, hidden)
        return tokens if batch.dim() == 4 else tokens[0]

    def sequence(self, image: Picture, mode: str | int | Mode = "gundam") -> Tensor:
        """Encode an image to the rows that the decoder sees, newlines and separator included: (S, hidden).

        ``mode`` is one of ``image.MODES``, a side in px, or a :class:`Mode`; it does not matter for pixels. Raises
        ImageError, OutOfMemoryError.
        """
        return self.sequences([image], mode)[0]

    def sequences(
        self,
        images: Sequence[Picture],
        mode: str | int | Mode | Sequence[str | int | Mode] = "gundam",
        *,
        batch: int | None = None,
    ) -> list[Tensor]:
        """Encode many images as :meth:`sequence` does, each in its own mode or all in one.

        Views and tiles of equal size go through the encoder together, at most ``batch`` at a time: by default 16 on
        an accelerator and 1 on a CPU, where more at once are not faster and take more memory.
        """
        batch = batch or (1 if self.device.type == "cpu" else 16)
        modes = [mode] * len(images) if isinstance(mode, str | int | Mode) else mode
        pages = [as_pixels(image, each) for image, each in zip(images, modes, strict=True)]
        squares: dict[int, list[tuple[int, np.ndarray[Any, Any]]]] = {}  # side in px: (page, (3, side, side))
        for index, page in enumerate(pages):
            for square in (page.view, *(() if page.tiles is None else page.tiles)):
                squares.setdefault(square.shape[-1], []).append((index, square))
        tokens: list[list[Tensor]] = [[] for _ in pages]  # of each page: its view, then its tiles
        with device_memory([find_mode(each) for each in modes]):
            for group in squares.values():
                for part in (group[start : start + batch] for start in range(0, len(group), batch)):
                    pixels = torch.stack([as_tensor(square).to(self.device) for _, square in part])
                    encoded = self._encode(pixels)  # (n, N, hidden)
                    for (index, _), each in zip(part, encoded, strict=True):
                        tokens[index].append(each)
        with torch.no_grad():
            return [
                self.encoder.arrange(view, torch.stack(tiles) if tiles else None, page.grid)
                for page, (view, *tiles) in zip(pages, tokens, strict=True)
            ]  # (S, hidden) each

    @torch.no_grad()
    def _encode(self, pixels: Tensor) -> Tensor:
        """Encode (B, 3, S, S) to (B, N, hidden)."""
        self.ready(self.encoder)
        tokens: Tensor = self.encoder(pixels.to(self.device, self.dtype))  # (B, N, hidden)
        return tokens

    def logits(self, input_ids: Tensor | Sequence[int] | np.ndarray[Any, Any]) -> Tensor:
        """Run token ids (T,) through the decoder: (T, vocab), the logits of what follows each. (B, T) works too.

        Raises InputError for ids outside the vocabulary, ContextTooLongError, OutOfMemoryError.
        """
        ids = as_tensor(input_ids).to(self.device, torch.long)
        config = self.config.decoder
        if ids.dim() not in (1, 2) or not ids.numel():
            raise InputError(f"input_ids must be (T,) or (B, T) and not empty, not {tuple(ids.shape)}")
        if ids.shape[-1] > config.max_position_embeddings:
            raise ContextTooLongError(
                f"{ids.shape[-1]} tokens; the decoder has {config.max_position_embeddings} positions"
            )
        if int(ids.min()) < 0 or int(ids.max()) >= config.vocab_size:
            raise InputError(f"input_ids must be 0 to {config.vocab_size - 1}")
        with torch.no_grad(), device_memory(()):
            self.ready(self.decoder)
            hidden = self.decoder(self.decoder.embed(ids.reshape(-1, ids.shape[-1])))  # (B, T, hidden)
            logits: Tensor = self.decoder.head(hidden)  # (B, T, vocab)
        return logits.view(*ids.shape, -1)

    @cached_property
    def generator(self) -> Generator:
        """Encodes pages and answers prompts, and keeps both caches. Assign another for other bounds or a folder."""
        return Generator(self, None if self.folder is None else Tokenizer.from_folder(self.folder))

    def encode(self, page: Page) -> Tensor:
        """Return a page's rows (S, hidden) as :meth:`sequence` does, cached by page id and tier.

        Raises ImageError, OutOfMemoryError.
        """
        return self.generator.encode(page)

    def generate(self, context: Context, prompt: str = FREE_OCR, **options: Any) -> Answer | Stream:
        """Answer ``prompt`` on a context, a page, a text, or pages and text in order: :meth:`Generator.generate`."""
        result: Answer | Stream = self.generator.generate(context, prompt, **options)
        return result

    def generate_batch(self, contexts: Sequence[Context], prompt: str = FREE_OCR, **options: Any) -> list[Answer]:
        """Answer ``prompt`` on each context, all at once: :meth:`Generator.generate_batch`."""
        return self.generator.generate_batch(contexts, prompt, **options)

    def compile(self, **options: Any) -> None:
        """Compile the encoder's layers with ``torch.compile``, one by one.

        At Base on an H100, in bfloat16, the layers as they come are faster (``docs/gpu.md``).
        ``options`` go to ``torch.compile``. The first call of each mode and batch size takes a while. PyTorch's limit
        of 8 forms of a function, past which it would silently run layers uncompiled, is raised.
        """
        import torch._dynamo

        settings: Any = torch._dynamo.config
        name = "recompile_limit" if hasattr(settings, "recompile_limit") else "cache_size_limit"  # before PyTorch 2.6
        setattr(settings, name, max(_FORMS, getattr(settings, name)))
        for layers in (self.encoder.sam.layers, self.encoder.clip.layers):
            layers.in_place = False
            for layer in layers:
                layer.compile(**{"dynamic": False, **options})

    def ready(self, *halves: nn.Module) -> None:
        """Give random values to what has none in these parts: ``self.encoder``, ``self.decoder``."""
        for name, half in (("encoder", self.encoder), ("decoder", self.decoder)):
            if half in halves:
                materialise(half, prefix=name, device=self.device)


def build(
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    attention: AttentionKind = "fused",
    **overrides: Any,
) -> DeepseekOcr:
    """Build the published model with random weights; ``overrides`` are keys of its ``config.json``.

    Raises UnsupportedConfigError.
    """
    check_overrides(overrides)
    return DeepseekOcr(OcrConfig.from_published(overrides), device=device, dtype=dtype, attention=attention)


def load(
    folder: str | Path,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    attention: AttentionKind = "fused",
    check: bool = True,
    progress: bool | None = None,
) -> DeepseekOcr:
    """Load a checkpoint folder: ``config.json`` and safetensors files, sharded or not.

    ``dtype`` None is the checkpoint's own, which on a CPU takes no memory beside the mapped files. ``check`` refuses
    NaN and infinity; ``progress`` shows a bar, by default on a terminal. Raises CheckpointError,
    UnsupportedConfigError, OutOfMemoryError, MissingExtraError.
    """
    checkpoint = Checkpoint(folder)
    config = checkpoint.config
    model = DeepseekOcr(config, device=device, dtype=dtype or _dtype(config.torch_dtype), attention=attention)
    advice = (
        f"{model.device} has no room for this checkpoint ({checkpoint.nbytes / 1e9:.2f} GB of files) as"
        f" {str(model.dtype).removeprefix('torch.')}; use another device or a smaller type (device=…, dtype=…)"
    )
    bar = progress_bar(f"Loading {Path(folder).name}", checkpoint.nbytes, show=progress)
    with bar as report, device_memory((), advice=advice):
        fill(model, config, checkpoint, check=check, device=model.device, report=report)
    model.folder = Path(folder)
    return model


def as_pixels(picture: Picture, mode: str | int | Mode) -> Pixels:
    """Prepare an image in a mode; take pixels as they are. Raises ImageError."""
    if isinstance(picture, Image.Image):
        return prepare(picture, mode)
    if isinstance(picture, Pixels):
        if picture.tiles is not None and len(picture.tiles) > MAX_TILES:
            raise ImageError(f"{len(picture.tiles)} tiles; at most {MAX_TILES} are allowed")
        return picture
    view = picture.detach().cpu().float().numpy() if isinstance(picture, Tensor) else np.asarray(picture, np.float32)
    if view.ndim != 3:
        raise ImageError(f"pixels must be (3, S, S), not {view.shape}")
    return Pixels(view=view)


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise UnsupportedConfigError(f"config: 'torch_dtype' is {name!r}, which is not a floating-point type")
    return found
