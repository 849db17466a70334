"""What the network names under the points of its lattice, and how well a grid agrees with that.

The network's answer does not depend on the grid, so a page is encoded once and every grid in question is judged by
indexing: within a cell all points name one character; across a border they differ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from optical_memory.model.mini.cells import Cells, Floats
from optical_memory.model.mini.head import STEP_X, STEP_Y

Codes = npt.NDArray[np.int64]

_SPACE = 32
_LEAST_INKED = 4
_KEPT = 0.5
"""Share of its agreement that a grid keeps at most when it is moved by half a cell: text keeps up to 0.4, mostly 0.1;
rings, waves and clouds keep 0.64 and more, in float32 and in bfloat16."""
SHIFT = 4
"""Largest shift of a page that is looked for, px."""


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

    def has_borders(self, cells: Cells) -> bool:
        """Return whether answers differ across the grid's borders: moved by half a cell it agrees half as well.

        In smooth images, as rings or clouds, points near each other agree wherever the grid lies.
        """
        moved = replace(cells, left=cells.left + cells.width / 2, top=cells.top + cells.height / 2)
        return self.agreement(moved) < _KEPT * self.agreement(cells)

    def centred(self, cells: Cells) -> Cells:
        """Return the grid moved by a few px to where its borders fit best; not moved where that fits too."""
        for side, size in (("left", cells.width), ("top", cells.height)):
            most = min(SHIFT, int(size / 2))
            moves = np.arange(-most, most + 1)
            probes = (0.34, 0.0) if side == "left" else (0.0, 0.34)
            moved = [replace(cells, **{side: getattr(cells, side) + float(move)}) for move in moves]
            fit = np.array([self.agreement(one, *probes) for one in moved])
            good = moves[fit >= fit.max() - 0.1]
            cells = replace(cells, **{side: getattr(cells, side) + float(good[np.abs(good).argmin()])})
        return cells
