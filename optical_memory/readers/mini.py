"""The bundled reader: a page's text in one pass on a CPU, doubtful characters marked, never guessed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from optical_memory.errors import ImageError, InputError, MissingExtraError, ReaderError
from optical_memory.readers.base import Doubt, Reading
from optical_memory.renderers.base import WIDE, Page
from optical_memory.renderers.layout import text_of
from optical_memory.renderers.visible import UNSURE

if TYPE_CHECKING:
    from optical_memory.model.mini.reading import Sheet


class MiniReader:
    """Reads pages with the bundled weights.

    ``threshold`` from 0 to 1 is the certainty below which a character stands as U+FFFD, with what it may be in
    ``Reading.doubts``; 0 marks nothing. By default prose is held to 0.9, and words with a digit to what the page's own
    doubt asks for, measured so that at most one identifier in a thousand is wrong without a mark
    (:mod:`optical_memory.model.mini.confidence`).
    ``options`` go to :func:`optical_memory.model.mini.load`.
    """

    name = "mini"

    def __init__(self, *, threshold: float | None = None, **options: Any) -> None:
        """Load the weights. Errors: MissingExtraError without PyTorch, CheckpointError, InputError."""
        for package in ("torch", "safetensors"):
            if find_spec(package) is None:
                raise MissingExtraError(package, "model")
        if threshold is not None and not 0 <= threshold <= 1:
            raise InputError(f"threshold must be from 0 to 1, not {threshold!r}")
        from optical_memory.model import mini

        self.threshold = threshold
        self.model = mini.load(**options)

    def read(self, page: Page | bytes, *, autoregressive: bool = False) -> Reading:
        """Read a page, or a PNG alone: the grid is found from the image.

        By default in one pass; with ``autoregressive`` by the decoder, token by token, which is slower by far.
        Errors: ReaderError, GridNotFoundError.
        """
        if not autoregressive:
            return next(self.read_all((page,)))
        started = time.perf_counter()
        try:
            sheet, _ = self.model.transcribe(page)
        except ImageError as error:
            raise ReaderError(str(error)) from error
        text, doubts = mark(sheet, self.threshold)
        return Reading(text=text, seconds=time.perf_counter() - started, tokens=sheet.tokens, doubts=doubts)

    def read_all(
        self, pages: Iterable[Page | bytes], *, progress: Callable[[int], None] | None = None
    ) -> Iterator[Reading]:
        """Read pages as they come; ``progress`` is called with the number read. ``seconds`` is the time of each.

        Errors: ReaderError, GridNotFoundError.
        """
        started = time.perf_counter()
        sheets = self.model.read_all(pages)
        for number in count(1):
            try:
                sheet = next(sheets, None)
            except ImageError as error:
                raise ReaderError(str(error)) from error
            if sheet is None:
                return
            text, doubts = mark(sheet, self.threshold)
            ended = time.perf_counter()
            if progress is not None:
                progress(number)
            yield Reading(text=text, seconds=ended - started, tokens=sheet.tokens, doubts=doubts)
            started = time.perf_counter()


def mark(sheet: Sheet, threshold: float | None = None) -> tuple[str, tuple[Doubt, ...]]:
    """Return the text of a page as read, U+FFFD where the network is not sure, and what may stand there.

    ``threshold`` is as for :class:`MiniReader`.
    """
    from optical_memory.model.mini import confidence
    from optical_memory.model.mini.reading import certainty

    least = confidence.thresholds(sheet) if threshold is None else threshold
    doubtful = (certainty(sheet) < least) & (sheet.cells != WIDE)
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
