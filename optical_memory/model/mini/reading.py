"""Reading a page in one pass: encode, find the grid, ask the head for the character in every cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from optical_memory.errors import GridNotFoundError
from optical_memory.model.mini import fine, grid, readout
from optical_memory.model.mini.cells import Cells, Floats
from optical_memory.model.mini.encoder import TOKEN
from optical_memory.model.mini.head import ACROSS, DOWN, STEP_X, STEP_Y, lattice_size, nearest_points
from optical_memory.model.mini.ink import Ink, origin_of
from optical_memory.model.mini.network import MiniNetwork
from optical_memory.model.mini.sight import Codes, Sight
from optical_memory.renderers import base, visible

_CANDIDATES = 3
"""Code points named for a cell."""
_SPACE = 32
_MIDDLE = 0.3
"""Distance from the middle of a cell, as a share of its size, within which points count: as in training."""
_TRACE = 0.04
"""Ink below which a pixel is paper: less than one of the 16 grey levels."""
_TINT = 0.1
"""Ink of a coloured ground, at most: that of code is 0.07."""
_ASKED = 400
"""Cells by which a grid is placed to the px."""
_CLEARLY = 0.002
"""Doubt, nats a character, of which a grid must be rid by being moved."""
_INKED = 0.2
"""An image without any ink above this is empty."""
_VIEW = 256
"""Side of the part of a page by which its grid is found, px."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sheet:
    """A page of ``side`` px as read; ``drawn`` says whether the image is as a renderer drew it.

    ``coloured`` says whether it is in the colours in which Chromium draws a memory.

    ``cells`` are like a layout's, ``codes`` and ``probabilities`` (rows, columns, 3) best first; in cells that are not
    ``inked`` nothing stands.
    """

    side: int
    grid: Cells
    cells: npt.NDArray[np.uint32]
    codes: Codes
    probabilities: Floats
    inked: npt.NDArray[np.bool_]
    drawn: bool
    coloured: bool
    tokens: int


@torch.inference_mode()
def look(network: MiniNetwork, inks: Sequence[Ink]) -> tuple[Tensor, Tensor]:
    """Return vision tokens (B, h, w, width) and the head's slots (B, lattice points, slot) of pages of one size."""
    tokens = network.encoder(torch.from_numpy(np.stack(inks))[:, None].to(next(network.parameters())))[1]
    return tokens, network.head.slots(tokens)


