"""Pages: text laid out once on a fixed grid, the tiers it can be seen at, and the renderer's contract.

A :class:`Layout` is text on a grid. A :class:`Renderer` draws it once, at the grid's own size (the *canonical
raster*); every tier is a downsample of that raster. A :class:`Page` is a layout at one tier.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from optical_memory.renderers.visible import Repertoire

Raster = npt.NDArray[np.uint8]
"""(H, W) grey or (H, W, 3) RGB, 0 black to 255 white."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Cells of equal size on the canonical raster. Sizes in px; a cell may be half a pixel wide (12.5)."""

    width: int
    height: int
    cell_width: float
    cell_height: int

    @property
    def columns(self) -> int:
        """Half-width characters in a row; always even, so that wide characters can be aligned."""
        return int(self.width / self.cell_width) // 2 * 2

    @property
    def rows(self) -> int:
        """Rows of a page."""
        return self.height // self.cell_height

    @property
    def capacity(self) -> int:
        """Half-width characters of a full page."""
        return self.columns * self.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """How sharp a page is: the size of its raster in px and what it costs in the sequence, in tokens."""

    name: str
    width: int
    height: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The rows of a page that belong to one turn, ``first_row`` to ``last_row`` inclusive, from 0.

    ``place`` is the turn's place in its session, None for a turn without one. Page ids are made from it, because turn
    ids may be random.
    """

    turn_id: str
    role: str
    first_row: int
    last_row: int
    place: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """Text on a grid, ready to draw.

    ``cells`` is (rows, columns) uint32: a code point, 0 for an empty cell, ``WIDE`` for the right half of the wide
    character at its left. ``text`` is what a perfect reader returns. ``id`` is the content's hash (hex): layouts with
    equal ids have equal cells and equal rows for each turn, on any machine. ``marks`` are combining marks by the index
    of the cell (row * columns + column) whose character they stand on, for renderers that draw them. ``skipped`` is how
    many characters of what pages show of its first turn stand on pages before.
    """

    id: str
    grid: Grid
    cells: npt.NDArray[np.uint32]
    text: str
    spans: tuple[Span, ...] = ()
    marks: tuple[tuple[int, str], ...] = ()
    skipped: int = 0

    @property
    def turn_ids(self) -> tuple[str, ...]:
        """Ids of the turns on the page, in order, each once."""
        return tuple(dict.fromkeys(span.turn_id for span in self.spans))


WIDE = 0xFFFFFFFF
"""The right half of a wide character in ``Layout.cells``."""


class Renderer(Protocol):
    """Draws layouts. Deterministic to the byte, across processes and machines.

    ``key`` names the renderer and the version of its pixels ("dense-2"): it is part of every page id.
    """

    @property
    def key(self) -> str:
        """Name and pixel version."""

    @property
    def repertoire(self) -> Repertoire:
        """What can be drawn, for ``lay_out``."""

    def draw(self, layouts: Sequence[Layout], *, size: tuple[int, int]) -> list[Raster]:
        """Draw layouts at ``size`` (width, height in px): the canonical raster, downsampled to it.

        Errors: RenderError and its subclasses.
        """

    def close(self) -> None:
        """Release the browser or whatever else is held."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Page:
    """A layout at one tier. ``png`` is drawn when first asked for, and always the same bytes.

    ``watch`` (None: a page of no memory) registers a method that is called with the page's id when its turns are
    forgotten: for whoever keeps what it made of the page, such as vision tokens. It is held weakly.
    """

    id: str
    layout: Layout
    tier: str
    size: tuple[int, int]
    tokens: int
    kind: Literal["leaf", "gist"] = "leaf"
    facts: str = ""
    source: Callable[[Page], bytes] = field(repr=False)
    watch: Callable[[Callable[[str], object]], None] | None = field(default=None, repr=False)
    cached: list[bytes] = field(default_factory=list, repr=False)
    cached_url: list[str] = field(default_factory=list, repr=False)

    @property
    def text(self) -> str:
        """What a perfect reader returns for this page."""
        return self.layout.text

    @property
    def turn_ids(self) -> tuple[str, ...]:
        """Ids of the turns on the page, in order."""
        return self.layout.turn_ids

    @property
    def png(self) -> bytes:
        """The page as PNG bytes."""
        if not self.cached:
            self.cached.append(self.source(self))
        return self.cached[0]

    @property
    def url(self) -> str:
        """The page as a data URL; the same string object each time."""
        if not self.cached_url:
            self.cached_url.append("data:image/png;base64," + base64.b64encode(self.png).decode("ascii"))
        return self.cached_url[0]
