"""Arithmetic on rasters: area averages and grey levels, in whole numbers, so that all machines agree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from optical_memory.renderers.base import Raster

_Whole = npt.NDArray[Any]  # unsigned integers as wide as the sums need

GREY_LEVELS = 16
"""Grey rasters have this many levels, 17 apart from 0 to 255: part of what a tier is, and PNGs of 4 bits."""


def levels(ink: npt.NDArray[Any], full: int) -> Raster:
    """Return dark ink on white, at the nearest grey level, where ``ink`` is a whole number from 0 to ``full``."""
    sums = ink.astype(np.int64)
    steps = (2 * (GREY_LEVELS - 1) * sums + full) // (2 * full)
    return (255 - 17 * steps).astype(np.uint8)


def downsample(raster: Raster, size: tuple[int, int]) -> Raster:
    """Average a raster down to ``size`` (width, height in px): each new pixel is the mean of the area it covers.

    ``raster`` is (..., H, W) grey at the grey levels, or (H, W, 3) RGB; leading axes are kept. The result is at the
    nearest grey level, or of whole numbers in colour; halves go up.
    """
    is_colour = raster.ndim == 3 and raster.shape[2] == 3
    rows = raster.ndim - (3 if is_colour else 2)
    width, height = size
    if raster.shape[rows : rows + 2] == (height, width):
        return raster
    values, top = (raster, 255) if is_colour else (raster >> 4, GREY_LEVELS - 1)
    values, down = _area_sums(values, top, rows, height)
    values, across = _area_sums(values, top * down, rows + 1, width)
    area = down * across
    means = (2 * values.astype(np.min_scalar_type(3 * top * area)) + area) // (2 * area)
    return means.astype(np.uint8) * np.uint8(255 // top)


def _area_sums(values: _Whole, top: int, axis: int, length: int) -> tuple[_Whole, int]:
    """Sum values along an axis into ``length`` equal shares; return the sums and the number of parts in each.

    With p values for q sums, a value is q parts wide and a sum covers p parts. ``top`` is the greatest value.
    """
    groups = math.gcd(values.shape[axis], length)
    p, q = values.shape[axis] // groups, length // groups
    before, after = values.shape[:axis], values.shape[axis + 1 :]
    kind = np.min_scalar_type(top * p)
    source = values.reshape(*before, groups, p, *after)
    at: tuple[Any, ...] = (slice(None),) * (axis + 1)
    parts = [source[*at, i].astype(kind) for i in range(p)]
    out = np.empty((*before, groups, q, *after), kind)
    for j in range(q):
        first, last = j * p // q, -(-(j + 1) * p // q)
        overlaps = [min((i + 1) * q, (j + 1) * p) - max(i * q, j * p) for i in range(first, last)]
        out[*at, j] = sum(part * kind.type(share) for part, share in zip(parts[first:last], overlaps, strict=True))
    return out.reshape(*before, length, *after), p
