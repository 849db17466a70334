"""The dense renderer: pages put together from a glyph atlas in NumPy, with no browser and no font engine.

Each character is drawn in its own cell, in the order of the text; scripts written from right to left too, with each
letter in its isolated form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from optical_memory.errors import InputError
from optical_memory.renderers.base import Grid, Layout, Raster
from optical_memory.renderers.raster import downsample
from optical_memory.renderers.tiles import Keys, Tiles, characters
from optical_memory.renderers.visible import Repertoire, default_repertoire

Theme = Literal["light", "dark"]


class DenseRenderer:
    """Draws layouts from the atlas. ``theme`` "dark" inverts the raster. Safe to share between threads.

    Holds the tiles of what it has drawn, some kB for each character and size; ``close`` drops them.
    """

    def __init__(self, *, theme: Theme = "light") -> None:
        if theme not in ("light", "dark"):
            raise InputError(f"unknown theme {theme!r}; use 'light' or 'dark'")
        self._theme = theme
        self._tiles: dict[tuple[float, int, float, int], Tiles] = {}

    @property
    def key(self) -> str:
        """Name and pixel version."""
        return "dense-2" if self._theme == "light" else "dense-2-dark"

    @property
    def repertoire(self) -> Repertoire:
        """What can be drawn: the Basic Multilingual Plane as far as GNU Unifont covers it."""
        return default_repertoire()

    def draw(self, layouts: Sequence[Layout], *, size: tuple[int, int]) -> list[Raster]:
        """Draw layouts at ``size`` (width, height in px): the canonical raster, averaged down to it.

        Errors: RenderError for a character without a glyph, InputError for a size larger than the grid's.
        """
        return [self._draw(layout, size) for layout in layouts]

    def close(self) -> None:
        """Drop the tiles."""
        self._tiles = {}

    def _draw(self, layout: Layout, size: tuple[int, int]) -> Raster:
        grid = layout.grid
        if not (0 < size[0] <= grid.width and 0 < size[1] <= grid.height):
            raise InputError(f"a page of {grid.width} x {grid.height} px cannot be shown at {size!r}")
        # Where cells end on whole pixels of the tier, averaging its tiles is averaging the page.
        canonical = (grid.cell_width, grid.cell_height)
        cell = _cell_at(grid, size) or canonical
        codes = characters(layout.cells)
        tiles = self._tiles.get((*canonical, *cell)) or Tiles(cell)
        tiles = self._tiles[*canonical, *cell] = tiles.learn(codes, lambda new: _tiles(new, canonical, cell))
        raster = tiles.compose(codes, size if cell != canonical else (grid.width, grid.height))
        raster = downsample(raster, size)
        return raster if self._theme == "light" else 255 - raster


def _tiles(codes: Keys, canonical: tuple[float, int], cell: tuple[float, int]) -> Raster:
    """Return tiles of ``cell`` (width, height in px), averaged from those of the cell on the grid."""
    from optical_memory.renderers import atlas  # the glyphs: not before a page is drawn

    pairs = downsample(atlas.tiles(codes, *canonical), (round(2 * cell[0]), cell[1]))
    return np.stack((pairs, pairs), axis=1)


def _cell_at(grid: Grid, size: tuple[int, int]) -> tuple[int, int] | None:
    """Return the size of a cell on a page shown at ``size``, where it is a whole number of px each way."""
    across, rest_x = divmod(grid.cell_width * size[0], grid.width)
    down, rest_y = divmod(grid.cell_height * size[1], grid.height)
    return (int(across), int(down)) if rest_x == rest_y == 0 and across >= 1 and down >= 1 else None
