"""Finding the character grid of a page from what the network sees under the points of its lattice.

The network's answer does not depend on the grid, so a page is encoded once and every grid in question is judged by
indexing: within a cell all points name one character; across a border they differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from optical_memory.errors import GridNotFoundError
from optical_memory.model.mini.head import STEP_X, STEP_Y

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

_SPACE = 32
_SURE = 0.9
"""Agreement at which a grid is taken without trying shifts."""
_LEAST = 0.6
"""Agreement below which an image has no grid that can be read: photographs and noise stay below 0.55."""
_NARROWEST, _LOWEST = 3.0, 5.0
"""Least cell that is looked for, px: in a smaller one a single lattice point lies, and nothing can disagree."""
_NARROWEST_CLEAR = 4.5
"""Narrower cells, px, hold so few points that they agree with any coarser grid; tried last, and never shifted."""
_TALLEST_SHIFTED = 1.7
"""Taller cells, as a share of their width, fit the lines of other grids by chance at some shift."""
_LEAST_INKED = 4
_SHIFT = 4
"""Largest shift of a page that is looked for, px."""
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
    for width, height in ((12.5 * scale, 20 * scale), (16 * scale, 26 * scale), *_CELL_SIZES):
        if width >= _NARROWEST and height >= _LOWEST:
            yield filling(side, width, height)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sight:
    """What the network names under a block of lattice points, (rows, columns) code points, and where it begins (px)."""

    codes: Codes
    left: float
    top: float

    def at(self, x: Floats, y: Floats) -> Codes:
        """Code points at places (px) that lie in the block."""
        column = ((x - self.left) / STEP_X).astype(np.int64).clip(0, self.codes.shape[1] - 1)
        row = ((y - self.top) / STEP_Y).astype(np.int64).clip(0, self.codes.shape[0] - 1)
        found: Codes = self.codes[row[:, None], column[None, :]]
        return found

    def agreement(self, cells: Cells, across: float = 0.24, down: float = 0.24) -> float:
        """Return the share of inked cells whose centre and the points around it name the same character.

        Less where centres fall on blank gaps more often than points of the lattice at large do.

        The points lie ``across`` and ``down`` of a cell away, left, right, above and below; less where the nearest
        point of the lattice could then lie in the next cell.
        """
        across, down = (
            min(most, max(0.0, 0.5 - 0.55 * step / size))
            for most, step, size in ((across, STEP_X, cells.width), (down, STEP_Y, cells.height))
        )
        x, y = cells.centres()
        dx, dy = across * cells.width, down * cells.height
        x = x[(x - dx >= self.left) & (x + dx < self.left + self.codes.shape[1] * STEP_X)]
        y = y[(y - dy >= self.top) & (y + dy < self.top + self.codes.shape[0] * STEP_Y)]
        if len(x) == 0 or len(y) == 0:
            return 0.0
        centre = self.at(x, y)
        inked = centre != _SPACE
        if inked.sum() < _LEAST_INKED:
            return 0.0
        same = inked.copy()
        for step_x, step_y in ((dx, 0.0), (-dx, 0.0), (0.0, dy), (0.0, -dy)):
            if step_x or step_y:
                same &= self.at(x + step_x, y + step_y) == centre
        covered = float(inked.mean() / (self.codes != _SPACE).mean())
        return float(same.sum() / inked.sum()) * min(1.0, covered)

    def centred(self, cells: Cells) -> Cells:
        """Return the grid moved by up to half a cell to where its borders fit best; not moved where that fits too."""
        reach = {"left": min(_SHIFT, int(cells.width / 2)), "top": min(_SHIFT, int(cells.height / 2))}
        for side, most in reach.items():
            moves = np.arange(-most, most + 1)
            probes = (0.34, 0.0) if side == "left" else (0.0, 0.34)
            moved = [replace(cells, **{side: getattr(cells, side) + float(move)}) for move in moves]
            fit = np.array([self.agreement(one, *probes) for one in moved])
            good = moves[fit >= fit.max() - 0.1]
            cells = replace(cells, **{side: getattr(cells, side) + float(good[np.abs(good).argmin()])})
        return cells


def find(sight: Sight, side: int) -> Cells:
    """Return the grid of a page of ``side`` px.

    A finer grid than the true one agrees as well, so the coarsest of the best wins. Errors: GridNotFoundError.
    """
    candidates = list(known(side))
    clear = [cells for n, cells in enumerate(candidates) if n == 0 or cells.width >= _NARROWEST_CLEAR]
    judged = [(sight.agreement(cells), cells) for cells in clear]
    if max(agreement for agreement, _ in judged) < _SURE:
        shifts = [(dx, dy) for dx in range(-_SHIFT, _SHIFT + 1) for dy in range(-_SHIFT, _SHIFT + 1)]
        for cells in clear:
            if cells.width >= _NARROWEST_CLEAR and cells.height < _TALLEST_SHIFTED * cells.width:
                moved = [replace(cells, left=float(dx), top=float(dy)) for dx, dy in shifts]
                judged += [(sight.agreement(one), one) for one in moved]
    best = _coarsest(judged, _LEAST) or _coarsest([(sight.agreement(cells), cells) for cells in candidates], _LEAST)
    if best is None:
        raise GridNotFoundError("no character grid was found in the image; pass the page itself, or its grid")
    return sight.centred(best)


def _coarsest(judged: list[tuple[float, Cells]], least: float) -> Cells | None:
    top = max(agreement for agreement, _ in judged)
    if top < least:
        return None
    close = [(cells.width * cells.height, agreement, cells) for agreement, cells in judged if agreement > top - 0.025]
    return _best(close, max(area for area, _, _ in close))


def _best(close: list[tuple[float, float, Cells]], area: float) -> Cells:
    """Of the grids of one size the one that agrees best; of equals the least shifted."""
    return max(
        (
            (round(25 * agreement), -abs(cells.left) - abs(cells.top), cells)
            for size, agreement, cells in close
            if size == area
        ),
        key=lambda entry: entry[:2],
    )[2]
