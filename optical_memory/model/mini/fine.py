"""A second head for the cells of Small and Tiny, which looks at all slots about a cell.

The read-out head names a character from the slots in the middle of its cell. At 5×8 and 6.25×10 px, on pages with bold
letters, grounds of code and coloured labels, that confuses few pairs often: ``0`` and ``B``, ``m`` and ``w``, ``.`` and
``,``, ``▹`` and ``-``. What tells them apart stands in the vision tokens still, in the slots about the middle. This
head takes 5 × 3 of them, where the middle lies between them, whether blanks are beside the cell (a filler stands where
nothing follows in its row), and what the read-out head says, which it corrects. It is asked where that is not sure, and
about all signs; characters of other blocks than its own stay as they were.
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
CHARACTERS = (
    "".join(map(chr, (*range(0x20, 0x7F), *range(0xA0, 0x100))))
    + "–—‘’‚“”„†‡•…‰′″‹›€™←↑→↓↔↳⇒⇐⇔↵⇥▹▮−∕∗√∞≈≠≤≥∈∑∏∂∆≡∀∃∅∧∨─│┌┐└┘├┤┬┴┼━┃═║╔╗╚╝╠╣╦╩╬╭╮╯╰╴╵╶╷"
    + "▀▄█▌▐░▒▓■□▪▫▲△▶▷►▼▽◀◁◆◇○●◦☐☑☒★☆⚠✓✔✗✘❌➜"
)
"""What it names: Latin, the signs of typography and of programs, and the marks of a page."""
REST = len(CHARACTERS)
"""Class of all other characters."""
BLOCKS = tuple(sorted({ord(one) >> 8 for one in CHARACTERS}))
"""High bytes of the characters that it may correct."""
ASKED = 3e-4
"""Doubt of the read-out head from which on this one is asked about letters and digits."""
CLEAR = 0.08
"""Mean doubt of the read-out head over a page up to which this one is asked: pages of signs alone have most."""
_ACROSS, _DOWN = 5, 3
_LEAST = -14.0
"""Log-probability below which it makes no difference what the read-out head says."""
_PART = 1024
"""Cells asked about together, which bounds the memory that it takes."""


PLACES = 6
"""Features that say where a cell's middle lies, how large it is, and where blanks are beside it."""


class FineHead(nn.Module):
    """Features of a cell and what the read-out head says -> log-probabilities of classes."""

    def __init__(self, slot: int = HeadConfig().slot, hidden: int = 768, dropped: float = 0.0) -> None:
        super().__init__()
        self.dropped = nn.Dropout(dropped)
        self.around = nn.Linear(_ACROSS * _DOWN * slot + PLACES, hidden)
        self.named = nn.Linear(hidden, REST + 1)
        self.share = nn.Parameter(torch.full((1,), 0.7))
        nn.init.zeros_(self.named.weight)
        nn.init.zeros_(self.named.bias)

    def forward(self, around: Tensor, said: Tensor) -> Tensor:
        """Features (N, features) and the read-out head's log-probabilities (N, classes) -> corrected ones."""
        corrected = self.named(self.dropped(F.silu(self.around(around)))) + self.share * said.clamp(min=_LEAST)
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


@cache
def class_of() -> Tensor:
    """Return the class of each code point of the Basic Multilingual Plane (0x10000,)."""
    found = torch.full((0x10000,), REST)
    found[[ord(one) for one in CHARACTERS]] = torch.arange(REST)
    return found


def features(
    slots: Tensor, cells: Cells, side: int, inked: npt.NDArray[np.bool_], chosen: npt.NDArray[np.bool_]
) -> Tensor:
    """Return for each chosen cell (rows, columns) the slots about its middle, and where that lies (N, features).

    ``slots`` (lattice points, slot) are those of the page of ``side`` px, whose ``inked`` cells are no blanks.
    """
    x, y = cells.centres()
    rows, columns = lattice_size(side)
    across, right = _about(x / STEP_X, columns, _ACROSS)
    down, below = _about(y / STEP_Y, rows, _DOWN)
    row, column = np.nonzero(chosen)
    points = down[row][:, :, None] * columns + across[column][:, None, :]  # (N, _DOWN, _ACROSS)
    size = np.full(len(row), (cells.width - SIZES[0][0]) / (SIZES[1][0] - SIZES[0][0]))
    blanks = [each[row, column] for each in _blanks(inked)]
    places = torch.from_numpy(np.stack([below[row], right[column], size, *blanks], 1))
    around = slots[torch.from_numpy(points).to(slots.device)].flatten(1)  # (N, points · slot)
    return torch.cat([around.float(), places.to(slots.device, torch.float32)], 1)


