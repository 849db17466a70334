"""The programs of :mod:`.single`: each takes R rows of a weight, or all of a short vector.

Shapes are those of :mod:`.single`; a program reads at most BLOCK numbers of a row at a time.
"""

# Triton has no stubs, and its functions take pointers and constants, not Python values.
# mypy: disable-error-code="import-not-found,import-untyped,untyped-decorator"
# mypy: disable-error-code="no-untyped-def,no-untyped-call,no-any-return"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def rows_of(
    x_at, norm_at, weight_at, row, known, eps,
    D: tl.constexpr, BLOCK: tl.constexpr, R: tl.constexpr, WAIT: tl.constexpr,
):  # fmt: skip
    """Return the product of norm(x) with R rows of a weight (., D).

    The norm's factor is one number for all rows, so it is multiplied in at the end: the weights need not wait for it.
    """
    total = tl.zeros((R, BLOCK), tl.float32)
    squares = tl.zeros((BLOCK,), tl.float32)
    for first in tl.static_range(0, D, BLOCK):
        at = first + tl.arange(0, BLOCK)
        weight = tl.load(weight_at + row[:, None] * D + at[None, :], mask=known[:, None] & (at < D)[None, :], other=0.0)
        norm = tl.load(norm_at + at, mask=at < D, other=0.0)
        if WAIT and first == 0:
            tl.extra.cuda.gdc_wait()
        x = tl.load(x_at + at, mask=at < D, other=0.0)
        total += weight.to(tl.float32) * (x * norm.to(tl.float32))[None, :]
        squares += x * x
    return tl.sum(total, 1) * tl.math.rsqrt(tl.sum(squares, 0) / D + eps)  # (R,)


