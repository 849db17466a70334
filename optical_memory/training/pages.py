"""Training batches: pages by recipe, and the character under each of some lattice points."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from optical_memory.model.mini.head import ACROSS, STEP_X, STEP_Y, lattice_size
from optical_memory.training import augment
from optical_memory.training.compose import Sheet, averaged, quantised, raster
from optical_memory.training.config import Recipe
from optical_memory.training.text import SPACE, Writer, with_blanks

IGNORED = -100
"""Label of a point too near a cell's border to say which character it belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How a window lies on a canonical raster: source px per window px, and its corner in source px, each (x, y)."""

    scale: tuple[float, float]
    corner: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """``ink`` (B, 1, S, S), ``points`` (M,) lattice indices and ``codes`` (B, M) code points or IGNORED."""

    ink: Tensor
    points: Tensor
    codes: Tensor


def labels(codes: Tensor, sheet: Sheet, view: View, points: Tensor, side: int) -> Tensor:
    """Code points (B, M) under lattice points of a window on pages (B, rows, columns); outside is a space."""
    _, rows, columns = codes.shape
    per_row = side // 16 * ACROSS
    x = ((points % per_row + 0.5) * STEP_X * view.scale[0] + view.corner[0]) / sheet.cell_width  # in cells
    y = ((points // per_row + 0.5) * STEP_Y * view.scale[1] + view.corner[1]) / sheet.cell_height
    column, row = x.floor(), y.floor()
    cell_width, cell_height = sheet.cell_width / view.scale[0], sheet.cell_height / view.scale[1]
    near = ((x - column - 0.5).abs() <= max(0.3, 1.01 / cell_width)) & (
        (y - row - 0.5).abs() <= max(0.3, 2.01 / cell_height)
    )
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    found = codes[:, row.clamp(0, rows - 1).long(), column.clamp(0, columns - 1).long()]
    return found.masked_fill(~inside, SPACE).masked_fill(~near, IGNORED)


class PageMaker:
    """Draws batches. ``sheets`` by name, a ``writer`` for the text, windows of ``side`` px."""

    def __init__(self, sheets: dict[str, Sheet], writer: Writer, side: int, points: int, seed: int) -> None:
        self.sheets, self.writer, self.side, self.points = sheets, writer, side, points
        self.chance = random.Random(seed)

    def batch(self, recipes: tuple[Recipe, ...], pages: int, groups: int, progress: float) -> Batch:
        """Return a batch of ``groups`` groups of pages, each of one recipe, scale and place."""
        open_now = [recipe for recipe in recipes if progress >= recipe.after]
        rows, columns = lattice_size(self.side)
        points = torch.randperm(rows * columns, device=self.writer.device)[: self.points]
        inks, codes = [], []
        for recipe in self.chance.choices(open_now, [recipe.weight for recipe in open_now], k=groups):
            ink, found = self.group(recipe, pages // groups, points)
            inks.append(ink)
            codes.append(found)
        return Batch(ink=torch.cat(inks)[:, None], points=points, codes=torch.cat(codes))

    def group(self, recipe: Recipe, pages: int, points: Tensor) -> tuple[Tensor, Tensor]:
        """Pages (B, S, S) of one recipe, and the code points (B, M) under the given lattice points."""
        sheet = self.sheets[self.chance.choice(recipe.sheets)]
        width = self._width(recipe, sheet)
        stretch = [1 + recipe.stretch * self.chance.uniform(-1, 1) for _ in "xy"]
        scale = sheet.cell_width / width
        view = self._view((scale * stretch[0], scale * stretch[1]), sheet, recipe.between)
        shape = self._shape(sheet, view)
        codes = self._text(recipe.text, sheet, pages, shape)
        fonts = torch.randint(0, sheet.fonts, (pages,), device=codes.device)
        ink = quantised(averaged(raster(sheet, fonts, codes), self.side, view.scale, view.corner))
        if recipe.rough and self.chance.random() < 0.6:
            draw = (self.chance.random(), self.chance.random(), self.chance.random(), self.chance.random())
            ink = augment.roughened(ink, recipe.rough * self.chance.random() ** 0.5, draw)
        return ink, labels(codes, sheet, view, points, self.side)

    def _width(self, recipe: Recipe, sheet: Sheet) -> float:
        """Width of a cell, px: never wider than the sheet's own."""
        if recipe.between:
            low, high = recipe.widths
            return self.chance.uniform(low, min(high, sheet.cell_width))
        fitting = [width for width in recipe.widths if width <= sheet.cell_width]
        return self.chance.choice(fitting or [sheet.cell_width])

    def _view(self, scale: tuple[float, float], sheet: Sheet, anywhere: bool) -> View:
        """Half of the windows start at the page's corner, a quarter a few px off it, a quarter inside the page.

        Tiers are only ever shifted by whole px of their own; with ``anywhere``, by parts of a px too.
        """
        kind = self.chance.random()
        if kind < 0.5 and not anywhere:
            return View(scale=scale, corner=(0.0, 0.0))
        low, high = (-4, 4) if kind < 0.75 else (0, 127)
        x, y = self.chance.randint(low, high), self.chance.randint(low, high)
        part = (self.chance.random(), self.chance.random()) if anywhere else (0.0, 0.0)
        return View(scale=scale, corner=((x + part[0]) * scale[0], (y + part[1]) * scale[1]))

    def _shape(self, sheet: Sheet, view: View) -> tuple[int, int]:
        """Rows and even columns that fill the window; a full page leaves the same margin as a real one."""
        columns = (self.side * view.scale[0] + max(0.0, view.corner[0])) / sheet.cell_width
        rows = (self.side * view.scale[1] + max(0.0, view.corner[1])) / sheet.cell_height
        return max(1, int(rows)), max(1, int(columns) // 2) * 2

    def _text(self, kind: str, sheet: Sheet, pages: int, shape: tuple[int, int]) -> Tensor:
        cells = shape[0] * shape[1]
        codes = self.writer.mixture(pages, cells) if kind == "latin" else self.writer.script_mixture(pages, cells)
        codes = torch.where(sheet.has(codes), codes, SPACE)
        return with_blanks(codes.view(pages, *shape))
