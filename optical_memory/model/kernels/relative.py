"""Attention with SAM's relative positions, without a table of scores.

The bias of a query for a key is ``rows[q, key's row] + columns[q, key's column]``. A block of keys is one row of the
map here, so that the first term is one number for each query, and the second a tile that stays in registers.

Shapes: N images, A heads, S = h*w places, C channels of a head.
"""

# Triton has no stubs, and its functions take pointers and constants, not Python values.
# mypy: disable-error-code="import-not-found,import-untyped,untyped-decorator"
# mypy: disable-error-code="no-untyped-def,no-untyped-call,no-any-return"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_LOG2E = 1.4426950408889634


@triton.jit
def _attend(
    q_at, k_at, v_at, rows_at, columns_at, out_at,
    stride_n, stride_a, stride_s,
    heads, places, height, scale, log2e,
    WIDTH: tl.constexpr, WIDE: tl.constexpr, C: tl.constexpr, QUERIES: tl.constexpr,
):  # fmt: skip
    """Take one block of queries of one head through all rows of keys."""
    image, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    query = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)  # (Q,)
    column, channel = tl.arange(0, WIDE), tl.arange(0, C)  # (W,), (C,)
    base = image.to(tl.int64) * stride_n + head * stride_a
    known, inside = query < places, column < WIDTH
    at = tl.program_id(1).to(tl.int64) * places + query  # (Q,)
    q = tl.load(q_at + base + query[:, None] * stride_s + channel[None, :], mask=known[:, None], other=0.0)  # (Q, C)
    both = known[:, None] & inside[None, :]
    across = tl.load(columns_at + at[:, None] * WIDTH + column[None, :], mask=both, other=0.0)  # (Q, W)
    across = tl.where(inside[None, :], across.to(tl.float32) * log2e, float("-inf"))  # (Q, W), in powers of two
    best = tl.full((QUERIES,), -1e30, tl.float32)
    total = tl.zeros((QUERIES,), tl.float32)
    mixed = tl.zeros((QUERIES, C), tl.float32)
    for row in range(height):
        place = row * WIDTH + column  # (W,)
        k = tl.load(
            k_at + base + place[None, :] * stride_s + channel[:, None], mask=inside[None, :], other=0.0
        )  # (C, W)
        down = tl.load(rows_at + at * height + row, mask=known, other=0.0).to(tl.float32) * log2e  # (Q,)
        scores = tl.dot(q, k) * scale + across  # (Q, W), without the row's term, which is one number for each query
        top = tl.maximum(best, tl.max(scores, 1) + down)  # (Q,)
        weight = tl.math.exp2(scores - (top - down)[:, None])  # (Q, W)
        keep = tl.math.exp2(best - top)  # (Q,)
        v = tl.load(
            v_at + base + place[:, None] * stride_s + channel[None, :], mask=inside[:, None], other=0.0
        )  # (W, C)
        mixed = tl.dot(weight.to(v.dtype), v, mixed * keep[:, None])  # (Q, C)
        total = total * keep + tl.sum(weight, 1)  # (Q,)
        best = top
    out = mixed / total[:, None]  # (Q, C)
    to = (image.to(tl.int64) * places + query) * heads + head  # (Q,)
    tl.store(out_at + to[:, None] * C + channel[None, :], out.to(out_at.dtype.element_ty), mask=known[:, None])


@torch.library.custom_op("optical_memory::relative_attention", mutates_args=())
def _relative_attention(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    images, heads, places, channels = q.shape
    height, width = rows.shape[-1], columns.shape[-1]
    if not q.stride() == k.stride() == v.stride() or q.stride(-1) != 1:
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    out = q.new_empty(images, places, heads, channels)
    queries = 64
    grid = (triton.cdiv(places, queries), images * heads)
    _attend[grid](
        q, k, v, rows.contiguous(), columns.contiguous(), out,
        q.stride(0), q.stride(1), q.stride(2),
        heads, places, height, channels**-0.5 * _LOG2E, _LOG2E,
        WIDTH=width, WIDE=max(16, triton.next_power_of_2(width)), C=channels, QUERIES=queries,
        num_warps=4, num_stages=3,
    )  # fmt: skip
    return out


@_relative_attention.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return q.new_empty(q.shape[0], q.shape[2], q.shape[1], q.shape[3])


def relative_attention(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Attend: (N, A, S, C) three times, (N, A, S, h) and (N, A, S, w) -> (N, A, S, C).

    C is a power of two of at least 16. The memory order of the result is (N, S, A, C). An operator of its own, so
    that a compiled layer takes it as it is.
    """
    return _relative_attention(q, k, v, rows, columns).transpose(1, 2)
