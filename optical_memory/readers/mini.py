"""The bundled reader: a page's text in one pass on a CPU, doubtful characters marked, never guessed."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from optical_memory.errors import ImageError, MissingExtraError, ReaderError
from optical_memory.readers.base import Doubt, Reading
from optical_memory.renderers.base import WIDE, Page
from optical_memory.renderers.layout import text_of

if TYPE_CHECKING:
    from optical_memory.model.mini.reading import Sheet

THRESHOLD = 0.9
"""Certainty below which a character is marked: chosen on evaluation text so that at most one identifier in a
thousand is wrong without a mark (``docs/mini.md``)."""
UNSURE = "\ufffd"


class MiniReader:
    """Reads pages with the bundled weights.

    ``threshold`` from 0 to 1 is the certainty below which a character stands as U+FFFD, with what it may be in
    ``Reading.doubts``; 0 marks nothing. ``options`` go to :func:`optical_memory.model.mini.load`.
    """

    name = "mini"

    def __init__(self, *, threshold: float = THRESHOLD, **options: Any) -> None:
        """Load the weights. Errors: MissingExtraError without PyTorch, CheckpointError."""
        for package in ("torch", "safetensors"):
            if find_spec(package) is None:
                raise MissingExtraError(package, "model")
        from optical_memory.model import mini

        self.threshold = threshold
        self.model = mini.load(**options)

    def read(self, page: Page | bytes) -> Reading:
        """Read a page, or a PNG alone: the grid is found from the image. Errors: ReaderError, GridNotFoundError."""
        started = time.perf_counter()
        try:
            sheet = self.model.read(page)
        except ImageError as error:
            raise ReaderError(str(error)) from error
        text, doubts = self._marked(sheet)
        return Reading(text=text, seconds=time.perf_counter() - started, tokens=sheet.tokens, doubts=doubts)

    def _marked(self, sheet: Sheet) -> tuple[str, tuple[Doubt, ...]]:
        from optical_memory.model.mini.reading import certainty

        doubtful = (certainty(sheet) < self.threshold) & (sheet.cells != WIDE)
        cells = np.where(doubtful, np.uint32(ord(UNSURE)), sheet.cells)
        text = text_of(cells)
        rows, columns = np.nonzero(cells == ord(UNSURE))
        indices = [index for index, character in enumerate(text) if character == UNSURE]
        doubts = tuple(
            Doubt(index=index, candidates=_candidates(sheet, row, column))
            for index, row, column in zip(indices, rows.tolist(), columns.tolist(), strict=True)
        )
        return text, doubts


def _candidates(sheet: Sheet, row: int, column: int) -> tuple[tuple[str, float], ...]:
    codes, shares = sheet.codes[row, column], sheet.probabilities[row, column]
    return tuple((chr(code), float(share)) for code, share in zip(codes.tolist(), shares.tolist(), strict=True))
