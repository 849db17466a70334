"""A layout as markup for Chromium: one run of text for each style in a row, nothing but escaped text inside.

All fonts share the pitch of the cells, so characters stand in their cells by themselves. Right-to-left text is
shaped and ordered by the browser within a box as wide as its cells. Colours are not in the markup: they come
back as *tints*, to be put on the ink once it is drawn.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from optical_memory.errors import InputError
from optical_memory.renderers.base import WIDE, Layout, Span
from optical_memory.renderers.markdown import Style, begins_in_fence, scan
from optical_memory.renderers.visible import FILLER_MARK, HEADER_MARK, NEWLINE_MARK, TAB_MARK, plain
from optical_memory.renderers.webfonts import EMOJI, LAST, PRIVATE, Faces

Colour = tuple[int, int, int]

ROLE_COLOURS: dict[str, Colour] = {
    "user": (11, 83, 176),
    "assistant": (10, 112, 52),
    "tool": (154, 74, 0),
    "system": (118, 42, 150),
    "developer": (118, 42, 150),
}
LINK_COLOUR: Colour = (20, 70, 190)
_MAX_LABEL = 64  # characters of a header that are coloured when no colon ends it
CLASSES = ("", "b", "i")  # the ways to draw a character, see Decoration
_SHAPED, _REVERSED = 1, 2
"""Right-to-left text whose letters a text font shapes, and such text drawn letter by letter."""
_BREAKS = frozenset((NEWLINE_MARK, TAB_MARK, HEADER_MARK))
_STOPS = {_SHAPED: ("L",), _REVERSED: ("L", "EN", "AN")}
_RTL_BLOCKS = ((0x0590, 0x0900), (0xFB1D, 0xFE00), (0xFE70, 0xFEFD))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tint:
    """A colour for the ink of the cells ``first`` to ``end`` (exclusive) of a row."""

    row: int
    first: int
    end: int
    colour: Colour


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoration:
    """How the cells of a page are drawn (an index of CLASSES each), its code: (row, first cell, end), its tints."""

    ways: npt.NDArray[np.uint8]
    code: tuple[tuple[int, int, int], ...]
    tints: tuple[Tint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Markup:
    """A page for Chromium: its rows as HTML, the fonts it needs (bits by number), and what is done to its ink."""

    html: str
    faces: int
    decoration: Decoration

    @property
    def has_colour(self) -> bool:
        """Whether Chromium itself draws in colour."""
        return bool(self.faces >> EMOJI & 1)


@functools.cache
def ramp(colour: Colour) -> npt.NDArray[np.uint8]:
    """Return the colours of a tint for each grey, (256, 3): white stays white, black becomes the colour."""
    ink = 255 - np.arange(256, dtype=np.int64)[:, None]
    found: npt.NDArray[np.uint8] = (255 - (ink * (255 - np.array(colour)) + 127) // 255).astype(np.uint8)
    return found


def mark_up(layout: Layout, faces: Faces) -> Markup:
    """Turn a layout into markup. Errors: InputError for a character that no shipped font draws."""
    cells = np.where((layout.cells == 0) | (layout.cells == WIDE), np.uint32(ord(" ")), layout.cells)
    used = fonts_of(cells, faces, "".join(marks for _, marks in layout.marks))
    decoration = decorate(layout)
    page = _Page(layout, cells, decoration.ways, faces)
    html = "\n".join(page.row(row) for row in range(len(cells)))
    return Markup(html=html, faces=used, decoration=decoration)


def fonts_of(cells: npt.NDArray[np.uint32], faces: Faces, marks: str = "") -> int:
    """Return the numbers of the fonts that draw characters, as bits. Errors: InputError where there is none."""
    codes = np.concatenate((cells.ravel(), np.frombuffer(marks.encode("utf-32-le", "surrogatepass"), "<u4")))
    if codes.max(initial=0) >= len(faces.table):
        raise InputError(f"a layout holds {int(codes.max())}, which is no code point")
    numbers = faces.table[codes]
    if not numbers.all():
        code = int(codes[numbers == 0][0])
        raise InputError(f"Chromium's fonts do not draw U+{code:04X}; lay out with ChromiumRenderer.repertoire")
    return int(np.bitwise_or.reduce(1 << np.unique(numbers).astype(np.int64)))


def decorate(layout: Layout) -> Decoration:
    """Return how a page is decorated, by the roles of its turns and their Markdown."""
    styles = np.zeros(layout.cells.shape, np.uint8)
    colours = np.zeros(layout.cells.shape, np.uint32)
    for span in layout.spans:
        _decorate_span(layout, span, styles.ravel(), colours.ravel())
    right = layout.cells == WIDE
    styles[:, 1:][right[:, 1:]] = styles[:, :-1][right[:, 1:]]
    is_strong, is_emphasised = styles & np.uint8(Style.STRONG) != 0, styles & np.uint8(Style.EMPHASIS) != 0
    return Decoration(
        ways=np.where(is_strong, np.uint8(1), np.where(is_emphasised, np.uint8(2), np.uint8(0))),
        code=tuple(run[:3] for run in _runs(styles & np.uint8(Style.CODE))),
        tints=tuple(
            Tint(row=row, first=first, end=end, colour=(packed >> 16, packed >> 8 & 255, packed & 255))
            for row, first, end, packed in _runs(colours)
        ),
    )


def _decorate_span(layout: Layout, span: Span, styles: npt.NDArray[np.uint8], colours: npt.NDArray[np.uint32]) -> None:
    columns = layout.cells.shape[1]
    start, end = span.first_row * columns, (span.last_row + 1) * columns
    codes = layout.cells.ravel()[start:end]
    places = start + np.flatnonzero((codes != 0) & (codes != WIDE) & (codes != ord(FILLER_MARK)))
    text = plain(layout.cells.ravel()[places].astype("<u4").tobytes().decode("utf-32-le", "replace"))
    places = np.append(places, end)
    body = 0
    if text.startswith(HEADER_MARK):
        colon = text.find(":", 0, _MAX_LABEL)
        body = colon + 1 if colon > 0 else len(text.split(" ", 1)[0])
        label = slice(places[1], places[body])  # the mark before it stays plain and black: readers go by it
        styles[label] |= int(Style.STRONG)
        colours[label] = _packed(ROLE_COLOURS.get(span.role, (0, 0, 0)))
    if span.role == "tool":
        return
    content = text[body:]
    in_fence = text.startswith(HEADER_MARK + "…") and begins_in_fence(content)
    for first, last, style in scan(content, in_fence=in_fence):
        where = slice(places[body + first], places[body + last])
        if style is Style.LINK:
            colours[where] = _packed(LINK_COLOUR)
        else:
            styles[where] |= int(style)


def right_to_left(cells: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    """Return which characters are of scripts that are written from right to left."""
    found = np.zeros(cells.shape, np.bool_)
    for first, end in _RTL_BLOCKS:
        found |= (cells >= first) & (cells < end)
    return found


def _packed(colour: Colour) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _runs(values: npt.NDArray[np.uint8] | npt.NDArray[np.uint32]) -> Iterator[tuple[int, int, int, int]]:
    """Yield row, first cell, end and value of the runs of each value but 0."""
    for row in np.flatnonzero(values.any(axis=1)).tolist():
        edges = np.flatnonzero(np.diff(values[row], prepend=0, append=0)).tolist()
        for first, end in pairwise(edges):
            if value := int(values[row, first]):
                yield row, first, end, value


class _Page:
    """Writes the rows of one page."""

    def __init__(
        self, layout: Layout, cells: npt.NDArray[np.uint32], ways: npt.NDArray[np.uint8], faces: Faces
    ) -> None:
        self._columns = cells.shape[1]
        self._keep = layout.cells != WIDE
        self._numbers = faces.table[cells]
        self._codes = np.where(self._numbers == LAST, cells + np.uint32(PRIVATE), cells)
        self._ways = ways
        is_rtl = right_to_left(cells)
        self._rtl = np.where(is_rtl, np.where(self._numbers == LAST, _REVERSED, _SHAPED), 0)
        self._cells = cells
        special = self._ways.astype(np.bool_) | is_rtl | (self._numbers == EMOJI)
        self._is_plain = ~special.any(axis=1)
        self._marks: dict[int, list[tuple[int, str]]] = {}
        for cell, marks in layout.marks:
            drawn = "".join(chr(ord(m) + PRIVATE) if faces.table[ord(m)] == LAST else m for m in marks)
            self._marks.setdefault(cell // self._columns, []).append((cell % self._columns, drawn))

    def row(self, row: int) -> str:
        """Return one row as HTML."""
        keep = self._keep[row]
        text = self._codes[row][keep].astype("<u4").tobytes().decode("utf-32-le")
        if self._is_plain[row] and row not in self._marks:
            return escape(text, quote=False)
        places = np.flatnonzero(keep)
        clusters = list(text)
        for column, marks in self._marks.get(row, ()):
            clusters[int(np.searchsorted(places, column))] += marks
        line = _Line(clusters, self._ways[row][places], self._numbers[row][places] == EMOJI)
        out, done = [], 0
        kinds = self._rtl[row][places]
        source = self._cells[row][places].astype("<u4").tobytes().decode("utf-32-le")
        for first, end, kind in _rtl_runs(source, kinds.tolist()) if kinds.any() else ():
            out.append(line.html(done, first))
            if kind == _SHAPED:
                width = int(places[end] if end < len(places) else self._columns) - int(places[first])
                out.append(f'<span class="r w{width}">{line.html(first, end)}</span>')
            else:
                out.append(line.html(first, end, backwards=True))
            done = end
        return "".join([*out, line.html(done, len(clusters))])


def _rtl_runs(text: str, kinds: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield start, end and kind of the right-to-left runs of a row, blanks, signs and numbers inside included."""
    done = 0
    for start, kind in enumerate(kinds):
        if not kind or start < done:
            continue
        done = start + 1
        for place in range(start + 1, len(text)):
            if kinds[place] == kind:
                done = place + 1
            elif kinds[place] or text[place] in _BREAKS or unicodedata.bidirectional(text[place]) in _STOPS[kind]:
                break
        yield start, done, kind


@dataclass(frozen=True, slots=True)
class _Line:
    """The characters of a row and how each is drawn; ``emoji`` says which are drawn by the colour font."""

    clusters: Sequence[str]
    ways: npt.NDArray[np.uint8]
    emoji: npt.NDArray[np.bool_]

    def html(self, first: int, end: int, *, backwards: bool = False) -> str:
        """Return characters ``first`` to ``end`` as HTML, from the last to the first where ``backwards``."""
        keys = self.ways[first:end].astype(np.int32) + np.where(
            self.emoji[first:end], np.arange(len(CLASSES), len(CLASSES) + end - first), 0
        )
        edges = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist(), end - first] if end > first else []
        out = []
        for start, stop in pairwise(edges):
            run = self.clusters[first + start : first + stop]
            text = escape("".join(reversed(run) if backwards else run), quote=False)
            name = "e w2" if self.emoji[first + start] else CLASSES[int(self.ways[first + start])]
            out.append(f'<span class="{name}">{text}</span>' if name else text)
        return "".join(reversed(out) if backwards else out)
