"""A run of text as rows of cells, before they are cut into pages. Long runs come in chunks: memory is bounded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple

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
from optical_memory.renderers.wrap import CONTEXT, Row, Wrap

CHUNK = 1 << 18
"""Characters of source that are turned into cells at a time."""
SHORT, TOGETHER = 1 << 12, 1 << 16
"""Sources of at most so many characters are turned into cells together, of at most so many in all."""
_PRINTABLE = range(0x20, 0x7F)
_PLAIN = re.compile("[\n\t -~]*")
Flow = Literal["reflow", "lines"]
Cells = npt.NDArray[np.uint32]
_Mask = npt.NDArray[np.bool_]


class Source(NamedTuple):
    """Text to be shown, behind the header mark where ``header``, without the first ``skip`` characters."""

    text: str
    header: bool = False
    skip: int = 0


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


def streams_of_all(
    sources: Sequence[Source], columns: int, flow: Flow, repertoire: Repertoire
) -> Iterator[Iterable[Stream]]:
    """Yield the streams of each source, as :func:`streams_of` does; short ones cost much less together."""
    batch: list[Source] = []
    size = 0
    for source in sources:
        is_long = len(source.text) > min(SHORT, CHUNK)
        if batch and (is_long or size + len(source.text) > TOGETHER):
            yield from ((stream,) for stream in _together(batch, columns, flow, repertoire))
            batch, size = [], 0
        if is_long:
            yield streams_of(source.text, columns, flow, repertoire, header=source.header, skip=source.skip)
        else:
            batch.append(source)
            size += len(source.text)
    if batch:
        yield from ((stream,) for stream in _together(batch, columns, flow, repertoire))


def _together(sources: Sequence[Source], columns: int, flow: Flow, repertoire: Repertoire) -> Iterator[Stream]:
    """Yield one stream for each source: their texts stand behind one another, with a newline behind each."""
    is_usual = bool((repertoire.classes[_PRINTABLE] == NARROW).all())
    texts = [_shown(source, repertoire, is_usual) for source in sources]
    joined = "".join(f"{text}\n" for text in texts if text)
    codes = np.frombuffer(joined.encode("utf-32-le"), "<u4")
    classes = repertoire.classes[codes]
    classes[codes == ord(HEADER_MARK)] = NARROW
    ends = np.cumsum([len(text) + 1 for text in texts if text], dtype=np.int64) - 1
    must = np.zeros(len(codes), np.bool_)
    places = list(zip([0, *(ends + 1).tolist()], ends.tolist(), strict=False))
    for first, end in places:
        must[first:end] = _must(joined[first:end], codes[first:end], classes[first:end], flow, columns)
    wrap = Wrap(codes, classes, must, columns, ends)
    rows = [wrap.rows(first, end, is_whole=True) for first, end in places]
    is_text = np.ones(len(codes), np.bool_)
    is_text[ends] = False
    drawn = _drawn(wrap, list(chain.from_iterable(rows)), codes[is_text], classes[is_text], columns)
    character = row = 0
    lengths = iter(map(len, rows))
    for text in texts:
        below = row + (next(lengths) if text else 0)
        yield drawn.part(text, character, row * columns, below * columns)
        character, row = character + len(text), below


def _shown(source: Source, repertoire: Repertoire, is_usual: bool) -> str:
    """Return the plain text of a source, with escapes; all of ASCII can be seen where ``is_usual``."""
    text = source.text
    if not (is_usual and _PLAIN.fullmatch(text)) or "\\u{" in text:
        text = escape(text, repertoire)[0]
    return (HEADER_MARK + text if source.header and text else text)[source.skip :]


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


def _block(text: str, codes: Cells, classes: Classes, flow: Flow, columns: int) -> _Block:
    return _Block(text, codes, classes, _must(text, codes, classes, flow, columns))


def _wrapped(block: _Block, columns: int, *, is_whole: bool) -> tuple[Stream, _Block]:
    """Return the rows of a block as a stream, and what is left of it."""
    wrap = Wrap(block.codes, block.classes, block.must, columns)
    rows = wrap.rows(block.done, len(block.codes), is_whole=is_whole)
    last = rows[-1].end if rows else block.done
    drawn = _drawn(wrap, rows, block.codes[block.done : last], block.classes[block.done : last], columns)
    stream = drawn.part(block.text[block.done : last], 0, 0, len(drawn.cells), is_whole=is_whole)
    return stream, block.rest(last)


class _Drawn(NamedTuple):
    """Whole rows of cells, the cell of each character, and which of the characters are combining marks."""

    cells: Cells
    places: npt.NDArray[np.int64]
    marks: npt.NDArray[np.int64]

    def part(self, text: str, first: int, start: int, stop: int, *, is_whole: bool = True) -> Stream:
        """Return the stream of a text whose characters begin at ``first``; its rows are the cells to ``stop``.

        Of one that ``is_whole`` the last row is as long as it needs to be.
        """
        cells, places = self.cells[start:stop], self.places[first : first + len(text)] - start
        marks: dict[int, str] = {}
        for index in (self.marks[(self.marks >= first) & (self.marks < first + len(text))] - first).tolist():
            marks[int(places[index])] = marks.get(int(places[index]), "") + text[index]
        if is_whole and len(cells):
            cells = cells[: int(np.flatnonzero(cells)[-1]) + 1]
        return Stream(text, cells, places, marks)


def _drawn(wrap: Wrap, rows: Sequence[Row], codes: Cells, classes: Classes, columns: int) -> _Drawn:
    shown = np.where(codes == ord("\n"), np.uint32(ord(NEWLINE_MARK)), codes)
    shown[codes == ord("\t")] = ord(TAB_MARK)
    places, fillers = wrap.places(rows)
    out = np.zeros(len(rows) * columns, np.uint32)
    out[fillers] = ord(FILLER_MARK)
    out[places[::-1]] = shown[::-1]  # from behind, so that a base is written after its marks
    out[places[classes == WIDE] + 1] = base.WIDE
    return _Drawn(out, places, np.flatnonzero(classes == COMBINING))


def _must(text: str, codes: Cells, classes: Classes, flow: Flow, columns: int) -> _Mask:
    """Return after which characters a row ends: newlines, with "reflow" only those of tables that fit."""
    return codes == ord("\n") if flow == "lines" else _table_breaks(text, classes, columns)


def _table_breaks(text: str, classes: Classes, columns: int) -> _Mask:
    """Return after which newlines a row begins, so that tables stand as rows."""

    def width(first: int, end: int) -> int:
        return end - first + 2 * int(np.count_nonzero(classes[first:end] == WIDE))  # each with a filler

    is_break = np.zeros(len(text), np.bool_)
    if "|" in text:
        is_break[breaks(text, columns, width)] = True
    return is_break
