"""Laying text out on a grid: runs of text in, pages of cells out.

In *reflow*, text runs on in the row and newlines are marks, so that pages are full; only the lines of a Markdown table
that fits (tables.py) have rows of their own. In *lines*, a row begins after each newline mark. Rows end between words
(wrap.py). Every run begins on a row of its own. A run with a header begins with ``▮``, the header and a space; on each
further page a row of its own says ``▮…`` and the start of the header. So every page shows who wrote each of its rows.
``▮`` in a turn's own text or name is shown as an escape: no turn can write a header.

Wide characters take two cells and begin in an even column, after one cell with the filler mark ``▹`` where needed.
Rows have an even number of cells, so that no wide character straddles a row's end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from optical_memory.errors import InputError
from optical_memory.renderers import base
from optical_memory.renderers.base import Grid, Layout, Span
from optical_memory.renderers.stream import Cells, Flow, Source, Stream, streams_of, streams_of_all
from optical_memory.renderers.visible import (
    FILLER_MARK,
    HEADER_MARK,
    NEWLINE_MARK,
    TAB_MARK,
    Repertoire,
    default_repertoire,
    plain,
    unescape,
    visible,
)

__all__ = [
    "Flow",
    "Repertoire",
    "Run",
    "cropped",
    "lay_out",
    "plain",
    "row_text",
    "text_of",
    "unescape",
    "used_rows",
    "visible",
]

_HEADER_START = 24  # characters of a header repeated on a continued page


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Text of one author. ``header`` says who ("user:", "tool call search"); without one only the text is drawn.

    ``place`` is the turn's place in its session. Page ids are made from it or, without one, from ``turn_id``. The first
    ``skip`` characters of what a page shows of the run, its header included, stand on pages before.
    """

    turn_id: str
    role: str
    text: str
    header: str = ""
    place: int | None = None
    skip: int = 0


def lay_out(
    runs: Sequence[Run],
    grid: Grid,
    *,
    renderer_key: str,
    flow: Flow = "reflow",
    repertoire: Repertoire | None = None,
) -> list[Layout]:
    """Lay runs out on as many pages as they need; a run of no characters takes no row.

    ``renderer_key`` is part of the pages' ids. ``repertoire`` says what that renderer draws; default: the BMP. The
    texts of the pages, joined, are the text of a single run that has no header and needs no escapes. Errors: InputError
    for a grid without room for one wide character or an unknown flow.
    """
    if grid.columns < 2 or grid.rows < 1:
        raise InputError(f"a grid needs at least 2 columns and 1 row: {grid!r}")
    if flow not in ("reflow", "lines"):
        raise InputError(f"unknown flow {flow!r}; use 'reflow' or 'lines'")
    repertoire = repertoire or default_repertoire()
    book = _Book(grid, renderer_key, repertoire)
    sources = [
        Source(f"{run.header} {run.text}" if run.header else run.text, bool(run.header), run.skip) for run in runs
    ]
    for run, streams in zip(runs, streams_of_all(sources, grid.columns, flow, repertoire), strict=True):
        book.add(run, streams)
    return book.close()


def row_text(row: str) -> str:
    """Return what stands in a row that goes on with the next one: of the blanks at its end, one space where it is text.

    See wrap.py.
    """
    kept = row.rstrip(" ")
    return kept if kept == row or kept.endswith((NEWLINE_MARK, TAB_MARK, FILLER_MARK)) else f"{kept} "


def text_of(cells: Cells) -> str:
    """Return the text that a reader makes of cells, (rows, columns), where empty cells may be 0 or a space.

    Blanks before a header and at the end of the page are not text.
    """
    drawn = np.where(cells == 0, np.uint32(ord(" ")), cells)
    text = ""
    for row in (codes[codes != base.WIDE].tobytes().decode("utf-32-le") for codes in drawn):
        if row.startswith(HEADER_MARK) and text:
            text = text.rstrip(" ") + "\n"
        text += row_text(row)
    return plain(text.rstrip(" ")).rstrip(" ")


def used_rows(layout: Layout) -> int:
    """Return the rows down to the last one with text."""
    rows = np.flatnonzero(layout.cells.any(axis=1))
    return int(rows[-1]) + 1 if len(rows) else 0


def cropped(layout: Layout, rows: int, height: int, renderer_key: str) -> Layout:
    """Return the layout on a page of so many rows and so many px."""
    grid = replace(layout.grid, height=height)
    cells = np.zeros((grid.rows, grid.columns), np.uint32)
    cells[:rows] = layout.cells[:rows]
    cells.flags.writeable = False
    page_id = _page_id(renderer_key, grid, cells, layout.spans, layout.marks)
    return replace(layout, id=page_id, grid=grid, cells=cells)


