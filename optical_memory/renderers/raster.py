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

    ``raster`` is (..., H, W) grey or (H, W, 3) RGB; leading axes are kept. Grey ends at the nearest of GREY_LEVELS,
    colour at whole numbers; halves are rounded up.
    """
    is_colour = raster.ndim == 3 and raster.shape[2] == 3
    rows = raster.ndim - (3 if is_colour else 2)
    width, height = size
    if raster.shape[rows : rows + 2] == (height, width):
        return raster
    down = math.gcd(raster.shape[rows], height)
    across = math.gcd(raster.shape[rows + 1], width)
    full = 255 * (raster.shape[rows] // down) * (raster.shape[rows + 1] // across)
    sums = raster.astype(np.uint16 if full < 2**16 else np.uint32 if full < 2**32 else np.uint64)
    sums = _area_sums(_area_sums(sums, rows, down, height), rows + 1, across, width)
    if is_colour:
        return np.asarray((2 * 255 * sums.astype(np.int64) + full) // (2 * full), np.uint8)
    return _nearest(sums, full)


def _nearest(sums: _Whole, full: int) -> Raster:
    """Return the nearest grey level of each sum, from a table where the sums are small."""
    steps = np.arange(full + 1) if full < 2**16 else sums.astype(np.int64)
    steps = (2 * (GREY_LEVELS - 1) * steps + full) // (2 * full)
    greys = (17 * steps).astype(np.uint8)
    return greys[sums] if full < 2**16 else greys


def _area_sums(values: _Whole, axis: int, groups: int, length: int) -> _Whole:
    """Add up along an axis: ``groups`` groups of p values become groups of q sums, each p q-ths of values long."""
    before, after = values.shape[:axis], values.shape[axis + 1 :]
    p, q = values.shape[axis] // groups, length // groups
    if p == q == 1:
        return values
    source = values.reshape(*before, groups, p, *after)
    out = np.zeros((*before, groups, q, *after), values.dtype)
    at: tuple[Any, ...] = (slice(None),) * (axis + 1)
    for i in range(p):
        for j in range(i * q // p, min(q, ((i + 1) * q - 1) // p + 1)):
            overlap = min((i + 1) * q, (j + 1) * p) - max(i * q, j * p)
            out[*at, j] += source[*at, i] * values.dtype.type(overlap)
    return out.reshape(*before, length, *after)
