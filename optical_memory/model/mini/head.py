"""The read-out head: vision tokens -> the character under any point of a fine lattice, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optical_memory.model.mini.encoder import PATCH

ACROSS, DOWN = 8, 4
"""Lattice points per patch: one each 2 px across and each 4 px down, so that a cell of 2.5 × 4 px holds one."""
STEP_X, STEP_Y = PATCH / ACROSS, PATCH / DOWN
"""Distance of lattice points, px."""

_NEGLIGIBLE = -7.0
"""Log-probability of a high byte below which its characters are not looked at."""
_PART = 512
"""Slots that a processor asks about together: what is computed for them stays in its cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadConfig:
    """Widths: ``hidden`` of the patch MLP, ``slot`` values per lattice point, ``low`` of the low-byte layer."""

    hidden: int = 640
    slot: int = 64
    low: int = 384


class Lattice(nn.Module):
    """Token -> its 16 patch codes -> a slot per lattice point: what stands there, in a few values."""

    def __init__(self, code: int, config: HeadConfig) -> None:
        super().__init__()
        self.code, self.slot = code, config.slot
        self.mix = nn.Linear(16 * code, 16 * code)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)
        self.hidden = nn.Linear(code, config.hidden)
        self.points = nn.Linear(config.hidden, ACROSS * DOWN * config.slot)

    def slots(self, tokens: Tensor, rows: Sequence[int] = range(DOWN)) -> Tensor:
        """Vision tokens (B, h, w, 16·code) -> slots (B, rows·columns, slot) of the lattice in reading order.

        ``rows`` are the rows of points of each patch that are wanted, where those of all cells are alike.
        """
        b, h, w, _ = tokens.shape
        t = tokens + self.mix(tokens)
        t = t.view(b, h, w, 2, 2, 2, 2, self.code).permute(0, 1, 3, 5, 2, 4, 6, 7)  # (B, h, y2, y1, w, x2, x1, code)
        t = t.reshape(b, 4 * h, 4 * w, self.code)  # (B, patch rows, patch columns, code)
        t = F.silu(self.hidden(t))
        if len(rows) == DOWN:
            return self._lattice(self.points(t))
        weight, bias = (
            torch.unflatten(each, 0, (DOWN, -1))[list(rows)].flatten(0, 1) for each in self.points.parameters()
        )
        return self._lattice(F.linear(t, weight, bias))

    def _lattice(self, x: Tensor) -> Tensor:
        b, h, w, _ = x.shape
        x = x.view(b, h, w, -1, ACROSS, self.slot).transpose(2, 3)  # (B, h, rows of a patch, w, ACROSS, slot)
        return x.reshape(b, -1, self.slot)


class ReadoutHead(Lattice):
    """A lattice of slots, and for each slot the high byte of its character, then the low byte given the high one.

    A code point of the Basic Multilingual Plane is two bytes; 256 + 256 outputs stand for 65,536 classes.
    """

    def __init__(self, code: int, patch_width: int, config: HeadConfig) -> None:
        super().__init__(code, config)
        self.early = nn.Linear(patch_width, ACROSS * DOWN * config.slot)
        self.high = nn.Linear(config.slot, 256)
        self.given = nn.Embedding(256, 2 * config.low)
        nn.init.normal_(self.given.weight, std=0.02)
        self.low_in = nn.Linear(config.slot, config.low)
        self.low = nn.Linear(config.low, 256)

    def early_slots(self, patches: Tensor) -> Tensor:
        """Patches (B, H, W, width), before the compressor -> slots; only for supervision while training."""
        return self._lattice(self.early(patches))

    def low_logits(self, slots: Tensor, high: Tensor) -> Tensor:
        """Logits (…, 256) of the low byte, given the high byte (…), which scales and shifts what the slot says."""
        scale, shift = self.given(high).chunk(2, -1)  # (…, low)
        logits: Tensor = self.low(F.silu(self.low_in(slots) * (1 + scale) + shift))
        return logits

    def candidates(self, slots: Tensor, count: int = 3) -> tuple[Tensor, Tensor]:
        """Return the ``count`` likeliest code points of each slot (N, slot), best first, and their log-probabilities.

        Searched among the two likeliest high bytes, the second one only where it is not negligible.
        """
        if slots.is_cuda:
            return self._candidates(slots, count, twice=True)
        parts = [self._candidates(part, count, twice=False) for part in torch.split(slots, _PART)]
        codes, best = (torch.cat(found) for found in zip(*parts, strict=True))
        return codes, best

    def _candidates(self, slots: Tensor, count: int, *, twice: bool) -> tuple[Tensor, Tensor]:
        """Do it for some slots; ``twice``: all second high bytes are looked at, so that nothing waits for a device."""
        high_log, highs = F.log_softmax(self.high(slots).float(), -1).topk(2, -1)  # (N, 2)
        best, codes = self._of_block(slots, highs[:, 0], high_log[:, 0], count)
        likely = high_log[:, 1] > _NEGLIGIBLE  # (N,)
        second = high_log[:, 1].masked_fill(~likely, -torch.inf)  # (N,)
        chosen = slice(None) if twice else likely.nonzero()[:, 0]
        more, others = self._of_block(slots[chosen], highs[chosen, 1], second[chosen], count)
        joint, order = torch.cat([best[chosen], more], -1).topk(count, -1)
        best[chosen], codes[chosen] = joint, torch.cat([codes[chosen], others], -1).gather(1, order)
        return codes, best

    def _of_block(self, slots: Tensor, high: Tensor, high_log: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and code points (N, count) of the likeliest characters with high bytes (N,)."""
        low_log, lows = F.log_softmax(self.low_logits(slots, high).float(), -1).topk(count, -1)  # (N, count)
        return high_log[:, None] + low_log, high[:, None] * 256 + lows


def lattice_size(side: int) -> tuple[int, int]:
    """Rows and columns of the lattice on a square page of ``side`` px."""
    return side // PATCH * DOWN, side // PATCH * ACROSS


def nearest_points(x: Tensor, y: Tensor, side: int) -> Tensor:
    """Index in reading order of the lattice point nearest to each place (px)."""
    rows, columns = lattice_size(side)
    row = torch.floor(y / STEP_Y).long().clamp(0, rows - 1)
    column = torch.floor(x / STEP_X).long().clamp(0, columns - 1)
    return row * columns + column
