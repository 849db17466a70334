"""Pages of both renderers, composed where the training runs, and what the mini's head holds under their cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from optical_memory.model.mini.head import STEP_X, STEP_Y, lattice_size
from optical_memory.model.mini.network import MiniNetwork
from optical_memory.training.compose import Sheet, averaged, quantised, raster
from optical_memory.training.data import Arrays, pack
from optical_memory.training.language.layout import GRID
from optical_memory.training.pages import styled

SHEETS = ("dense-12.5x20", "chromium-12.5x20")
SIDES = (512, 640, 1024)
"""Tiers of a page, px: Tiny, Small and Base."""
_MIDDLE = 0.3


def write_sheets(folder: Path) -> None:
    """Draw the letters of both renderers at the mini's cell and keep them. Needs Chromium."""
    from optical_memory.training.browser import latin_sheet
    from optical_memory.training.glyphs import latin_sheet as dense_sheet

    arrays: Arrays = {**dense_sheet(12.5, 20), **latin_sheet(12.5, 20)}
    pack(folder / "sheets.npz", arrays)


class Pictures:
    """Draws pages and looks at them with the mini's encoder and head, which are not trained here."""

    def __init__(self, network: MiniNetwork, sheets: dict[str, Sheet], device: torch.device) -> None:
        self.network, self.sheets, self.device = network, sheets, device
        self._points = {side: points(side).to(device) for side in (*SIDES, 1280)}

    @torch.no_grad()
    def slots(self, codes: Tensor, sheet: str, side: int, *, styles: bool = False) -> Tensor:
        """Slots (P, rows, columns, slot) of pages of code points (P, cells) as a renderer draws them at a tier."""
        return self.seen(self.ink(codes, sheet, side, styles=styles), side)

    def ink(self, codes: Tensor, sheet: str, side: int, *, styles: bool = False) -> Tensor:
        """Ink (P, side, side), 0 to 1, of pages."""
        letters = self.sheets[sheet]
        cells = codes.long().view(-1, GRID.rows, GRID.columns)
        plain = torch.zeros(len(cells), dtype=torch.long, device=self.device)
        full = styled(letters, cells) if styles else raster(letters, plain, cells)
        scale = GRID.width / side
        ink: Tensor = quantised(averaged(full, side, (scale, scale), (0.0, 0.0)))
        return ink

    @torch.no_grad()
    def seen(self, ink: Tensor, side: int) -> Tensor:
        """Slots (P, rows, columns, slot) of ink (P, side, side)."""
        kind = next(self.network.parameters()).dtype
        slots = self.network(ink[:, None].to(kind))  # (P, lattice points, slot)
        chosen = slots[:, self._points[side]]  # (P, cells, n, slot)
        cells: Tensor = chosen.mean(2).view(len(ink), GRID.rows, GRID.columns, -1)
        return cells


def points(side: int) -> Tensor:
    """Lattice points (cells, n) in the middle of each cell of the mini's page at a tier, as the reader takes them."""
    rows, columns = lattice_size(side)
    scale = side / GRID.width
    across = _middles(GRID.columns, GRID.cell_width * scale, STEP_X, columns)
    down = _middles(GRID.rows, GRID.cell_height * scale, STEP_Y, rows)
    index = down[:, None, :, None] * columns + across[None, :, None, :]  # (rows, columns, ky, kx)
    return torch.from_numpy(index.reshape(GRID.rows * GRID.columns, -1))


def _middles(
    count: int, size: float, step: float, points_in_all: int
) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    centres = (np.arange(count) + 0.5) * size
    away = np.abs((np.arange(points_in_all) + 0.5) * step - centres[:, None])
    near = [np.flatnonzero(one <= max(_MIDDLE * size, one.min() + 1e-6)) for one in away]
    most = max(len(one) for one in near)
    return np.stack([np.resize(one, most) for one in near])
