"""A run of text as one long row of cells, before it is cut into pages. Long runs come in chunks: memory is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from optical_memory.renderers import base
from optical_memory.renderers.tables import breaks
from optical_memory.renderers.visible import (
    COMBINING,
    FILLER_MARK,
    HEADER_MARK,
    MAX_MARKS,
    NARROW,
    NEWLINE_MARK,
    TAB_MARK,
    WIDE,
    Classes,
    Repertoire,
    escape,
)

CHUNK = 1 << 18
"""Characters of source that are turned into cells at a time."""
Flow = Literal["reflow", "lines"]
Cells = npt.NDArray[np.uint32]
_Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Stream:
    """Cells of one chunk of a run, and the plain text that they stand for.

    ``places`` gives the cell of each character of ``text``; None: character i lies in cell i. ``marks`` are
    combining marks by cell.
    """

    text: str = ""
    cells: Cells = field(default_factory=lambda: np.zeros(0, np.uint32))
    places: npt.NDArray[np.int64] | None = None
    marks: dict[int, str] = field(default_factory=dict)

    def text_between(self, first: int, end: int) -> str:
        """Return the text whose glyphs lie in cells ``first`` to ``end`` (exclusive)."""
        if self.places is None:
            return self.text[first:end]
        start, stop = np.searchsorted(self.places, (first, end))
        return self.text[start:stop]


def streams_of(
    source: str, columns: int, flow: Flow, repertoire: Repertoire, *, header: bool = False
) -> Iterator[Stream]:
    """Turn source text into streams, behind the header mark where ``header``.

    With flow "lines" every line fills whole rows; with "reflow" only the lines of tables that fit do.
    """
    start, column = 0, 0
    while start < len(source):
        end = _chunk_end(source, start, repertoire)
        text, codes, classes = escape(source[start:end], repertoire)
        if header and start == 0:
            text = HEADER_MARK + text
            codes = np.concatenate((np.array([ord(HEADER_MARK)], np.uint32), codes))
            classes = np.concatenate((np.array([NARROW], np.uint8), classes))
        stream = _stream(text, codes, classes, flow, column, columns)
        yield stream
        column = (column + len(stream.cells)) % columns
        start = end


def _chunk_end(source: str, start: int, repertoire: Repertoire) -> int:
    r"""Return where a chunk ends: never inside ``\u{`` and, where possible, not before a combining mark."""
    end = start + CHUNK
    if end >= len(source):
        return len(source)
    while end > start + CHUNK - 2 * MAX_MARKS and repertoire.classes[ord(source[end])] == COMBINING:
        end -= 1
    return end - next((back for back in (1, 2) if source.startswith("\\u{", end - back)), 0)


def _stream(
    text: str, codes: npt.NDArray[np.uint32], classes: Classes, flow: Flow, column: int, columns: int
) -> Stream:
    """Place characters, the first of them at ``column`` of a row."""
    is_newline = codes == ord("\n")
    cells = np.where(is_newline, np.uint32(ord(NEWLINE_MARK)), codes)
    cells[codes == ord("\t")] = ord(TAB_MARK)
    is_break = is_newline if flow == "lines" else _table_breaks(text, classes, columns)
    if is_break is None and not classes.any():  # all NARROW
        return Stream(text, cells)
    is_wide, is_mark = classes == WIDE, classes == COMBINING
    ends, is_filled = _ends(is_wide, is_mark, is_break, column, columns)
    places = ends - 1 - is_wide
    marks: dict[int, str] = {}
    if is_mark.any():  # a mark has no width: it ends where its base ends, and lies in the same cell
        places = np.maximum.accumulate(np.where(is_mark, 0, places))
        for index in np.flatnonzero(is_mark).tolist():
            place = int(places[index])
            marks[place] = marks.get(place, "") + text[index]
    size = int(ends[-1])
    if is_break is not None and is_break[-1]:
        size += -(column + size) % columns
    out = np.zeros(size, np.uint32)
    out[places[::-1]] = cells[::-1]  # from behind, so that a base is written after its marks
    out[places[is_wide] + 1] = base.WIDE
    out[places[is_filled] - 1] = ord(FILLER_MARK)
    return Stream(text, out, places, marks)


def _table_breaks(text: str, classes: Classes, columns: int) -> _Mask | None:
    """Return after which newlines a row begins, so that tables stand as rows; None where no row has to begin."""

    def width(first: int, end: int) -> int:
        return end - first + 2 * int(np.count_nonzero(classes[first:end] == WIDE))  # each with a filler

    places = breaks(text, columns, width)
    if not places:
        return None
    is_break = np.zeros(len(text), np.bool_)
    is_break[places] = True
    return is_break


def _ends(
    is_wide: _Mask, is_mark: _Mask, is_break: _Mask | None, column: int, columns: int
) -> tuple[npt.NDArray[np.int64], _Mask]:
    """Return for each character the cell after its last one, and whether a filler stands before it.

    The column is even at the start of a row and after a wide character. So a wide character needs a filler when
    the number of narrow ones since the last such place is odd.
    """
    stops = np.flatnonzero(is_wide if is_break is None else is_wide | is_break)
    gaps = np.diff(stops, prepend=-1 - column) - 1
    if is_mark.any():
        gaps -= np.diff(np.cumsum(is_mark, dtype=np.int32)[stops], prepend=0)
    is_filled = np.zeros(len(is_wide), np.bool_)
    is_filled[stops] = is_wide[stops] & (gaps % 2 == 1)
    widths = 1 + is_wide.view(np.int8) + is_filled.view(np.int8) - is_mark.view(np.int8)
    ends = np.cumsum(widths, dtype=np.int64)
    if is_break is not None:
        padding = np.cumsum(-np.diff(ends[is_break], prepend=-column) % columns)
        line: npt.NDArray[np.int64] = np.cumsum(is_break) - is_break
        ends += np.concatenate(([0], padding))[line]
    return ends, is_filled
