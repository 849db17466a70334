"""Pages as Chromium's ink becomes them: shaded, brought to their size, and tinted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from optical_memory.renderers import png
from optical_memory.renderers.base import Grid, Raster
from optical_memory.renderers.markup import Colour, Decoration, ramp
from optical_memory.renderers.raster import GREY_LEVELS, downsample, levels

_LEVELS = levels(255 - np.arange(256, dtype=np.uint16), 255).tolist()
_SHADED = (-(-238 * np.arange(256) // 255)).astype(np.uint8)
"""What lies on the shade under code, a fifteenth of ink, for each value of what was drawn; as Chromium rounds it."""
_MOST_COLOURS = 256 // GREY_LEVELS
_GREYS = np.arange(0, 256, 17).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Inked:
    """A page at its size: what was drawn, at grey levels or in colour, and the colours that its ink has in places."""

    ink: Raster
    tints: Sequence[tuple[slice, slice, Colour]] = ()

    def raster(self) -> Raster:
        """Return the page, (H, W) grey or (H, W, 3) RGB."""
        if not self.tints:
            return self.ink
        is_grey = self.ink.ndim == 2
        raster = np.asarray(Image.merge("RGB", [Image.fromarray(self.ink)] * 3) if is_grey else self.ink).copy()
        for rows, columns, colour in self.tints:
            raster[rows, columns] = ramp(colour)[raster[rows, columns, 0]]
        return raster

    def png(self) -> bytes:
        """Return the page as PNG bytes."""
        colours = list(dict.fromkeys(colour for _, _, colour in self.tints))
        if self.ink.ndim == 3 or not 0 < len(colours) < _MOST_COLOURS:
            return png.encode(self.raster())
        indexes = (self.ink >> 4).astype(np.uint8)
        for rows, columns, colour in self.tints:
            indexes[rows, columns] += GREY_LEVELS * (1 + colours.index(colour))
        palette = [np.repeat(_GREYS[:, None], 3, axis=1), *(ramp(colour)[_GREYS] for colour in colours)]
        return png.encode_indexed(indexes, np.concatenate(palette))


def finish(raster: Raster, decoration: Decoration, grid: Grid, size: tuple[int, int]) -> Inked:
    """Shade what is code on what was drawn of a grid, (H, W) grey or (H, W, 3) RGB, and bring it to ``size``."""
    if decoration.code and not raster.flags.writeable:
        raster = raster.copy()
    for row, first, end in decoration.code:
        columns = slice(math.ceil(first * grid.cell_width), math.ceil(end * grid.cell_width))
        part = raster[row * grid.cell_height : (row + 1) * grid.cell_height, columns]
        part[:] = _SHADED[part]
    if raster.ndim == 2:
        raster = np.asarray(Image.fromarray(np.ascontiguousarray(raster)).point(_LEVELS))
    return Inked(downsample(raster, size), _tinted(decoration, grid, size))


def _tinted(decoration: Decoration, grid: Grid, size: tuple[int, int]) -> list[tuple[slice, slice, Colour]]:
    x, y = size[0] / grid.width, size[1] / grid.height

    def down(row: int) -> int:
        return round(row * grid.cell_height * y)

    def across(cell: int) -> int:
        return round(cell * grid.cell_width * x)

    return [
        (slice(down(tint.row), down(tint.row + 1)), slice(across(tint.first), across(tint.end)), tint.colour)
        for tint in decoration.tints
    ]
