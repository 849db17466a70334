"""Pages put together from tiles, each the pixels of one character in its cell. No loop over characters.

Cells come in pairs, because a cell may be half a pixel wide: two cells of 12.5 px share a pair of 25 px, of which the
first 13 columns belong to the cell at the left. A narrow character has two tiles, one for each place in a pair; a wide
one fills the pair. A character may reach a few px over its cell (a bracket, a slanted letter); where two meet, the
darker pixel stands.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from optical_memory.renderers.base import WIDE, Raster

Keys = npt.NDArray[np.uint32]
"""What stands in cells: a number for each character, and for each way to draw it."""
MOST_TILES = 8_192
"""Characters that are kept for one size of cells, some 2 to 5 kB each, unless what is drawn together has more."""


def characters(cells: npt.NDArray[np.uint32]) -> Keys:
    """Return the character that each cell shows, both cells of a wide one the same."""
    is_half = cells == WIDE
    return np.where(is_half, np.roll(cells, 1, axis=1), cells) if is_half.any() else cells


class Tiles:
    """Tiles of cells of ``cell`` (width, height in px), which may reach ``over`` their cells by (across, down) px.

    Immutable: what is learned makes another object, so threads share one without a lock.
    """

    def __init__(self, cell: tuple[float, int], over: tuple[int, int] = (0, 0)) -> None:
        self._pair, self._height, self._over = round(2 * cell[0]), cell[1], over
        shape = (1, 2, self._height + 2 * over[1], self._pair + 2 * over[0])
        self._take(np.zeros(1, np.uint16), np.full(shape, 255, np.uint8))

    def _take(self, slots: npt.NDArray[np.uint16], crops: Raster) -> None:
        """Arrange what ``crops`` show so that a row of px of all cells is gathered at once."""
        self._slots, self._crops = slots, crops
        across, half = self._over[0], -(-self._pair // 2)
        cells = np.zeros((crops.shape[2], len(crops), 2, half), np.uint8)
        cells[:, :, 0] = crops[:, 0, :, across : across + half].transpose(1, 0, 2)
        cells[:, :, 1, : self._pair - half] = crops[:, 1, :, across + half : across + self._pair].transpose(1, 0, 2)
        self._rows = cells.view(f"V{half}")  # a row of px of a cell as one item
        inside = crops[:, :, self._over[1] : self._over[1] + self._height]
        self._sides = [  # what lies over the left and the right edge of the left and of the right cell, (n, height)
            (np.ascontiguousarray(inside[:, place, :, column]), place, column - across)
            for place, column in ((0, 0), (0, across + half), (1, across + half - 1), (1, across + self._pair))
            if across
        ]

    def learn(self, keys: Keys, draw: Callable[[Keys], Raster]) -> Tiles:
        """Return tiles that have all ``keys``; ``draw`` makes those that are not here. Over MOST_TILES no others stay.

        It returns (n, 2, height + 2 down, pair width + 2 across): the pair of cells and what is around it, once where
        the character stands in the left cell and once where it stands in the right one, dark on white.
        """
        slots = self._slots.take(keys, mode="clip")
        if slots.all():
            return self
        known, new = self._crops, np.unique(keys[slots == 0])
        is_full = len(known) + len(new) > MOST_TILES
        if is_full:
            known, new = known[:1], np.unique(keys)
        crops = np.concatenate((known, draw(new)))
        grown = np.zeros(max(len(self._slots), int(new[-1]) + 2), np.uint16)  # the last stays 0: it stands for others
        if not is_full:
            grown[: len(self._slots)] = self._slots
        grown[new] = len(known) + np.arange(len(new))
        tiles = copy(self)
        tiles._take(grown, crops)
        return tiles

    def compose(self, keys: Keys, size: tuple[int, int]) -> Raster:
        """Put a page's cells, (rows, columns), side by side on a raster of ``size`` (width, height in px)."""
        rows, columns = keys.shape
        raster = np.full((size[1], size[0]), 255, np.uint8)
        page = raster[: rows * self._height, : columns // 2 * self._pair]
        inside = page.reshape(rows, self._height, columns // 2, self._pair)
        slots = self._slots.take(keys, mode="clip").astype(np.intp)
        halves = 2 * slots
        halves[:, 1::2] += 1
        down = self._over[1]
        for y in range(self._height):
            inside[:, y] = self._gathered(down + y, halves)
        for y in range(down):
            above, below = inside[:-1, self._height - down + y], inside[1:, y]
            np.minimum(above, self._gathered(y, halves[1:]), out=above)
            np.minimum(below, self._gathered(down + self._height + y, halves[:-1]), out=below)
        for strip, place, column in self._sides:
            self._overlap(inside, strip, slots[:, place::2], column)
        return raster

    def _gathered(self, y: int, halves: npt.NDArray[np.intp]) -> Raster:
        """Return row ``y`` of the px of all cells, (rows, pairs, pair width)."""
        px: Any = self._rows[y].reshape(-1).take(halves, mode="clip")
        cells: Raster = px.view(np.uint8).reshape(len(halves), halves.shape[1] // 2, 2 * self._rows.itemsize)
        return cells[:, :, : self._pair]

    def _overlap(self, inside: Raster, strip: Raster, slots: npt.NDArray[np.intp], column: int) -> None:
        """Darken a column of px of each pair, or of the pair beside it, by what reaches over its edge."""
        if column < 0:
            inside, slots = inside[:, :, :-1], slots[:, 1:]
        elif column >= self._pair:
            inside, slots = inside[:, :, 1:], slots[:, :-1]
        reaches_over: npt.NDArray[np.bool_] = strip.min(axis=1) < 255
        rows, pairs = np.nonzero(reaches_over[slots])
        if len(rows):
            at = (rows, slice(None), pairs, column % self._pair)
            inside[at] = np.minimum(inside[at], strip[slots[rows, pairs]])
