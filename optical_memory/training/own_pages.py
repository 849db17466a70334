"""Pages as Chromium draws a memory: runs of code on its ground, bold and italic letters, coloured labels and links."""

from __future__ import annotations

import torch
from torch import Tensor

from optical_memory.model.mini.head import lattice_size
from optical_memory.training import augment
from optical_memory.training.compose import Sheet, averaged, quantised, raster, tinted
from optical_memory.training.config import Recipe
from optical_memory.training.pages import PageMaker, labels, near_centres
from optical_memory.training.text import with_blanks

TEXT = "conversation"
"""The kind of text of recipes that are drawn like this."""
_CODE = 3
"""Number of the style of code among those of a browser's sheet."""


class OwnPages(PageMaker):
    """Draws recipes of the kind of text ``TEXT`` as Chromium's pages of conversations, all others as before."""

    def group(self, recipe: Recipe, pages: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return pages (B, S, S) of one recipe, lattice points (M,) and the code points (B, M) under them."""
        if recipe.text != TEXT:
            return super().group(recipe, pages)
        sheet = self.sheets[self.chance.choice(recipe.sheets)]
        scale = sheet.cell_width / self._width(recipe, sheet)
        view = self._view((scale, scale), sheet, False)
        shape = self._shape(sheet, view)
        codes = self._conversation(sheet, pages, shape)
        plain, coloured = styled(sheet, codes)
        kind = self.chance.random()
        ink = averaged(plain if kind < 0.4 else coloured, self.side, view.scale, view.corner)
        # Colours are put on grey levels, so most coloured pages have more levels than grey ones.
        ink = quantised(ink) if kind < 0.55 else (ink * 255).round() / 255
        if recipe.rough and self.chance.random() < 0.5:
            draw = (self.chance.random(), self.chance.random(), self.chance.random(), self.chance.random())
            ink = augment.roughened(ink, recipe.rough * self.chance.random() ** 0.5, draw)
        asked = near_centres(sheet, view, self.side, self.points, codes.device)
        return ink, asked.rows * lattice_size(self.side)[1] + asked.columns, labels(codes, asked)

    def _conversation(self, sheet: Sheet, pages: int, shape: tuple[int, int]) -> Tensor:
        codes = self.writer.conversation(pages, shape[0] * shape[1], self.chance.choice((6, 8, 12)))
        return with_blanks(torch.where(sheet.has(codes), codes, 32).view(pages, *shape))


def styled(sheet: Sheet, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Return rasters of pages (B, rows, columns), black and coloured: one page in three is code for the most part."""
    shape, device = codes.shape, codes.device
    common = torch.where(torch.rand(shape[0], 1, 1, device=device) < 0.3, _CODE, 0)
    any_font = torch.randint(0, sheet.fonts, shape, device=device)
    fonts = torch.where(torch.rand(shape, device=device) < 0.8, common, any_font)
    plain = raster(sheet, _in_runs(fonts, 0.03), codes)
    colours = torch.rand(shape, device=device) * 0.12 + 0.63  # ink of the labels' and links' colours
    colours = torch.where(torch.rand(shape, device=device) < 0.85, 1.0, colours)
    return plain, tinted(plain, _in_runs(colours, 0.04))


def _in_runs(values: Tensor, rate: float) -> Tensor:
    """Return values (B, rows, columns) that stay the same until a new run begins, at an even column."""
    starts = torch.rand(values.shape, device=values.device) < rate
    starts[:, :, 0] = True
    last = torch.where(starts, torch.arange(values.shape[2], device=values.device), 0).cummax(2).values // 2 * 2
    return values.gather(2, last)
