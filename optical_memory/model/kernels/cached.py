"""Attention of one new position in each sequence to all that its cache holds, the new position included.

Shapes: B sequences, H query heads, G key-value heads, C channels of a head, P parts that the cached positions of a
sequence are cut into, so that a single sequence keeps the whole device busy.
"""

# Triton has no stubs, and its functions take pointers and constants, not Python values.
# mypy: disable-error-code="import-not-found,import-untyped,untyped-decorator"
# mypy: disable-error-code="no-untyped-def,no-untyped-call,no-any-return"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

KEYS = 64
"""Keys taken at a time."""


@triton.jit
def _rotated(at, cos, sin, half_channel, HALF: tl.constexpr):
    """Return the two halves of a head's channels at ``at``, turned by the angles, rounded as stored."""
    first = tl.load(at + half_channel)  # (C/2,)
    second = tl.load(at + HALF + half_channel)  # (C/2,)
    one, two = first.to(tl.float32), second.to(tl.float32)
    return (one * cos - two * sin).to(first.dtype), (two * cos + one * sin).to(first.dtype)


@triton.jit
def _attend(
    q_at, k_at, v_at, keys_at, values_at, positions_at, cos_at, sin_at, out_at, best_at, total_at,
    q_row, k_row, v_row, cache_row, cache_head, scale,
    HEADS: tl.constexpr, GROUP: tl.constexpr, C: tl.constexpr, PARTS: tl.constexpr, KEYS: tl.constexpr,
    PDL: tl.constexpr,
):  # fmt: skip
    """One part of the cached positions of one head of one sequence; the part with the new position stores it."""
    HALF: tl.constexpr = C // 2
    if PDL:  # see single.py
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    row, head, part = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS, tl.program_id(1)
    position = tl.load(positions_at + row)
    half, channel, key = tl.arange(0, HALF), tl.arange(0, C), tl.arange(0, KEYS)
    cos, sin = tl.load(cos_at + position * HALF + half), tl.load(sin_at + position * HALF + half)  # (C/2,)
    group = head // GROUP
    q1, q2 = _rotated(q_at + row * q_row + head * C, cos, sin, half, HALF)  # (C/2,) each
    k1, k2 = _rotated(k_at + row * k_row + group * C, cos, sin, half, HALF)  # (C/2,) each
    v = tl.load(v_at + row * v_row + group * C + channel)  # (C,)
    one, two = q1.to(tl.float32) * scale, q2.to(tl.float32) * scale
    cache = row.to(tl.int64) * cache_row + group * cache_head
    length = tl.cdiv(tl.cdiv(position + 1, KEYS), PARTS) * KEYS
    start = part * length
    best, total = tl.full((), -1e30, tl.float32), tl.full((), 0.0, tl.float32)
    mixed = tl.zeros((C,), tl.float32)
    if (start <= position) & (position < start + length):
        to = cache + position * C
        if head % GROUP == 0:
            tl.store(keys_at + to + half, k1)
            tl.store(keys_at + to + HALF + half, k2)
            tl.store(values_at + to + channel, v)
        best = tl.sum(one * k1.to(tl.float32) + two * k2.to(tl.float32), 0)
        total, mixed = tl.full((), 1.0, tl.float32), v.to(tl.float32)
    for first in tl.range(start, tl.minimum(start + length, position), KEYS, num_stages=3):
        place = first + key  # (KEYS,)
        known = place < position  # the new position was taken above
        at = cache + place[:, None] * C  # (KEYS, 1)
        left = tl.load(keys_at + at + half[None, :], mask=known[:, None], other=0.0)  # (KEYS, C/2)
        right = tl.load(keys_at + at + HALF + half[None, :], mask=known[:, None], other=0.0)  # (KEYS, C/2)
        value = tl.load(values_at + at + channel[None, :], mask=known[:, None], other=0.0)  # (KEYS, C)
        scores = tl.sum(left.to(tl.float32) * one[None, :] + right.to(tl.float32) * two[None, :], 1)  # (KEYS,)
        scores = tl.where(known, scores, float("-inf"))
        top = tl.maximum(best, tl.max(scores, 0))
        weight = tl.math.exp2(scores - top)  # (KEYS,)
        keep = tl.math.exp2(best - top)
        mixed = mixed * keep + tl.sum(weight[:, None] * value.to(tl.float32), 0)  # (C,)
        total = total * keep + tl.sum(weight, 0)
        best = top
    at = tl.program_id(0) * PARTS + part
    if PARTS == 1:
        tl.store(out_at + at * C + channel, (mixed / total).to(out_at.dtype.element_ty))
    else:
        tl.store(out_at + at * C + channel, mixed)
        tl.store(best_at + at, best)
        tl.store(total_at + at, total)


def attend_parts(
    q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor, positions: Tensor, angles: tuple[Tensor, Tensor],
    out: Tensor, best: Tensor, total: Tensor,
) -> None:  # fmt: skip
    """Attend in parts with rotation: raw q (B, H, C), k and v (B, G, C), cache of one layer (B, G, S, C) twice.

    ``angles`` are cosine and sine of every position (S, C/2), float32. ``out`` (B, H, P, C), ``best`` and ``total``
    (B, H, P), float32, take the parts: not yet divided by the sum of their weights, largest scores in powers of two.
    """
    _launch(q, k, v, keys, values, positions, angles, out, best, total, parts=out.shape[2])


def attend(
    q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor, positions: Tensor, angles: tuple[Tensor, Tensor]
) -> Tensor:
    """Attend as :func:`attend_parts` does, in one part, for batches: -> (B, H, C)."""
    out = q.new_empty(q.shape)
    _launch(q, k, v, keys, values, positions, angles, out, out, out, parts=1)
    return out


def _launch(
    q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor, positions: Tensor, angles: tuple[Tensor, Tensor],
    out: Tensor, best: Tensor, total: Tensor, *, parts: int,
) -> None:  # fmt: skip
    batch, heads, channels = q.shape
    early = q.is_cuda and torch.cuda.get_device_capability(q.device) >= (9, 0)
    _attend[(batch * heads, parts)](
        q, k, v, keys, values, positions, *angles, out, best, total,
        q.stride(0), k.stride(0), v.stride(0), keys.stride(0), keys.stride(1), channels**-0.5 * 1.4426950408889634,
        HEADS=heads, GROUP=heads // k.shape[1], C=channels, PARTS=parts, KEYS=KEYS,
        PDL=early, num_warps=4, **({"launch_pdl": True} if early else {}),
    )  # fmt: skip
