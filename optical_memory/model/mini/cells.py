"""Character grids as they lie on a raster, and those that a page may have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

NARROWEST, LOWEST = 2.2, 3.4
"""Least cell that is looked for, px: one of the mini's at 256²."""
_CELL_SIZES = (
    (8.0, 12.0), (10.0, 16.0), (5.0, 8.0), (6.0, 10.0), (7.0, 11.0), (12.0, 20.0), (4.0, 6.0), (8.0, 16.0),
    (6.0, 12.0), (9.0, 16.0), (16.0, 26.0), (20.0, 32.0),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """A character grid on a raster: size of a cell and the corner of the first one, px; columns are even."""

    width: float
    height: float
    columns: int
    rows: int
    left: float = 0.0
    top: float = 0.0

    def centres(self) -> tuple[Floats, Floats]:
        """Return x of every column and y of every row, px."""
        x = self.left + (np.arange(self.columns) + 0.5) * self.width
        y = self.top + (np.arange(self.rows) + 0.5) * self.height
        return x, y


def filling(side: int, width: float, height: float) -> Cells:
    """Return the grid of cells of ``width`` × ``height`` px that fills a page of ``side`` px from its corner."""
    return Cells(width=width, height=height, columns=int(side / width + 1e-6) // 2 * 2, rows=int(side / height + 1e-6))


def known(side: int) -> Iterator[Cells]:
    """Grids that a page of ``side`` px may have: the mini's own and DeepSeek-OCR's at any tier, and whole sizes."""
    scale = side / 1280
    sizes = ((12.5 * scale, 20 * scale), (15 * scale, 25 * scale), *_CELL_SIZES)
    for width, height in dict.fromkeys(sizes):
        if width >= NARROWEST and height >= LOWEST:
            yield filling(side, width, height)
