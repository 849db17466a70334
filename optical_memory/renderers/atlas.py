"""Tiles of glyphs for any cell size, averaged from bitmaps that ship with the package.

Glyphs come from three sources, tried in this order: bitmap fonts for the cells of BITMAP_CELLS, DejaVu Sans Mono as
large one-bit masters, GNU Unifont. No font engine runs here, so tiles are the same on every machine.

Cells come in pairs, because a cell may be half a pixel wide: two cells of 12.5 px share a *pair* of 25 px, in which
each narrow glyph takes 12 px and the middle column stays blank. So no pixel belongs to two narrow glyphs, and
what is true of a pair's pixels stays true after averaging a page down to a tier where cells end on whole pixels.
"""

from __future__ import annotations

import functools
import io
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from optical_memory.errors import InputError, RenderError
from optical_memory.renderers.base import Raster
from optical_memory.renderers.raster import levels

BITMAP_CELLS = frozenset({(4, 6), (5, 8), (6, 10)})
"""Cells (width, height in px) that have a bitmap font of their own."""

Codes = npt.NDArray[np.uint32]
_Bits = npt.NDArray[np.uint8]
_SPACES = (0, 0x20)
_CHUNK = 128  # glyphs averaged at a time


def tiles(codes: Codes, cell_width: float, cell_height: int) -> Raster:
    """Return the tile of each code point, (n, cell_height, 2 * cell_width), dark ink on white in 16 grey levels.

    A tile is a pair of cells. For a narrow character the glyph stands twice: the first ceil(cell_width) columns are
    its cell at an even column of a page, the others at an odd one. For a wide character the glyph fills the pair.
    Code point 0 and the space are blank. Errors: RenderError for a code point without a glyph, InputError for a
    cell that is not a multiple of half a pixel wide or is below 2x2 px.
    """
    pair_width = round(2 * cell_width)
    if pair_width != 2 * cell_width or pair_width < 4 or cell_height < 2:
        raise InputError(f"no tiles for a cell of {cell_width!r} x {cell_height!r} px")
    out = np.full((len(codes), cell_height, pair_width), 255, np.uint8)
    is_missing = ~np.isin(codes, _SPACES)
    for source in _sources(cell_width, cell_height):
        slots = source.find(codes)
        found = np.flatnonzero(is_missing & (slots >= 0))
        for first in range(0, len(found), _CHUNK):
            chunk = found[first : first + _CHUNK]
            out[chunk] = source.draw(slots[chunk], pair_width, cell_height)
        is_missing[found] = False
    if is_missing.any():
        raise RenderError(f"no glyph for U+{int(codes[is_missing][0]):04X}; lay it out as an escape")
    return out


class Bitmaps:
    """The glyphs of one source, as bitmaps of one size.

    ``codes`` ascend. ``packed`` is (n, H, bytes), each row XORed with the one above.
    """

    def __init__(self, codes: npt.NDArray[np.uint16], packed: _Bits, width: int, cells: int) -> None:
        self._codes = codes
        self._packed = packed
        self._width = width
        self._cells = cells

    def find(self, codes: Codes) -> npt.NDArray[np.intp]:
        """Return the slot of each code point, -1 where it is not here."""
        slots = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        return np.where(self._codes[slots] == codes, slots, -1)

    def draw(self, slots: npt.NDArray[np.intp], pair_width: int, height: int) -> Raster:
        """Return the pairs (n, height, pair_width) of the glyphs in ``slots``."""
        rows = np.bitwise_xor.accumulate(self._packed[slots], axis=1)
        bits = np.unpackbits(rows, axis=2, count=self._width)
        if self._cells == 2:
            return self._fit(bits, pair_width, height)
        half = self._fit(bits, pair_width // 2, height)
        blank = np.full((len(slots), height, pair_width % 2), 255, np.uint8)
        return np.concatenate((half, blank, half), axis=2)

    def _fit(self, bits: _Bits, width: int, height: int) -> Raster:
        """Average bitmaps (n, H, W) into a place of width x height px, which they fill."""
        return _averaged(bits, width, height, 0, width, bits.shape[2])


class UnifontBitmaps(Bitmaps):
    """Bitmaps that keep their proportions: as high as the cell, in its middle."""

    def _fit(self, bits: _Bits, width: int, height: int) -> Raster:
        unit = 32  # parts of a px: an eighth of a glyph's width or height is a whole number of them
        pixel = min(2 * height, unit * width // bits.shape[2])
        start = (unit * width - pixel * bits.shape[2]) // 2
        return _averaged(bits, width, height, start, pixel, unit)


class ExactBitmaps(Bitmaps):
    """Bitmaps that were drawn for just this cell."""

    def _fit(self, bits: _Bits, width: int, height: int) -> Raster:
        return np.where(bits == 0, np.uint8(255), np.uint8(0))


def _averaged(bits: _Bits, width: int, height: int, start: int, pixel: int, unit: int) -> Raster:
    """Average bitmaps over px of ``unit`` parts; a column of them is ``pixel`` parts wide, the first at ``start``.

    Rows fill the height. The sums are whole numbers below 2**53, so float64 products are exact in any order.
    """
    across = _overlaps(width, unit, bits.shape[2], pixel, start)
    down = _overlaps(height, bits.shape[1], bits.shape[1], height, 0)
    ink = down @ bits.astype(np.float64) @ across.T
    return levels(ink, unit * bits.shape[1])


def _overlaps(count: int, unit: int, sources: int, pixel: int, start: int) -> npt.NDArray[np.float64]:
    """Return (count, sources): the parts that each target px shares with each source px."""
    target = unit * np.arange(count)[:, None]
    source = start + pixel * np.arange(sources)[None]
    overlap = np.minimum(target + unit, source + pixel) - np.maximum(target, source)
    return np.asarray(np.maximum(overlap, 0), np.float64)


@functools.cache
def _sources(cell_width: float, cell_height: int) -> tuple[Bitmaps, ...]:
    """Return the sources of glyphs for a cell, best first."""
    general = (
        Bitmaps(*_read("masters.bin", "narrow"), width=100, cells=1),
        Bitmaps(*_read("masters.bin", "wide"), width=200, cells=2),
        UnifontBitmaps(*_read("unifont.bin", "narrow"), width=8, cells=1),
        UnifontBitmaps(*_read("unifont.bin", "wide"), width=16, cells=2),
    )
    if (cell_width, cell_height) not in BITMAP_CELLS:
        return general
    name = f"{int(cell_width)}x{cell_height}.narrow"
    return (ExactBitmaps(*_read("bitmaps.bin", name), width=int(cell_width), cells=1), *general)


def _read(file: str, name: str) -> tuple[npt.NDArray[np.uint16], _Bits]:
    arrays = _arrays(file)
    return arrays[f"{name}.codes"], arrays[f"{name}.bits"]


@functools.cache
def _arrays(file: str) -> dict[str, npt.NDArray[Any]]:
    from importlib.resources import files  # slow to import

    packed = files("optical_memory.renderers").joinpath("fonts", file).read_bytes()
    with np.load(io.BytesIO(zlib.decompress(packed))) as arrays:
        return {name: arrays[name] for name in arrays.files}