def _blanks(inked: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], ...]:
    """Return where (rows, columns) a blank is at a cell's left, at its right, and nothing else in its row behind it."""
    beside = np.pad(inked, ((0, 0), (1, 1)))
    behind = np.maximum.accumulate(beside[:, :1:-1], 1)[:, ::-1]
    return ~beside[:, :-2], ~beside[:, 2:], ~behind


def _about(places: Floats, count: int, wide: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the ``wide`` lattice points (cells, wide) about places along an axis, and how far each is off a point."""
    nearest = np.floor(places).astype(np.int64)
    found = np.clip(nearest[:, None] + np.arange(wide) - wide // 2, 0, count - 1)
    return found, places - nearest - 0.5


def said(head: ReadoutHead, middles: Tensor) -> Tensor:
    """Return what the read-out head says of slots (N, slot) of cells' middles: log-probabilities (N, classes)."""
    high = F.log_softmax(head.high(middles).float(), -1)
    logs = high.new_empty((len(middles), REST + 1))
    for block in BLOCKS:
        given = torch.full((len(middles),), block, device=middles.device)
        low = F.log_softmax(head.low_logits(middles, given).float(), -1) + high[:, block : block + 1]
        classes, lows = _of_block(block)
        logs[:, classes] = low[:, lows]
    logs[:, REST] = torch.log1p(-logs[:, :REST].exp().sum(1).clamp(max=1 - 1e-7))
    return logs


@cache
def _of_block(block: int) -> tuple[list[int], list[int]]:
    """Return the classes whose characters have a high byte, and their low bytes."""
    found = [(number, ord(one) & 255) for number, one in enumerate(CHARACTERS) if ord(one) >> 8 == block]
    return [number for number, _ in found], [low for _, low in found]


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
    cells' middles, and code points and log-probabilities (N, K) of their candidates. A cell keeps its character where
    the read-out head names one of another block, or this head finds one likelier than any of its classes; then the
    character is as sure as the less sure head is of it.
    """
    middles, codes, logs = found
    sure = logs[:, 0].exp()
    if not len(sure) or float(1 - sure.mean()) > CLEAR:
        return
    is_unsure = (sure < 1 - ASKED) | ~_is_letter()[codes[:, 0].cpu()].to(codes.device)
    unsure = is_unsure.nonzero()[:, 0]
    chosen = inked.copy()
    chosen[inked] = is_unsure.cpu().numpy()
    highs = torch.tensor(BLOCKS, device=codes.device)
    named = torch.tensor([ord(one) for one in CHARACTERS], device=codes.device)
    around = torch.split(features(slots, cells, side, inked, chosen), _PART)
    for part, near in zip(torch.split(unsure, _PART), around, strict=True):
        all_logs = fine(near, said(head, middles[part]))  # (n, classes)
        best, classes = all_logs[:, :REST].topk(codes.shape[1], -1)  # (n, K)
        is_own = torch.isin(codes[part, 0] >> 8, highs)
        is_rest = all_logs.argmax(1) == REST
        _hold(logs, part[is_own & is_rest], all_logs[is_own & is_rest], codes)
        is_known = ~is_rest & is_own
        codes[part[is_known]], logs[part[is_known]] = named[classes[is_known]], best[is_known]


def _hold(logs: Tensor, cells: Tensor, all_logs: Tensor, codes: Tensor) -> None:
    """Let the characters of some cells be as sure at most as this head is of them, or of none of its classes."""
    of_them = all_logs.gather(1, class_of().to(codes.device)[codes[cells, :1]])[:, 0]
    logs[cells, 0] = torch.minimum(logs[cells, 0], of_them)


@cache
def _is_letter() -> Tensor:
    """Return which code points of the Basic Multilingual Plane are letters and digits."""
    return torch.tensor([chr(code).isalnum() for code in range(0x10000)])