class _Book:
    """Fills pages row by row."""

    def __init__(self, grid: Grid, renderer_key: str, repertoire: Repertoire) -> None:
        self._grid = grid
        self._renderer_key = renderer_key
        self._repertoire = repertoire
        self._layouts: list[Layout] = []
        self._led: tuple[Run, Stream] | None = None
        self._begin()

    def _begin(self) -> None:
        self._cells = np.zeros(self._grid.capacity, np.uint32)
        self._used = 0
        self._texts: list[str] = []
        self._spans: list[Span] = []
        self._marks: list[tuple[int, str]] = []
        self._skipped = 0

    def add(self, run: Run, streams: Iterable[Stream]) -> None:
        """Lay one run, as these streams show it, out behind what is there."""
        columns = self._grid.columns
        shown, is_on_page = run.skip, False
        for stream in streams:
            done = 0
            while done < len(stream.cells):
                if self._used == self._grid.capacity:
                    self._finish()
                    is_on_page = False
                if not self._used:
                    self._skipped = shown
                if shown and not is_on_page:
                    is_on_page = self._lead(run)
                end = min(len(stream.cells), done + self._grid.capacity - self._used)
                shown += self._put(run, stream, done, end, joins=is_on_page)
                is_on_page = True
                done = end
        self._used = -(-self._used // columns) * columns

    def _lead(self, run: Run) -> bool:
        """Show who goes on here, in a row of its own; return False where the page has no room for that."""
        if not run.header:
            return False
        if self._led is None or self._led[0] is not run:
            source = f"… {run.header[:_HEADER_START]}\n"
            (lead,) = streams_of(source, self._grid.columns, "lines", self._repertoire, header=True)
            self._led = (run, lead)
        lead = self._led[1]
        rows = -(-len(lead.cells) // self._grid.columns)
        if self._used + (rows + 1) * self._grid.columns > self._grid.capacity:
            return False
        self._put(run, lead, 0, len(lead.cells), joins=False)
        self._used = -(-self._used // self._grid.columns) * self._grid.columns
        return True

    def _put(self, run: Run, stream: Stream, first: int, end: int, *, joins: bool) -> int:
        """Put cells of a stream behind the others, which are of the same run where ``joins``.

        Return the characters of text that they show.
        """
        place = self._used
        self._used += end - first
        self._cells[place : self._used] = stream.cells[first:end]
        self._marks += [(cell - first + place, marks) for cell, marks in stream.marks.items() if first <= cell < end]
        text = stream.text_between(first, end)
        shown = len(text)
        first_row, last_row = place // self._grid.columns, (self._used - 1) // self._grid.columns
        if joins:
            text = self._texts.pop() + text
            first_row = self._spans.pop().first_row
        self._texts.append(text)
        span = Span(turn_id=run.turn_id, role=run.role, first_row=first_row, last_row=last_row, place=run.place)
        self._spans.append(span)
        return shown

    def _finish(self) -> None:
        cells = self._cells.reshape(self._grid.rows, self._grid.columns)
        cells.flags.writeable = False
        spans, marks = tuple(self._spans), tuple(self._marks)
        page_id = _page_id(self._renderer_key, self._grid, cells, spans, marks)
        text = "\n".join(self._texts)
        self._layouts.append(
            Layout(
                id=page_id,
                grid=self._grid,
                cells=cells,
                text=text,
                spans=spans,
                marks=marks,
                skipped=self._skipped,
            )
        )
        self._begin()

    def close(self) -> list[Layout]:
        """Return all pages, the one begun included."""
        if self._spans:
            self._finish()
        return self._layouts


def _page_id(
    renderer_key: str, grid: Grid, cells: Cells, spans: tuple[Span, ...], marks: tuple[tuple[int, str], ...]
) -> str:
    """Return the SHA-256 (hex) of all that decides a page's pixels and owners; cells as two bytes where they fit."""
    owners = [
        (span.turn_id if span.place is None else span.place, span.role, span.first_row, span.last_row) for span in spans
    ]
    size = (grid.width, grid.height, float(grid.cell_width), grid.cell_height)
    frame = json.dumps([renderer_key, size, owners, marks], separators=(",", ":"))
    is_short = bool(((cells < 0xFFFF) | (cells == base.WIDE)).all())
    digest = hashlib.sha256(frame.encode())
    digest.update(cells.astype("<u2" if is_short else "<u4").tobytes())
    return digest.hexdigest()
