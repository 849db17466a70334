"""Conversations on pages: the layout that the memory makes, and where each of the language model's tokens begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from optical_memory.renderers.base import Grid
from optical_memory.renderers.layout import Run, lay_out, row_text
from optical_memory.renderers.visible import FILLER_MARK, HEADER_MARK, NEWLINE_MARK
from optical_memory.training.language.conversation import Turn

GRID = Grid(width=1280, height=1280, cell_width=12.5, cell_height=20)
"""The mini's page: 64 rows of 102 cells."""
CELLS = GRID.capacity
_HEADS = {"user": "user:", "assistant": "assistant:", "tool": "tool result:"}
_MARKS = {HEADER_MARK: "\n", NEWLINE_MARK: "\n"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PageText:
    """A page: its ``codes`` (rows, columns), the text that a language model reads, and the cell of each character."""

    codes: npt.NDArray[np.uint16]
    text: str
    cells: npt.NDArray[np.int64]

    def rows_of(self, start: int, end: int) -> range:
        """Return the rows that characters from ``start`` up to ``end`` stand on."""
        columns = self.codes.shape[1]
        return range(int(self.cells[start]) // columns, int(self.cells[end - 1]) // columns + 1)

    def row_text(self, first: int, last: int) -> str:
        """Return what stands on rows ``first`` to ``last``, inclusive."""
        low, high = np.searchsorted(self.cells, [first * self.codes.shape[1], (last + 1) * self.codes.shape[1]])
        return self.text[low:high].strip()

    def tokens(self, tokenizer: Any) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int16]]:
        """Return the text's token ids and the cell that each begins in."""
        encoded = tokenizer.encode(self.text, add_special_tokens=False)
        starts = np.fromiter((offset[0] for offset in encoded.offsets), np.int64, len(encoded.offsets))
        return np.array(encoded.ids, np.int32), self.cells[starts].astype(np.int16)


def pages_of(turns: Sequence[Turn]) -> list[PageText]:
    """Lay turns out as the memory does; pages of what is drawn."""
    runs = [
        Run(turn_id=str(number), role=turn.role, text=turn.text, header=_HEADS[turn.role], place=number)
        for number, turn in enumerate(turns)
    ]
    return [page_text(layout.cells) for layout in lay_out(runs, GRID, renderer_key="training")]


def page_text(cells: npt.NDArray[np.uint32]) -> PageText:
    """Return a page of narrow characters; blanks that end a row before a turn or the page's end fall away."""
    rows = []
    for row in cells:
        rows.append(row_text(row.astype("<u4").tobytes().decode("utf-32-le").replace("\x00", " ")))
    kept_text, kept_cells = [], []
    columns = cells.shape[1]
    for number, row in enumerate(rows):
        last = number + 1 == len(rows) or cells[number + 1, 0] == ord(HEADER_MARK) or not cells[number + 1].any()
        row = row.rstrip(" ") if last else row
        kept = np.array([letter != FILLER_MARK for letter in row], np.bool_)
        kept_text.append("".join(_MARKS.get(letter, letter) for letter in row if letter != FILLER_MARK))
        kept_cells.append(np.flatnonzero(kept) + number * columns)
    codes = np.where(cells == 0, 32, cells).astype(np.uint16)
    return PageText(codes=codes, text="".join(kept_text), cells=np.concatenate(kept_cells))
