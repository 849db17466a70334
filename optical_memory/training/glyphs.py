"""Sheets of the dense renderer's own tiles, in the cells that training and evaluation draw."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from optical_memory.renderers import atlas, visible
from optical_memory.training.data import Arrays

LATIN_CELLS = (
    (12.5, 20), (12, 20), (10, 16), (8, 12), (7, 11), (6, 10), (5, 8), (4, 6), (15, 25),
)  # fmt: skip
"""Cells (width, height in px) of sheets with Latin letters, punctuation, signs and the marks of a page."""
SCRIPT_CELLS = ((8, 16), (12.5, 20))
"""Cells of sheets with everything the atlas draws."""
SIGNS = ((0x2010, 0x2028), (0x2030, 0x205F), (0x20A0, 0x20C0), (0x2100, 0x2C00))
"""Code points of signs, narrow and wide, that stand in Latin text: arrows, mathematics, boxes, check marks."""

_MARKS = tuple(map(ord, (visible.NEWLINE_MARK, visible.TAB_MARK, visible.HEADER_MARK, visible.FILLER_MARK)))


def are_signs() -> npt.NDArray[np.bool_]:
    """Return which code points of the Basic Multilingual Plane are signs, (65536,)."""
    found = np.zeros(65536, np.bool_)
    for first, end in SIGNS:
        found[first:end] = True
    return found


def dense_sheets() -> Arrays:
    """Return the arrays of sheets named "dense-WxH" (Latin) and "scripts-WxH" (all scripts)."""
    classes = visible.bmp_classes()[:65536]
    every = np.arange(65536)
    narrow, drawable = classes == visible.NARROW, (classes == visible.NARROW) | (classes == visible.WIDE)
    latin = (narrow & (every < 0x250)) | (drawable & are_signs())
    for mask in (latin, drawable):
        mask[list(_MARKS)] = True
        mask[:33] = False
    arrays: Arrays = {}
    for prefix, cells, mask in (("dense", LATIN_CELLS, latin), ("scripts", SCRIPT_CELLS, drawable)):
        for width, height in cells:
            arrays |= _sheet(f"{prefix}-{width:g}x{height}", every[mask], width, height)
    return arrays


def latin_sheet(width: float, height: int) -> Arrays:
    """Return the arrays of one sheet of Latin letters and marks, "dense-WxH"."""
    every = np.arange(65536)
    mask = (visible.bmp_classes()[:65536] == visible.NARROW) & (every < 0x250) & (every > 32)
    mask |= (every >= 0x2010) & (every < 0x2028)
    mask[list(_MARKS)] = True
    return _sheet(f"dense-{width:g}x{height}", every[mask], width, height)


def _sheet(name: str, codes: npt.NDArray[np.int64], width: float, height: int) -> Arrays:
    ink = 255 - atlas.tiles(codes.astype(np.uint32), width, height)  # (n, height, 2 * width)
    middle = math.ceil(width)
    return {
        f"{name}/left": np.ascontiguousarray(ink[None, :, :, :middle]),
        f"{name}/right": np.ascontiguousarray(ink[None, :, :, middle:]),
        f"{name}/codes": codes.astype(np.uint16),
    }
