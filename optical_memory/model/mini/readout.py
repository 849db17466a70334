"""What the head says of lattice points beside its candidates: the best alone, and the chance of given characters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from optical_memory.model.mini.head import ReadoutHead

_PART = 512
"""Characters asked about together, which bounds the memory that it takes."""


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


def agreed(head: ReadoutHead, halves: Sequence[Tensor], codes: Tensor) -> Tensor:
    """Return the one (N,) of the code points (N, K) that slots of the same character, (N, slot) each, say together."""
    found = []
    for *slots, named in zip(*(torch.split(each, _PART) for each in (*halves, codes)), strict=True):
        high = named // 256
        logs = torch.zeros(named.shape, device=named.device)
        for each in slots:
            low_log = F.log_softmax(head.low_logits(each[:, None], high).float(), -1)  # (N, K, 256)
            logs += F.log_softmax(head.high(each).float(), -1).gather(1, high)
            logs += low_log.gather(2, (named % 256)[..., None])[..., 0]
        found.append(named.gather(1, logs.argmax(1, keepdim=True))[:, 0])
    return torch.cat(found)
