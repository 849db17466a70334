"""A second head for the cells of Small and Tiny, which looks at all slots about a cell.

The read-out head names a character from the slots in the middle of its cell. At 5×8 and 6.25×10 px, on pages with bold
letters, grounds of code and coloured labels, that confuses few pairs often: ``0`` and ``B``, ``m`` and ``w``, ``.`` and
``,``. What tells them apart stands in the vision tokens still, in the slots about the middle. This head takes
5 × 3 of them, where the middle lies between them, and what the read-out head says, which it corrects. It is asked where
that is not sure; characters beyond two blocks of code points stay as they were.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optical_memory.model.mini import weights
from optical_memory.model.mini.cells import Cells, Floats
from optical_memory.model.mini.head import STEP_X, STEP_Y, HeadConfig, ReadoutHead, lattice_size

SIZES = ((5.0, 8.0), (6.25, 10.0))
"""Cells, px, of the pages that it was trained on: those of the mini's grid at Tiny and Small."""
BLOCKS = (0x00, 0x20)
"""High bytes of the characters that it names: Latin, and the signs of typography."""
REST = 256 * len(BLOCKS)
"""Class of all other characters."""
ASKED = 3e-4
"""Doubt of the read-out head from which on this one is asked."""
CLEAR = 0.05
"""Mean doubt of the read-out head over a page up to which it is of the kind that this one was trained on."""
BOTH = "w"
"""Characters that both heads must be sure of: this one names them in place of another (``m``) that the other sees."""
_ACROSS, _DOWN = 5, 3
_LEAST = -14.0
"""Log-probability below which it makes no difference what the read-out head says."""
_PART = 1024
"""Cells asked about together, which bounds the memory that it takes."""


class FineHead(nn.Module):
    """Slots about a cell, where its middle lies, and what the read-out head says -> log-probabilities of classes."""

    def __init__(self, slot: int = HeadConfig().slot, hidden: int = 320) -> None:
        super().__init__()
        self.around = nn.Linear(_ACROSS * _DOWN * slot + 3, hidden)
        self.named = nn.Linear(hidden, REST + 1)
        self.share = nn.Parameter(torch.full((1,), 0.7))
        nn.init.zeros_(self.named.weight)
        nn.init.zeros_(self.named.bias)

    def forward(self, around: Tensor, said: Tensor) -> Tensor:
        """Features (N, features) and the read-out head's log-probabilities (N, classes) -> corrected ones."""
        corrected = self.named(F.silu(self.around(around))) + self.share * said.clamp(min=_LEAST)
        return F.log_softmax(corrected, -1)


@cache
def load(folder: Path, device: torch.device) -> FineHead:
    """Load the bundled weights, once per process and device; they compute in float32. Errors: CheckpointError."""
    with torch.random.fork_rng(devices=()):
        head = FineHead()
    weights.load_int8(head, folder, stem="fine")
    return head.to(device).eval().requires_grad_(False)


def fits(cells: Cells) -> bool:
    """Return whether a grid is one that the head was trained on: Tiny's or Small's, from the page's corner."""
    return (cells.width, cells.height) in SIZES and not cells.left and not cells.top


def features(slots: Tensor, cells: Cells, side: int, chosen: npt.NDArray[np.bool_]) -> Tensor:
    """Return for each chosen cell (rows, columns) the slots about its middle, and where that lies (N, features).

    ``slots`` (lattice points, slot) are those of the page of ``side`` px.
    """
    x, y = cells.centres()
    rows, columns = lattice_size(side)
    across, right = _about(x / STEP_X, columns, _ACROSS)
    down, below = _about(y / STEP_Y, rows, _DOWN)
    row, column = np.nonzero(chosen)
    points = down[row][:, :, None] * columns + across[column][:, None, :]  # (N, _DOWN, _ACROSS)
    size = np.full(len(row), (cells.width - SIZES[0][0]) / (SIZES[1][0] - SIZES[0][0]))
    places = torch.from_numpy(np.stack([below[row], right[column], size], 1))
    around = slots[torch.from_numpy(points).to(slots.device)].flatten(1)  # (N, points · slot)
    return torch.cat([around.float(), places.to(slots.device, torch.float32)], 1)


def _about(places: Floats, count: int, wide: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the ``wide`` lattice points (cells, wide) about places along an axis, and how far each is off a point."""
    nearest = np.floor(places).astype(np.int64)
    found = np.clip(nearest[:, None] + np.arange(wide) - wide // 2, 0, count - 1)
    return found, places - nearest - 0.5


def said(head: ReadoutHead, middles: Tensor) -> Tensor:
    """Return what the read-out head says of slots (N, slot) of cells' middles: log-probabilities (N, classes)."""
    high = F.log_softmax(head.high(middles).float(), -1)
    logs = []
    for block in BLOCKS:
        given = torch.full((len(middles),), block, device=middles.device)
        logs.append(F.log_softmax(head.low_logits(middles, given).float(), -1) + high[:, block : block + 1])
    rest = torch.log1p(-high[:, BLOCKS].exp().sum(1, keepdim=True).clamp(max=1 - 1e-7))
    return torch.cat([*logs, rest], 1)


@torch.inference_mode()
def correct(
    fine: FineHead,
    head: ReadoutHead,
    slots: Tensor,
    cells: Cells,
    side: int,
    inked: npt.NDArray[np.bool_],
    found: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Correct in place what was found of the inked cells (rows, columns) where the read-out head is not sure.

    A page of which it is not sure as a whole, as one in several scripts, stays as it was.

    ``slots`` (lattice points, slot) are those of the page of ``side`` px. ``found`` are the slots (N, slot) of the
    cells' middles, and code points and log-probabilities (N, K) of their candidates. A cell stays as it was where the
    read-out head names a character of another block, or this head finds one likelier than any of its classes.
    """
    middles, codes, logs = found
    sure = logs[:, 0].exp()
    if not len(sure) or float(1 - sure.mean()) > CLEAR:
        return
    is_unsure = sure < 1 - ASKED
    unsure = is_unsure.nonzero()[:, 0]
    chosen = inked.copy()
    chosen[inked] = is_unsure.cpu().numpy()
    highs, held = (torch.tensor(each, device=codes.device) for each in (BLOCKS, [ord(one) for one in BOTH]))
    around = torch.split(features(slots, cells, side, chosen), _PART)
    for part, near in zip(torch.split(unsure, _PART), around, strict=True):
        first = said(head, middles[part])  # (n, classes)
        all_logs = fine(near, first)
        best, classes = all_logs[:, :REST].topk(codes.shape[1], -1)  # (n, K)
        is_held = torch.isin(classes[:, 0], held)
        best[is_held, 0] = torch.minimum(best[:, 0], first.gather(1, classes[:, :1])[:, 0])[is_held]
        is_known = (all_logs.argmax(1) != REST) & torch.isin(codes[part, 0] >> 8, highs)
        named = highs[classes // 256] * 256 + classes % 256
        codes[part[is_known]], logs[part[is_known]] = named[is_known], best[is_known]
