"""What the head says of lattice points beside its candidates: the best alone, and the chance of given characters."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from optical_memory.model.mini.head import ReadoutHead


def best(head: ReadoutHead, slots: Tensor) -> Tensor:
    """Return the likeliest code point (N,) of slots (N, slot): the best low byte of the best high byte."""
    high = head.high(slots).argmax(-1)
    codes: Tensor = high * 256 + head.low_logits(slots, high).argmax(-1)
    return codes


def likelihoods(head: ReadoutHead, slots: Tensor, codes: Tensor) -> Tensor:
    """Return the log-probabilities (N, K) of ``codes`` (K,) under each of slots (N, slot)."""
    high_log = F.log_softmax(head.high(slots).float(), -1)  # (N, 256)
    out = torch.empty(len(slots), len(codes), device=slots.device)
    for high in sorted(set((codes // 256).tolist())):
        wanted = (codes // 256 == high).nonzero()[:, 0]
        given = torch.full((len(slots),), high, device=slots.device)
        low_log = F.log_softmax(head.low_logits(slots, given).float(), -1)  # (N, 256)
        out[:, wanted] = low_log[:, codes[wanted] % 256] + high_log[:, high : high + 1]
    return out
