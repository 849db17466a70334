"""A run of text as rows of cells, before they are cut into pages. Long runs come in chunks: memory is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from optical_memory.renderers import base
from optical_memory.renderers.tables import breaks
from optical_memory.renderers.visible import (
    COMBINING,
    FILLER_MARK,
    HEADER_MARK,
    MAX_FORGED,
    MAX_MARKS,
    NARROW,
    NEWLINE_MARK,
    TAB_MARK,
    UNFINISHED,
    WIDE,
    Classes,
    Repertoire,
    escape,
)
from optical_memory.renderers.wrap import CONTEXT, Wrap

CHUNK = 1 << 18
"""Characters of source that are turned into cells at a time."""
Flow = Literal["reflow", "lines"]
Cells = npt.NDArray[np.uint32]
_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Stream:
    """Rows of cells of one run, and the plain text that they stand for.

    ``places`` gives the cell of each character of ``text``. ``marks`` are combining marks by cell.
    """

    text: str
    cells: Cells
    places: npt.NDArray[np.int64]
    marks: dict[int, str]

    def text_between(self, first: int, end: int) -> str:
        """Return the text whose glyphs lie in cells ``first`` to ``end`` (exclusive)."""
        start, stop = np.searchsorted(self.places, (first, end))
        return self.text[start:stop]


@dataclass(frozen=True, slots=True)
class _Block:
    """Characters of a run that are known at a time; the first ``done`` of them stand in rows already.

    A row ends behind those that ``must`` names.
    """

    text: str
    codes: Cells
    classes: Classes
    must: _Mask
    done: int = 0

    def __add__(self, other: _Block) -> _Block:
        return _Block(
            self.text + other.text,
            np.concatenate((self.codes, other.codes)),
            np.concatenate((self.classes, other.classes)),
            np.concatenate((self.must, other.must)),
            self.done,
        )

    def rest(self, first: int) -> _Block:
        """Return what is left from ``first`` on, with the characters before it that matter to it."""
        start = max(first - CONTEXT, 0)
        return _Block(
            self.text[start:], self.codes[start:], self.classes[start:], self.must[start:], done=first - start
        )


def streams_of(
    source: str, columns: int, flow: Flow, repertoire: Repertoire, *, header: bool = False, skip: int = 0
) -> Iterator[Stream]:
    """Turn source text into streams of whole rows, behind the header mark where ``header``; the last row may be short.

    With flow "lines" every line fills whole rows; with "reflow" only the lines of tables that fit do. The first
    ``skip`` characters of the plain text, the header's among them, are left out.
    """
    start, block = 0, _block(*escape("", repertoire), flow, columns)
    while start < len(source):
        end = _chunk_end(source, start, repertoire)
        text, codes, classes = escape(source[start:end], repertoire)
        if header and start == 0:
            text = HEADER_MARK + text
            codes = np.concatenate((np.array([ord(HEADER_MARK)], np.uint32), codes))
            classes = np.concatenate((np.array([NARROW], np.uint8), classes))
        if (gone := min(skip, len(text))) > 0:
            text, codes, classes, skip = text[gone:], codes[gone:], classes[gone:], skip - gone
        block += _block(text, codes, classes, flow, columns)
        stream, block = _wrapped(block, columns, is_whole=end == len(source))
        yield stream
        start = end


def _chunk_end(source: str, start: int, repertoire: Repertoire) -> int:
    r"""Return where a chunk ends: never inside ``\u{`` or before what decides how a character is shown.

    That is, where possible, a combining mark, and a letter behind what looks like the mark of a header.
    """
    end = start + CHUNK
    if end >= len(source):
        return len(source)
    while end > start + CHUNK - 2 * MAX_MARKS and repertoire.classes[ord(source[end])] == COMBINING:
        end -= 1
    end -= next((back for back in (1, 2) if source.startswith("\\u{", end - back)), 0)
    forged = UNFINISHED.search(source, max(end - MAX_FORGED, start + 1), end)
    return forged.start() if forged else end


def _block(text: str, codes: npt.NDArray[np.uint32], classes: Classes, flow: Flow, columns: int) -> _Block:
    must = codes == ord("\n") if flow == "lines" else _table_breaks(text, classes, columns)
    return _Block(text, codes, classes, must)


def _wrapped(block: _Block, columns: int, *, is_whole: bool) -> tuple[Stream, _Block]:
    """Return the rows of a block as a stream, and what is left of it."""
    wrap = Wrap(block.codes, block.classes, block.must, columns)
    rows = list(wrap.rows(block.done, is_whole=is_whole))
    last = rows[-1].end if rows else block.done
    codes, classes = block.codes[block.done : last], block.classes[block.done : last]
    shown = np.where(codes == ord("\n"), np.uint32(ord(NEWLINE_MARK)), codes)
    shown[codes == ord("\t")] = ord(TAB_MARK)
    places, fillers = wrap.places(rows)
    out = np.zeros(len(rows) * columns, np.uint32)
    out[fillers] = ord(FILLER_MARK)
    out[places[::-1]] = shown[::-1]  # from behind, so that a base is written after its marks
    out[places[classes == WIDE] + 1] = base.WIDE
    marks: dict[int, str] = {}
    text = block.text[block.done : last]
    for index in np.flatnonzero(classes == COMBINING).tolist():
        marks[int(places[index])] = marks.get(int(places[index]), "") + text[index]
    if is_whole and rows:
        out = out[: int(np.flatnonzero(out)[-1]) + 1]
    return Stream(text, out, places, marks), block.rest(last)


def _table_breaks(text: str, classes: Classes, columns: int) -> _Mask:
    """Return after which newlines a row begins, so that tables stand as rows."""

    def width(first: int, end: int) -> int:
        return end - first + 2 * int(np.count_nonzero(classes[first:end] == WIDE))  # each with a filler

    is_break = np.zeros(len(text), np.bool_)
    is_break[breaks(text, columns, width)] = True
    return is_break
