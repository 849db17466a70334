"""DeepSeek-OCR, in this process, as a reader."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np

from optical_memory.readers.base import Reading
from optical_memory.readers.images import open_page
from optical_memory.renderers.base import Grid, Layout, Page

_FLOW = "".maketrans({"\u21b5": "\n", "\u21e5": "\t"})


class DeepseekOcrReader:
    """Reads with a DeepSeek-OCR checkpoint.

    ``path`` is a checkpoint folder or a hub id (default: the published weights). ``prompt`` is a name in
    ``optical_memory.model.prompts.PROMPTS`` or a prompt of your own. ``mode`` shows bare images (default Gundam, as
    published); pages are shown at their own tier. Other ``options`` go to :func:`optical_memory.model.load_model`.
    Raises CheckpointError, MissingExtraError, UnsupportedConfigError.
    """

    name = "deepseek-ocr"

    def __init__(
        self,
        path: str | Path = "deepseek-ai/DeepSeek-OCR",
        *,
        prompt: str = "free-ocr",
        mode: str = "gundam",
        max_new_tokens: int | None = None,
        **options: Any,
    ) -> None:
        """Load the model."""
        from optical_memory.model import load_model
        from optical_memory.model.image import find_mode
        from optical_memory.model.prompts import PROMPTS

        self.mode = find_mode(mode)
        self.prompt = PROMPTS.get(prompt, prompt)
        self.max_new_tokens = max_new_tokens
        self.model = load_model(str(path), **options)

    def read(self, page: Page | bytes) -> Reading:
        """Read a page, or an encoded image. Raises ReaderError, ImageError, OutOfMemoryError."""
        return self.read_many([page])[0]

    def read_many(self, pages: list[Page | bytes]) -> list[Reading]:
        """Read several at once, of different modes too; ``seconds`` is each one's share of the whole."""
        start = time.perf_counter()
        contexts = [self._page(page) for page in pages]
        answers = self.model.generate_batch(contexts, self.prompt, max_new_tokens=self.max_new_tokens)
        seconds = (time.perf_counter() - start) / max(len(pages), 1)
        return [
            Reading(text=answer.plain.translate(_FLOW), seconds=seconds, tokens=answer.usage.vision_tokens)
            for answer in answers
        ]

    def _page(self, page: Page | bytes) -> Page:
        if isinstance(page, Page):
            return page
        image = open_page(page)  # refuses what is not an image
        size = image.size
        grid = Grid(width=size[0], height=size[1], cell_width=size[0], cell_height=size[1])
        key = hashlib.sha256(page).hexdigest()
        layout = Layout(id=key, grid=grid, cells=np.zeros((1, 1), np.uint32), text="")
        tokens = self.mode.tokens(*size)
        return Page(id=key, layout=layout, tier=self.mode.name, size=size, tokens=tokens, source=lambda _: page)