@torch.inference_mode()
def read_slots(
    network: MiniNetwork, slots: Tensor, ink: Ink, cells: Cells | None = None, finer: fine.FineHead | None = None
) -> Sheet:
    """Read a page whose slots (lattice points, slot) are known, with the ``finer`` head where the page is fit for it.

    Errors: GridNotFoundError.
    """
    side = ink.shape[0]
    if not (ink > _INKED).any():
        if cells is None:
            raise GridNotFoundError("the image is empty: there is no grid to find")
    elif cells is None:
        cells = grid.find(ink, lambda: _sight(network, slots, ink))
        if cells.left or cells.top:
            cells = _surest(network, slots, ink, cells)
    assert cells is not None
    inked = ~inkless(ink, cells)
    found = np.full((*inked.shape, _CANDIDATES), _SPACE, np.int64)
    probabilities = np.zeros(found.shape)
    probabilities[:, :, 0] = 1.0
    chosen = cell_slots(slots, cells, side, inked)
    codes, logs = network.head.candidates(chosen, _CANDIDATES)
    origin = origin_of(ink)
    if finer is not None and origin.coloured and fine.fits(cells):
        fine.correct(finer, network.head, slots, cells, side, inked, (chosen, codes, logs))
    found[inked] = codes.cpu().numpy()
    probabilities[inked] = logs.double().exp().cpu().numpy()
    return Sheet(
        side=side,
        grid=cells,
        cells=_joined(network, chosen, inked, found),
        codes=found,
        probabilities=probabilities,
        inked=inked,
        drawn=origin.drawn,
        coloured=origin.coloured,
        tokens=(side // TOKEN) ** 2,
    )


def cell_points(cells: Cells, side: int) -> Tensor:
    """Return the lattice point (rows·columns,) nearest to the middle of each cell, in reading order."""
    x, y = (torch.from_numpy(places) for places in cells.centres())
    return nearest_points(x.repeat(cells.rows), y.repeat_interleave(cells.columns), side)


def cell_slots(slots: Tensor, cells: Cells, side: int, inked: npt.NDArray[np.bool_]) -> Tensor:
    """Return a slot (N, slot) for each inked cell in reading order: the mean over the points in the cell's middle."""
    x, y = cells.centres()
    across = _middles(x, STEP_X, lattice_size(side)[1], cells.width)  # (columns, kx)
    down = _middles(y, STEP_Y, lattice_size(side)[0], cells.height)  # (rows, ky)
    rows, columns = np.nonzero(inked)
    points = down[rows][:, :, None] * lattice_size(side)[1] + across[columns][:, None, :]  # (N, ky, kx)
    chosen = slots[torch.from_numpy(points).to(slots.device)]  # (N, ky, kx, slot)
    return chosen.mean((1, 2))


def _middles(centres: Floats, step: float, count: int, size: float) -> Codes:
    """Return (cells, k): the points of one axis in the middle of each cell, at least the nearest; some twice."""
    places = (np.arange(count) + 0.5) * step
    away = np.abs(places - centres[:, None])
    near = [np.flatnonzero(one <= max(_MIDDLE * size, one.min() + 1e-6)) for one in away]
    most = max(len(one) for one in near)
    return np.stack([np.resize(one, most) for one in near])


def inkless(ink: Ink, cells: Cells) -> npt.NDArray[np.bool_]:
    """Return which cells (rows, columns) hold no ink: nothing stands there, whatever the network makes of it.

    A cell all of one weak tint, but for a px at its left and right, is a blank on a coloured ground.
    """
    empty: npt.NDArray[np.bool_] = _extreme(_most, ink, cells, 1, 1) < _TRACE
    least = _extreme(_least, ink, cells, -1, 0)
    tinted = (least >= _TRACE) & (least < _TINT)
    if tinted.any():
        most = _extreme(_most, ink, cells, -1, 0)
        empty |= tinted & (most < _TINT) & (most - least < _TRACE)
    return empty


def _most(rows: Ink) -> Ink:
    found: Ink = rows.max(0, initial=0)
    return found


def _least(rows: Ink) -> Ink:
    found: Ink = rows.min(0, initial=1)
    return found


def _extreme(of: Callable[[Ink], Ink], ink: Ink, cells: Cells, across: int, down: int) -> Ink:
    """Return the most or the least ink (rows, columns) of each cell, taken wider at both ends by so many px."""
    x, y = cells.centres()
    high = _extremes(of, ink, y, cells.height, down)  # (rows, S)
    return _extremes(of, high.T, x, cells.width, across).T


def _extremes(of: Callable[[Ink], Ink], ink: Ink, centres: Floats, size: float, margin: int) -> Ink:
    """Return it over intervals of rows about the centres, ``margin`` px longer at both ends than ``size``."""
    starts = np.round(centres - size / 2).astype(int) - margin
    ends = np.maximum(np.round(centres + size / 2).astype(int) + margin, starts + 1)
    return np.stack([of(ink[max(0, start) : max(1, end)]) for start, end in zip(starts, ends, strict=True)])


def _surest(network: MiniNetwork, slots: Tensor, ink: Ink, cells: Cells) -> Cells:
    """Return the grid, or the one a px away across and down, on which some of its characters are read most surely."""
    inked = np.flatnonzero(~inkless(ink, cells))
    asked = np.zeros(cells.rows * cells.columns, np.bool_)
    asked[inked[:: max(1, len(inked) // _ASKED)]] = True

    def doubt(there: Cells) -> float:
        chosen = cell_slots(slots, there, ink.shape[0], asked.reshape(cells.rows, cells.columns))
        return -float(network.head.candidates(chosen, 1)[1].mean())

    for side in ("left", "top"):
        moved = min((replace(cells, **{side: getattr(cells, side) + move}) for move in (-1.0, 1.0)), key=doubt)
        cells = moved if doubt(moved) < doubt(cells) - _CLEARLY else cells
    return cells


def _sight(network: MiniNetwork, slots: Tensor, ink: Ink) -> Sight:
    """Return the characters under all lattice points of the part of the page with the most ink."""
    side = ink.shape[0]
    part = min(_VIEW, side)
    corners = [(top, left) for top in range(0, side - part + 1, 128) for left in range(0, side - part + 1, 128)]
    top, left = max(corners, key=lambda corner: float(ink[corner[0] :, corner[1] :][:part, :part].sum()))
    rows, columns = lattice_size(side)
    first_row, first_column = int(top / STEP_Y), int(left / STEP_X)
    high, wide = part // 16 * DOWN, part // 16 * ACROSS
    block = slots.view(rows, columns, -1)[first_row : first_row + high, first_column : first_column + wide]
    codes = readout.best(network.head, block.reshape(high * wide, -1))
    return Sight(codes=codes.view(high, wide).cpu().numpy(), left=float(left), top=float(top))


def _joined(network: MiniNetwork, slots: Tensor, inked: npt.NDArray[np.bool_], codes: Codes) -> npt.NDArray[np.uint32]:
    """Cells as in a layout: the likeliest code points, a wide character and its right half for two cells.

    ``slots`` (N, slot) are those of the inked cells, ``codes`` (rows, columns, 3) the candidates of all.
    """
    cells = codes[:, :, 0].astype(np.uint32)
    is_wide = visible.bmp_classes()[cells] == visible.WIDE
    left, right = cells[:, 0::2], cells[:, 1::2]
    wide_left, wide_right = is_wide[:, 0::2], is_wide[:, 1::2]
    pair = wide_left | wide_right
    both = wide_left & wide_right
    whole = np.where(wide_left, left, right)
    if both.any():
        numbers = inked.ravel().cumsum().reshape(inked.shape) - 1  # of the slots of inked cells
        halves = [slots[torch.from_numpy(numbers[:, half::2][both]).to(slots.device)] for half in (0, 1)]
        named = torch.from_numpy(np.concatenate([codes[:, half::2][both] for half in (0, 1)], 1))  # (n, 6)
        whole[both] = readout.agreed(network.head, halves, named.to(slots.device)).cpu().numpy()
    cells[:, 0::2] = np.where(pair, whole, left)
    cells[:, 1::2] = np.where(pair, np.uint32(base.WIDE), right)
    return cells


def certainty(sheet: Sheet) -> Floats:
    """Return how sure (rows, columns) each cell is to be right; the halves of a wide character share theirs."""
    sure = sheet.probabilities[:, :, 0].copy()
    halves = sheet.cells[:, 1::2] == base.WIDE
    named = sheet.cells[:, 0::2, None]
    left = (sheet.probabilities[:, 0::2] * (sheet.codes[:, 0::2] == named)).sum(-1)
    right = (sheet.probabilities[:, 1::2] * (sheet.codes[:, 1::2] == named)).sum(-1)
    both = (left + right) / 2
    sure[:, 0::2] = np.where(halves, both, sure[:, 0::2])
    sure[:, 1::2] = np.where(halves, both, sure[:, 1::2])
    return sure
