"""Training batches: pages by recipe, and the character under each of some lattice points."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from optical_memory.model.mini.head import STEP_X, STEP_Y, lattice_size
from optical_memory.training import augment
from optical_memory.training.compose import Sheet, averaged, quantised, raster, tinted
from optical_memory.training.config import Recipe
from optical_memory.training.text import SPACE, Writer, with_blanks


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How a window lies on a canonical raster: source px per window px, and its corner in source px, each (x, y)."""

    scale: tuple[float, float]
    corner: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """``ink`` (B, 1, S, S), ``points`` (groups, M) lattice indices and ``codes`` (B, M), the code points there."""

    ink: Tensor
    points: Tensor
    codes: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Lattice points of a window, by lattice column and row (M,), and the cell each lies in, (M,) column and row."""

    columns: Tensor
    rows: Tensor
    cell_columns: Tensor
    cell_rows: Tensor


def near_centres(sheet: Sheet, view: View, side: int, count: int, device: torch.device) -> Asked:
    """Return ``count`` random points of the lattice that lie in the middle of a cell, where the answer is clear.

    The middle is 60 % of a cell's width and height, or what half a step of the lattice asks for.
    """
    across = _middles(lattice_size(side)[1], STEP_X, view.scale[0], view.corner[0], sheet.cell_width)
    down = _middles(lattice_size(side)[0], STEP_Y, view.scale[1], view.corner[1], sheet.cell_height)
    column, row = (middles[torch.randint(0, len(middles), (count,))] for middles in (across, down))
    points, cells = torch.stack([column[:, 0], row[:, 0]]), torch.stack([column[:, 1], row[:, 1]])
    places = torch.cat([points, cells]).to(device, non_blocking=True)
    return Asked(columns=places[0], rows=places[1], cell_columns=places[2], cell_rows=places[3])


def _middles(points: int, step: float, scale: float, corner: float, cell: float) -> Tensor:
    """Return (n, 2): the points of one axis in the middle of a cell, and the number of that cell."""
    place = ((torch.arange(points) + 0.5) * step * scale + corner) / cell  # in cells
    number = place.floor()
    reach = max(0.3, (step / 2 + 0.01) * scale / cell)
    good = (place - number - 0.5).abs() <= reach
    return torch.stack([torch.arange(points), number.long()], -1)[good]


def labels(codes: Tensor, asked: Asked) -> Tensor:
    """Return the code points (B, M) of pages (B, rows, columns) under the points asked; outside is a space."""
    _, rows, columns = codes.shape
    column, row = asked.cell_columns, asked.cell_rows
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    return codes[:, row.clamp(0, rows - 1), column.clamp(0, columns - 1)].masked_fill(~inside, SPACE)


def styled(sheet: Sheet, codes: Tensor) -> Tensor:
    """Return rasters of pages (B, rows, columns) whose fonts and colours change in runs; most are plain and black."""
    shape = codes.shape
    plain = torch.rand(shape, device=codes.device)
    fonts = torch.where(plain < 0.6, 0, torch.randint(0, sheet.fonts, shape, device=codes.device))
    colours = torch.rand(shape, device=codes.device) * 0.15 + 0.6  # ink of the labels' and links' colours
    colours = torch.where(plain < 0.85, 1.0, colours)
    starts = torch.rand(shape, device=codes.device) < 0.04
    starts[:, :, 0] = True
    last = torch.where(starts, torch.arange(shape[2], device=codes.device), 0).cummax(2).values
    last = last // 2 * 2  # a run begins at an even column
    return tinted(raster(sheet, fonts.gather(2, last), codes), colours.gather(2, last))


class PageMaker:
    """Draws batches. ``sheets`` by name, a ``writer`` for the text, windows of ``side`` px."""

    def __init__(self, sheets: dict[str, Sheet], writer: Writer, side: int, points: int, seed: int) -> None:
        self.sheets, self.writer, self.side, self.points = sheets, writer, side, points
        self.chance = random.Random(seed)

    def batch(self, recipes: tuple[Recipe, ...], pages: int, groups: int, progress: float) -> Batch:
        """Return a batch of ``groups`` groups of pages, each of one recipe, scale and place."""
        open_now = [recipe for recipe in recipes if progress >= recipe.after]
        chosen = self.chance.choices(open_now, [recipe.weight for recipe in open_now], k=groups)
        inks, points, codes = zip(*(self.group(recipe, pages // groups) for recipe in chosen), strict=True)
        return Batch(ink=torch.cat(inks)[:, None], points=torch.stack(points), codes=torch.cat(codes))

    def group(self, recipe: Recipe, pages: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return pages (B, S, S) of one recipe, lattice points (M,) and the code points (B, M) under them."""
        sheet = self.sheets[self.chance.choice(recipe.sheets)]
        width = self._width(recipe, sheet)
        stretch = [1 + recipe.stretch * self.chance.uniform(-1, 1) for _ in "xy"]
        scale = sheet.cell_width / width
        view = self._view((scale * stretch[0], scale * stretch[1]), sheet, recipe.between)
        shape = self._shape(sheet, view)
        codes = self._text(recipe.text, sheet, pages, shape)
        full = styled(sheet, codes) if recipe.styled else raster(sheet, self._fonts(sheet, pages), codes)
        ink = quantised(averaged(full, self.side, view.scale, view.corner))
        if recipe.rough and self.chance.random() < 0.6:
            draw = (self.chance.random(), self.chance.random(), self.chance.random(), self.chance.random())
            ink = augment.roughened(ink, recipe.rough * self.chance.random() ** 0.5, draw)
        asked = near_centres(sheet, view, self.side, self.points, codes.device)
        return ink, asked.rows * lattice_size(self.side)[1] + asked.columns, labels(codes, asked)

    def _fonts(self, sheet: Sheet, pages: int) -> Tensor:
        return torch.randint(0, sheet.fonts, (pages,), device=self.writer.device)

    def _width(self, recipe: Recipe, sheet: Sheet) -> float:
        """Width of a cell, px: never wider than the sheet's own."""
        if recipe.between:
            low, high = recipe.widths
            return self.chance.uniform(low, min(high, sheet.cell_width))
        fitting = [width for width in recipe.widths if width <= sheet.cell_width]
        return self.chance.choice(fitting or [sheet.cell_width])

    def _view(self, scale: tuple[float, float], sheet: Sheet, anywhere: bool) -> View:
        """Return where the window lies: at the page's corner, inside it as a large tier's tokens do, or a few px off.

        Tiers are only ever shifted by whole px of their own; with ``anywhere``, by parts of a px too.
        """
        kind = self.chance.random()
        if anywhere:
            x, y = (self.chance.uniform(-4, 64) for _ in "xy")
        elif kind < 0.5:
            x, y = 0.0, 0.0
        elif kind < 0.7:
            x, y = (float(self.chance.randrange(0, 512, 64)) for _ in "xy")
        else:
            x, y = (float(self.chance.randint(-4, 4)) for _ in "xy")
        return View(scale=scale, corner=(x * scale[0], y * scale[1]))

    def _shape(self, sheet: Sheet, view: View) -> tuple[int, int]:
        """Rows and even columns that fill the window; a full page leaves the same margin as a real one."""
        columns = (self.side * view.scale[0] + max(0.0, view.corner[0])) / sheet.cell_width
        rows = (self.side * view.scale[1] + max(0.0, view.corner[1])) / sheet.cell_height
        return max(1, int(rows)), max(1, int(columns) // 2) * 2

    def _text(self, kind: str, sheet: Sheet, pages: int, shape: tuple[int, int]) -> Tensor:
        cells = shape[0] * shape[1]
        write = {
            "latin": self.writer.mixture,
            "confusable": self.writer.confusable,
            "scripts": self.writer.script_mixture,
        }
        codes = write[kind](pages, cells)
        codes = torch.where(sheet.has(codes), codes, SPACE)
        return with_blanks(codes.view(pages, *shape))
