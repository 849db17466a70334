"""The dense renderer: pages put together from a glyph atlas in NumPy, with no browser and no font engine.

Each character is drawn in its own cell, in the order of the text; scripts written from right to left too, with each
letter in its isolated form.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from optical_memory.errors import InputError
from optical_memory.renderers import atlas
from optical_memory.renderers.base import WIDE, Grid, Layout, Raster
from optical_memory.renderers.raster import downsample
from optical_memory.renderers.visible import Repertoire, default_repertoire

Theme = Literal["light", "dark"]
_CODE_POINTS = 0x110000


class DenseRenderer:
    """Draws layouts from the atlas. ``theme`` "dark" inverts the raster. Safe to share between threads.

    Holds the tiles of what it has drawn, some kB for each character and size; ``close`` drops them.
    """

    def __init__(self, *, theme: Theme = "light") -> None:
        if theme not in ("light", "dark"):
            raise InputError(f"unknown theme {theme!r}; use 'light' or 'dark'")
        self._theme = theme
        self._caches: dict[tuple[float, int, float, int], _TileCache] = {}

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
        self._caches = {}

    def _draw(self, layout: Layout, size: tuple[int, int]) -> Raster:
        grid = layout.grid
        if not (0 < size[0] <= grid.width and 0 < size[1] <= grid.height):
            raise InputError(f"a page of {grid.width} x {grid.height} px cannot be shown at {size!r}")
        # Where cells end on whole pixels of the tier, averaging its tiles is averaging the page.
        canonical = (grid.cell_width, grid.cell_height)
        cell = _cell_at(grid, size) or canonical
        raster = self._cache(canonical, cell).page(layout, size if cell != canonical else (grid.width, grid.height))
        raster = downsample(raster, size)
        return raster if self._theme == "light" else 255 - raster

    def _cache(self, canonical: tuple[float, int], cell: tuple[float, int]) -> _TileCache:
        key = (*canonical, *cell)
        return self._caches.get(key) or self._caches.setdefault(key, _TileCache(canonical, cell))


def _cell_at(grid: Grid, size: tuple[int, int]) -> tuple[int, int] | None:
    """Return the size of a cell on a page shown at ``size``, where it is a whole number of px each way."""
    across, rest_x = divmod(grid.cell_width * size[0], grid.width)
    down, rest_y = divmod(grid.cell_height * size[1], grid.height)
    return (int(across), int(down)) if rest_x == rest_y == 0 and across >= 1 and down >= 1 else None


class _TileCache:
    """Tiles of one cell size, fetched from the atlas when a page first needs them.

    ``canonical`` is the cell on the grid, ``cell`` the cell as drawn, both (width, height) in px.
    """

    def __init__(self, canonical: tuple[float, int], cell: tuple[float, int]) -> None:
        self._canonical = canonical
        self._pair = (round(2 * cell[0]), int(cell[1]))
        self._lock = threading.Lock()
        self._pairs = np.zeros((1, self._pair[1], self._pair[0]), np.uint8)
        self._tiles = _Tiles(np.zeros(_CODE_POINTS, np.uint16), self._pairs)

    def page(self, layout: Layout, size: tuple[int, int]) -> Raster:
        """Return the page at ``size``, at which its cells are this cache's."""
        codes = layout.cells
        is_half = codes == WIDE
        if is_half.any():
            codes = np.where(is_half, np.roll(codes, 1, axis=1), codes)
        tiles = self._tiles
        slots = tiles.slots[codes]
        if not slots.all():
            tiles = self._learn(codes[slots == 0])
            slots = tiles.slots[codes]
        return tiles.compose(slots, size)

    def _learn(self, codes: npt.NDArray[np.uint32]) -> _Tiles:
        with self._lock:
            new = np.unique(codes)
            new = new[self._tiles.slots[new] == 0]
            pairs = downsample(atlas.tiles(new, *self._canonical), self._pair)
            slots = self._tiles.slots.copy()
            slots[new] = len(self._pairs) + np.arange(len(new))
            self._pairs = np.concatenate((self._pairs, pairs))
            self._tiles = _Tiles(slots, self._pairs)
            return self._tiles


class _Tiles:
    """Pairs of cells, (slots, height, width) px, ready to be gathered. ``slots`` is 0 for what is not here yet."""

    def __init__(self, slots: npt.NDArray[np.uint16], pairs: Raster) -> None:
        self.slots = slots
        self._height, self._width = pairs.shape[1:]
        half = -(-self._width // 2)
        padded = np.pad(pairs.transpose(1, 0, 2), ((0, 0), (0, 0), (0, 2 * half - self._width)))
        self._rows = padded.view(f"V{half}")  # (height, slots, 2): a row of px of a cell as one item

    def compose(self, slots: npt.NDArray[np.uint16], size: tuple[int, int]) -> Raster:
        """Put the cells of a page, (rows, columns) slots, side by side: one row of px of all cells at a time."""
        rows, columns = slots.shape
        width, height = columns // 2 * self._width, rows * self._height
        raster = np.full((size[1], size[0]), 255, np.uint8)
        inside = raster[:height, :width].reshape(rows, self._height, columns // 2, self._width)
        halves = 2 * slots.astype(np.intp)
        halves[:, 1::2] += 1
        gathered = np.empty((rows, columns), self._rows.dtype)
        for y in range(self._height):
            np.take(self._rows[y].reshape(-1), halves, out=gathered, mode="clip")
            pairs = gathered.view(np.uint8).reshape(rows, columns // 2, -1)
            inside[:, y] = pairs[:, :, : self._width]
        return raster