@triton.jit
def gated(
    x_at, norm_at, weight_at, inner_at, first, inner, eps,
    D: tl.constexpr, BLOCK: tl.constexpr, R: tl.constexpr, WAIT: tl.constexpr,
):  # fmt: skip
    """Store silu(gate) * up for R rows of an inner vector; the weight holds all gates, then all ups."""
    both = tl.arange(0, 2 * R)  # gate, up, gate, up, …
    row = first + both // 2 + (both % 2) * inner
    out = rows_of(x_at, norm_at, weight_at, row, first + both // 2 < inner, eps, D, BLOCK, 2 * R, WAIT)  # (2R,)
    gate, up = tl.split(tl.reshape(out, (R, 2)))  # (R,) each
    to = first + tl.arange(0, R)
    tl.store(inner_at + to, (gate / (1 + tl.exp(-gate)) * up).to(inner_at.dtype.element_ty), mask=to < inner)


@triton.jit
def project_kernel(
    x_at, norm_at, weight_at, out_at, best_at, place_at, rows, eps,
    D: tl.constexpr, BLOCK: tl.constexpr, R: tl.constexpr, BEST: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """norm, then rows of a weight (rows, D); where BEST, also the largest of this program's rows and its place."""
    if PDL:
        tl.extra.cuda.gdc_launch_dependents()
    row = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)  # (R,)
    out = rows_of(x_at, norm_at, weight_at, row, row < rows, eps, D, BLOCK, R, PDL)  # (R,)
    stored = out.to(out_at.dtype.element_ty)  # (R,)
    tl.store(out_at + row, stored, mask=row < rows)
    if BEST:
        values = tl.where(row < rows, stored.to(tl.float32), float("-inf"))  # (R,)
        best = tl.max(values, 0)
        tl.store(best_at + tl.program_id(0), best)
        tl.store(place_at + tl.program_id(0), tl.min(tl.where(values == best, row, rows - 1), 0).to(tl.int32))


@triton.jit
def begin_kernel(token_at, weight_at, x_at, D: tl.constexpr, BLOCK: tl.constexpr, PDL: tl.constexpr):
    """Put the token's embedding, a row of the weight (V, D), into x (D,)."""
    if PDL:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(weight_at + tl.load(token_at) * D + at, mask=at < D, other=0.0)
    tl.store(x_at + at, value.to(tl.float32), mask=at < D)


@triton.jit
def choose_kernel(
    best_at, place_at, token_at, position_at, count, last, BLOCK: tl.constexpr, PDL: tl.constexpr
):  # fmt: skip
    """Store the place of the largest of ``count`` values as the next token, and move on by one position."""
    if PDL:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    at = tl.arange(0, BLOCK)
    values = tl.load(best_at + at, mask=at < count, other=float("-inf"))
    best = tl.min(tl.where(values == tl.max(values, 0), at, count - 1), 0)
    tl.store(token_at, tl.load(place_at + best).to(tl.int64))
    tl.store(position_at, tl.minimum(tl.load(position_at) + 1, last))


@triton.jit
def join_kernel(
    parts_at, best_at, total_at, weight_at, x_at,
    D: tl.constexpr, H: tl.constexpr, C: tl.constexpr, P: tl.constexpr, BLOCK: tl.constexpr, R: tl.constexpr,
    PDL: tl.constexpr,
):  # fmt: skip
    """Put the parts of the attention together, multiply by the output weight (D, H*C), add to x (D,)."""
    if PDL:
        tl.extra.cuda.gdc_launch_dependents()
    row = tl.program_id(0) * R + tl.arange(0, R)  # (R,)
    out = tl.zeros((R, BLOCK), tl.float32)
    for first in tl.static_range(0, H * C, BLOCK):
        at = first + tl.arange(0, BLOCK)  # (BLOCK,) channels of all heads
        real = at < H * C
        head, channel = at // C, at % C
        weight = tl.load(
            weight_at + row[:, None] * (H * C) + at[None, :], mask=(row < D)[:, None] & real[None, :], other=0.0
        )  # (R, BLOCK)
        if PDL and first == 0:
            tl.extra.cuda.gdc_wait()
        best = tl.full((BLOCK,), -1e30, tl.float32)
        for part in tl.static_range(P):
            best = tl.maximum(best, tl.load(best_at + head * P + part, mask=real, other=0.0))
        mixed, total = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
        for part in tl.static_range(P):
            share = tl.math.exp2(tl.load(best_at + head * P + part, mask=real, other=0.0) - best)
            mixed += share * tl.load(parts_at + (head * P + part) * C + channel, mask=real, other=0.0)
            total += share * tl.load(total_at + head * P + part, mask=real, other=1.0)
        mixed = (mixed / total).to(weight.dtype).to(tl.float32)  # (BLOCK,)
        out += weight.to(tl.float32) * mixed[None, :]
    x = tl.load(x_at + row, mask=row < D, other=0.0)
    tl.store(x_at + row, x + tl.sum(out, 1), mask=row < D)


@triton.jit
def gate_kernel(
    x_at, norm_at, router_at, gate_up_at, scores_at, inner_at, eps, experts, inner,
    ROUTERS: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr, R: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """norm, then the router's scores (the first ROUTERS programs) and the inner product of the MLP for everyone."""
    if PDL:
        tl.extra.cuda.gdc_launch_dependents()
    program = tl.program_id(0)
    if program < ROUTERS:
        expert = program * R + tl.arange(0, R)
        scores = rows_of(x_at, norm_at, router_at, expert, expert < experts, eps, D, BLOCK, R, PDL)
        tl.store(scores_at + expert, scores, mask=expert < experts)
    else:
        gated(x_at, norm_at, gate_up_at, inner_at, (program - ROUTERS) * R, inner, eps, D, BLOCK, R, PDL)


@triton.jit
def experts_kernel(
    x_at, norm_at, scores_at, gate_up_at, chosen_at, share_at, inner_at, eps, experts, scale,
    M: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr, R: tl.constexpr, E: tl.constexpr, K: tl.constexpr,
    RENORMALISE: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """Choose the experts, and take some rows of the inner product of the one at this program's place among them."""
    if PDL:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    slot = tl.program_id(1)
    every = tl.arange(0, E)
    scores = tl.load(scores_at + every, mask=every < experts, other=float("-inf"))  # (E,)
    rivals = tl.load(scores_at + every, mask=every < experts, other=float("-inf"))  # (E,)
    ahead = (rivals[None, :] > scores[:, None]) | (
        (rivals[None, :] == scores[:, None]) & (every[None, :] < every[:, None])
    )
    place = tl.sum(ahead.to(tl.int32), 1)  # (E,) 0 for the best
    shares = tl.exp(scores - tl.max(scores, 0))  # (E,)
    whole = tl.sum(tl.where(place < K, shares, 0.0), 0) if RENORMALISE else tl.sum(shares, 0) / scale
    chosen = tl.sum(tl.where(place == slot, every, 0), 0)
    share = tl.sum(tl.where(place == slot, shares, 0.0), 0) / whole
    if tl.program_id(0) == 0:
        tl.store(chosen_at + slot, chosen)
        tl.store(share_at + slot, share)
    weight_at = gate_up_at + chosen.to(tl.int64) * (2 * M * D)
    gated(x_at, norm_at, weight_at, inner_at + slot * M, tl.program_id(0) * R, M, eps, D, BLOCK, R, False)


@triton.jit
def outer_kernel(
    x_at, chosen_at, share_at, routed_at, down_at, inner_at, shared_down_at,
    D: tl.constexpr, K: tl.constexpr, M: tl.constexpr, S: tl.constexpr, BLOCK: tl.constexpr, R: tl.constexpr,
    PDL: tl.constexpr,
):  # fmt: skip
    """Multiply back: the K chosen experts' inner vectors (K, M) and everyone's (S,), added to x (D,)."""
    if PDL:
        tl.extra.cuda.gdc_launch_dependents()
    row = tl.program_id(0) * R + tl.arange(0, R)
    known = (row < D)[:, None]
    total = tl.zeros((R, BLOCK), tl.float32)
    for first in tl.static_range(0, S, BLOCK):
        at = first + tl.arange(0, BLOCK)
        weight = tl.load(shared_down_at + row[:, None] * S + at[None, :], mask=known & (at < S)[None, :], other=0.0)
        if PDL and first == 0:
            tl.extra.cuda.gdc_wait()
        inner = tl.load(inner_at + at, mask=at < S, other=0.0)
        total += weight.to(tl.float32) * inner.to(tl.float32)[None, :]
    for slot in tl.static_range(K):
        expert, share = tl.load(chosen_at + slot).to(tl.int64), tl.load(share_at + slot)
        for first in tl.static_range(0, M, BLOCK):
            at = first + tl.arange(0, BLOCK)
            weight_at = down_at + expert * (D * M) + row[:, None] * M + at[None, :]
            weight = tl.load(weight_at, mask=known & (at < M)[None, :], other=0.0)
            inner = tl.load(routed_at + slot * M + at, mask=at < M, other=0.0)
            total += weight.to(tl.float32) * (share * inner.to(tl.float32))[None, :]
    x = tl.load(x_at + row, mask=row < D, other=0.0)
    tl.store(x_at + row, x + tl.sum(total, 1), mask=row < D)
