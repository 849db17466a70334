"""Laying text out on a grid: runs of text in, pages of cells out.

*Reflow* lets text run on in the row, newlines as marks, so that pages are full; *lines* begins a row after each
newline mark. Every run begins on a row of its own. A run with a header begins with ``▮``, the header and a
space; on each further page that it reaches it begins with ``▮…``, the start of the header and a space, so that the
authorship of every row can be seen. ``▮`` in a turn's own text or name is shown as an escape: no turn can
write a header.

Wide characters take two cells and begin in an even column, after one cell with the filler mark ``▹`` where needed.
Rows have an even number of cells, so that no wide character straddles a row's end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optical_memory.errors import InputError
from optical_memory.renderers import base
from optical_memory.renderers.base import Grid, Layout, Span
from optical_memory.renderers.stream import Cells, Flow, Stream, stream_of
from optical_memory.renderers.visible import HEADER_MARK, Repertoire, default_repertoire, plain, unescape, visible

__all__ = ["Flow", "Repertoire", "Run", "lay_out", "plain", "text_of", "unescape", "visible"]

_HEADER_START = 24  # characters of a header repeated on a continued page


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Text of one author. ``header`` says who ("user:", "tool call search"); without one only the text is drawn."""

    turn_id: str
    role: str
    text: str
    header: str = ""


def lay_out(
    runs: Sequence[Run],
    grid: Grid,
    *,
    renderer_key: str,
    flow: Flow = "reflow",
    repertoire: Repertoire | None = None,
) -> list[Layout]:
    """Lay runs out on as many pages as they need; a run of no characters takes no row.

    ``renderer_key`` is part of the pages' ids. ``repertoire`` says what that renderer draws; default: the BMP.
    For one run without a header whose text needs no escapes, the pages' texts joined are that text.
    Errors: InputError for a grid without room for one wide character or an unknown flow.
    """
    if grid.columns < 2 or grid.rows < 1:
        raise InputError(f"a grid needs at least 2 columns and 1 row: {grid!r}")
    if flow not in ("reflow", "lines"):
        raise InputError(f"unknown flow {flow!r}; use 'reflow' or 'lines'")
    book = _Book(grid, renderer_key, flow, repertoire or default_repertoire())
    for run in runs:
        book.add(run)
    return book.close()


def text_of(cells: Cells, flow: Flow = "reflow") -> str:
    """Return the text that a reader makes of cells, (rows, columns), where empty cells may be 0 or a space.

    In reflow a row's trailing blanks are text unless a header or nothing follows; in lines they never are.
    """
    drawn = np.where(cells == 0, np.uint32(ord(" ")), cells)
    text = ""
    for codes in drawn:
        row = codes[codes != base.WIDE].tobytes().decode("utf-32-le")
        if row.startswith(HEADER_MARK) and text:
            text = text.rstrip(" ") + "\n"
        text += row.rstrip(" ") if flow == "lines" else row
    return plain(text.rstrip(" "))


class _Book:
    """Fills pages row by row."""

    def __init__(self, grid: Grid, renderer_key: str, flow: Flow, repertoire: Repertoire) -> None:
        self._grid = grid
        self._renderer_key = renderer_key
        self._flow: Flow = flow
        self._repertoire = repertoire
        self._layouts: list[Layout] = []
        self._begin()

    def _begin(self) -> None:
        self._cells = np.zeros(self._grid.capacity, np.uint32)
        self._rows = 0
        self._texts: list[str] = []
        self._spans: list[Span] = []
        self._marks: list[tuple[int, str]] = []

    def add(self, run: Run) -> None:
        """Lay one run out behind what is there."""
        source = f"{run.header} {run.text}" if run.header else run.text
        stream = stream_of(source, self._grid.columns, self._flow, self._repertoire, header=bool(run.header))
        lead = Stream()
        done = 0
        while done < len(stream.cells):
            if self._rows == self._grid.rows:
                self._finish()
            if done and run.header and not lead.text:
                lead = self._lead(run.header)
            done += self._put(run, lead, stream, done)

    def _put(self, run: Run, lead: Stream, stream: Stream, done: int) -> int:
        """Put ``lead`` and as much of ``stream`` from cell ``done`` on as fits on the page; return how much did."""
        start = self._rows * self._grid.columns
        body = start + len(lead.cells)
        size = min(len(stream.cells) - done, self._grid.capacity - body)
        self._cells[start:body] = lead.cells
        self._cells[body : body + size] = stream.cells[done : done + size]
        self._texts.append(lead.text + stream.text_between(done, done + size))
        self._marks += [(start + cell, marks) for cell, marks in lead.marks.items()]
        self._marks += [(body + cell - done, m) for cell, m in stream.marks.items() if done <= cell < done + size]
        rows = -(-(len(lead.cells) + size) // self._grid.columns)
        last_row = self._rows + rows - 1
        self._spans.append(Span(turn_id=run.turn_id, role=run.role, first_row=self._rows, last_row=last_row))
        self._rows += rows
        return size

    def _lead(self, header: str) -> Stream:
        """Return what stands at the top of a page that continues a run; nothing where the grid is too small."""
        columns = self._grid.columns
        source = f"… {header[:_HEADER_START]}" + ("\n" if self._flow == "lines" else " ")
        lead = stream_of(source, columns, self._flow, self._repertoire, header=True)
        padding = -len(lead.cells) % (columns if self._flow == "lines" else 2)
        if 2 * (len(lead.cells) + padding) > self._grid.capacity:
            return Stream()
        lead.cells = np.pad(lead.cells, (0, padding))
        return lead

    def _finish(self) -> None:
        cells = self._cells.reshape(self._grid.rows, self._grid.columns)
        cells.flags.writeable = False
        layout = Layout(
            id="",
            grid=self._grid,
            cells=cells,
            text="\n".join(self._texts),
            spans=tuple(self._spans),
            marks=tuple(self._marks),
        )
        object.__setattr__(layout, "id", _page_id(self._renderer_key, layout))
        self._layouts.append(layout)
        self._begin()

    def close(self) -> list[Layout]:
        """Return all pages, the one begun included."""
        if self._spans:
            self._finish()
        return self._layouts


def _page_id(renderer_key: str, layout: Layout) -> str:
    """Return the SHA-256 (hex) of all that decides a page's pixels and owners; cells as two bytes where they fit."""
    grid, cells = layout.grid, layout.cells
    spans = [(span.turn_id, span.role, span.first_row, span.last_row) for span in layout.spans]
    size = (grid.width, grid.height, float(grid.cell_width), grid.cell_height)
    frame = json.dumps([renderer_key, size, spans, layout.marks], separators=(",", ":"))
    is_short = bool(((cells < 0xFFFF) | (cells == base.WIDE)).all())
    digest = hashlib.sha256(frame.encode())
    digest.update(cells.astype("<u2" if is_short else "<u4").tobytes())
    return digest.hexdigest()
