"""Products of one vector with the weights of a layer, each read once, with what lies between them fused in.

A decoding step of one sequence reads every active weight and does next to no arithmetic: its floor is those bytes
over the memory's rate. A plain implementation stays far above it for its number of kernels, some 60 a layer, each
waiting for the one before. With :mod:`.cached`, a layer is six.

Shapes: D hidden size, H heads, C channels of a head, P parts of the attention, E experts, K taken, M an expert's
inner size, R rows of a weight that one program takes.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _normalised(x_at, norm_at, factor, first, chunk, D: tl.constexpr):
    """Return one chunk of x, normalised and rounded to the weights' type."""
    at = first + chunk
    x = tl.load(x_at + at, mask=at < D, other=0.0)
    norm = tl.load(norm_at + at, mask=at < D, other=0.0)
    return (x * factor * norm.to(tl.float32)).to(norm.dtype).to(tl.float32)


@triton.jit
def _factor(x_at, eps, chunk, D: tl.constexpr, BLOCK: tl.constexpr):
    """Return one over the root mean square of x (D,)."""
    squares = tl.zeros((BLOCK,), tl.float32)
    for first in tl.static_range(0, D, BLOCK):
        x = tl.load(x_at + first + chunk, mask=first + chunk < D, other=0.0)
        squares += x * x
    return tl.math.rsqrt(tl.sum(squares, 0) / D + eps)


@triton.jit
def _rows_of(x_at, norm_at, factor, weight_at, row, known, chunk, D: tl.constexpr, BLOCK: tl.constexpr, R: tl.constexpr):
    """Return the product of the normalised x with R rows of a weight (., D)."""
    total = tl.zeros((R, BLOCK), tl.float32)
    for first in tl.static_range(0, D, BLOCK):
        at = first + chunk
        weight = tl.load(weight_at + row[:, None] * D + at[None, :], mask=known[:, None] & (at < D)[None, :], other=0.0)
        x = _normalised(x_at, norm_at, factor, first, chunk, D)
        total += weight.to(tl.float32) * x[None, :]
    return tl.sum(total, 1)  # (R,)


@triton.jit
def _project(x_at, norm_at, weight_at, out_at, rows, eps, D: tl.constexpr, BLOCK: tl.constexpr, R: tl.constexpr):
    """norm, then rows of a weight (rows, D)."""
    chunk = tl.arange(0, BLOCK)
    row = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)  # (R,)
    factor = _factor(x_at, eps, chunk, D, BLOCK)
    out = _rows_of(x_at, norm_at, factor, weight_at, row, row < rows, chunk, D, BLOCK, R)  # (R,)
    tl.store(out_at + row, out.to(out_at.dtype.element_ty), mask=row < rows)


@triton.jit
def _join(
    parts_at, best_at, total_at, weight_at, x_at,
    D: tl.constexpr, H: tl.constexpr, C: tl.constexpr, P: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    """Put the parts of the attention together, multiply by the output weight (D, H*C), add to x (D,)."""
    row = tl.program_id(0) * R + tl.arange(0, R)  # (R,)
    part, channel = tl.arange(0, P), tl.arange(0, C)
    out = tl.zeros((R, C), tl.float32)
    for head in tl.static_range(H):
        at = row[:, None] * (H * C) + head * C + channel[None, :]
        weight = tl.load(weight_at + at, mask=(row < D)[:, None], other=0.0)  # (R, C)
        best = tl.load(best_at + head * P + part)  # (P,)
        share = tl.math.exp2(best - tl.max(best, 0))  # (P,)
        total = tl.sum(share * tl.load(total_at + head * P + part), 0)
        mixed = tl.load(parts_at + (head * P + part[:, None]) * C + channel[None, :])  # (P, C)
        mixed = tl.sum(mixed * (share / total)[:, None], 0)  # (C,)
        out += weight.to(tl.float32) * mixed.to(weight.dtype).to(tl.float32)[None, :]
    x = tl.load(x_at + row, mask=row < D, other=0.0)
    tl.store(x_at + row, x + tl.sum(out, 1), mask=row < D)


@triton.jit
def _gate(
    x_at, norm_at, router_at, gate_up_at, scores_at, inner_at, eps, experts, inner,
    ROUTERS: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    """norm, then the router's scores (the first ROUTERS programs) and the inner product of the MLP for everyone."""
    chunk = tl.arange(0, BLOCK)
    factor = _factor(x_at, eps, chunk, D, BLOCK)
    program = tl.program_id(0)
    if program < ROUTERS:
        row = program * R + tl.arange(0, R)
        scores = _rows_of(x_at, norm_at, factor, router_at, row, row < experts, chunk, D, BLOCK, R)
        tl.store(scores_at + row, scores, mask=row < experts)
    else:
        row = (program - ROUTERS) * R + tl.arange(0, R)
        known = row < inner
        gate = _rows_of(x_at, norm_at, factor, gate_up_at, row, known, chunk, D, BLOCK, R)
        up = _rows_of(x_at, norm_at, factor, gate_up_at, row + inner, known, chunk, D, BLOCK, R)
        dtype = inner_at.dtype.element_ty
        gate, up = gate.to(dtype).to(tl.float32), up.to(dtype).to(tl.float32)
        tl.store(inner_at + row, (gate / (1 + tl.exp(-gate)) * up).to(dtype), mask=known)


@triton.jit
def _experts(
    x_at, norm_at, scores_at, gate_up_at, chosen_at, share_at, inner_at, eps, experts, scale,
    M: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr, R: tl.constexpr, E: tl.constexpr, K: tl.constexpr,
    RENORMALISE: tl.constexpr,
):  # fmt: skip
    """Choose the experts, and take some rows of the inner product of the one at this program's place among them."""
    slot = tl.program_id(1)
    every, chunk = tl.arange(0, E), tl.arange(0, BLOCK)
    scores = tl.load(scores_at + every, mask=every < experts, other=float("-inf"))  # (E,)
    shares = tl.exp(scores - tl.max(scores, 0))
    shares = shares / tl.sum(shares, 0)  # (E,)
    chosen, share, taken = 0, 0.0, 0.0
    for place in tl.static_range(K):
        best, value = tl.argmax(shares, 0), tl.max(shares, 0)
        chosen, share = tl.where(place == slot, best, chosen), tl.where(place == slot, value, share)
        taken += value
        shares = tl.where(every == best, -1.0, shares)
    share = share / (taken + 1e-20) if RENORMALISE else share * scale
    if tl.program_id(0) == 0:
        tl.store(chosen_at + slot, chosen)
        tl.store(share_at + slot, share)
    row = tl.program_id(0) * R + tl.arange(0, R)
    known = row < M
    factor = _factor(x_at, eps, chunk, D, BLOCK)
    weight_at = gate_up_at + chosen.to(tl.int64) * (2 * M * D)
    gate = _rows_of(x_at, norm_at, factor, weight_at, row, known, chunk, D, BLOCK, R)
    up = _rows_of(x_at, norm_at, factor, weight_at, row + M, known, chunk, D, BLOCK, R)
    dtype = inner_at.dtype.element_ty
    gate, up = gate.to(dtype).to(tl.float32), up.to(dtype).to(tl.float32)
    tl.store(inner_at + slot * M + row, (gate / (1 + tl.exp(-gate)) * up).to(dtype), mask=known)


@triton.jit
def _outer(
    x_at, chosen_at, share_at, routed_at, down_at, inner_at, shared_down_at,
    D: tl.constexpr, K: tl.constexpr, M: tl.constexpr, WIDE: tl.constexpr, S: tl.constexpr, BLOCK: tl.constexpr,
    R: tl.constexpr,
):  # fmt: skip
    """Multiply back: the K chosen experts' inner vectors (K, M) and everyone's (S,), added to x (D,)."""
    row = tl.program_id(0) * R + tl.arange(0, R)
    known = (row < D)[:, None]
    x = tl.load(x_at + row, mask=row < D, other=0.0)
    at = tl.arange(0, WIDE)
    for slot in tl.static_range(K):
        expert, share = tl.load(chosen_at + slot).to(tl.int64), tl.load(share_at + slot)
        weight_at = down_at + expert * (D * M) + row[:, None] * M + at[None, :]
        weight = tl.load(weight_at, mask=known & (at < M)[None, :], other=0.0)  # (R, M)
        inner = tl.load(routed_at + slot * M + at, mask=at < M, other=0.0)  # (M,)
        x += share * tl.sum(weight.to(tl.float32) * inner.to(tl.float32)[None, :], 1)
    total = tl.zeros((R, BLOCK), tl.float32)
    for first in tl.static_range(0, S, BLOCK):
        chunk = first + tl.arange(0, BLOCK)
        weight = tl.load(shared_down_at + row[:, None] * S + chunk[None, :], mask=known & (chunk < S)[None, :], other=0.0)
        inner = tl.load(inner_at + chunk, mask=chunk < S, other=0.0)
        total += weight.to(tl.float32) * inner.to(tl.float32)[None, :]
    tl.store(x_at + row, x + tl.sum(total, 1), mask=row < D)


def project(x: Tensor, norm: Tensor, weight: Tensor, out: Tensor, *, eps: float) -> None:
    """out = weight @ norm(x): x (D,) float32, weight (rows, D), out (rows,)."""
    rows, width = weight.shape
    size = 16
    _project[(triton.cdiv(rows, size),)](
        x, norm, weight, out, rows, eps, D=width, BLOCK=_block(width), R=size, num_warps=4
    )


def join(parts: Tensor, best: Tensor, total: Tensor, weight: Tensor, x: Tensor) -> None:
    """x += weight @ attention: parts (H, P, C), best and total (H, P), weight (D, H*C), x (D,)."""
    heads, count, channels = parts.shape
    size = 8
    _join[(triton.cdiv(len(x), size),)](
        parts, best, total, weight, x, D=len(x), H=heads, C=channels, P=count, R=size, num_warps=4
    )


def gate(
    x: Tensor, norm: Tensor, router: Tensor | None, gate_up: Tensor, scores: Tensor, inner: Tensor, *, eps: float
) -> None:
    """Scores of all experts (E,) float32, and the gated inner vector (S,) of the MLP that everyone takes."""
    size, width = 16, gate_up.shape[1]
    experts = 0 if router is None else len(router)
    routers = triton.cdiv(experts, size)
    _gate[(routers + triton.cdiv(len(inner), size),)](
        x, norm, gate_up if router is None else router, gate_up, scores, inner, eps, experts, len(inner),
        ROUTERS=routers, D=width, BLOCK=_block(width), R=size, num_warps=4,
    )  # fmt: skip


def experts(
    x: Tensor, norm: Tensor, scores: Tensor, gate_up: Tensor, chosen: Tensor, share: Tensor, inner: Tensor,
    *, eps: float, scale: float, renormalise: bool,
) -> None:  # fmt: skip
    """Choose K experts by their scores (E,): ids and weights (K,), and their gated inner vectors (K, M)."""
    count, double, width = gate_up.shape
    size, taken = 16, len(chosen)
    _experts[(triton.cdiv(double // 2, size), taken)](
        x, norm, scores, gate_up, chosen, share, inner, eps, count, scale,
        M=double // 2, D=width, BLOCK=_block(width), R=size, E=triton.next_power_of_2(count), K=taken,
        RENORMALISE=renormalise, num_warps=4,
    )  # fmt: skip


def outer(
    x: Tensor, chosen: Tensor, share: Tensor, routed: Tensor, down: Tensor, inner: Tensor, shared_down: Tensor,
    *, taken: int,
) -> None:  # fmt: skip
    """x += the chosen experts' outer products by weight + everyone's: down (E, D, M), shared_down (D, S)."""
    width, everyone = shared_down.shape
    size, middle = 4, down.shape[-1]
    _outer[(triton.cdiv(width, size),)](
        x, chosen, share, routed, down, inner, shared_down,
        D=width, K=taken, M=middle, WIDE=triton.next_power_of_2(middle), S=everyone, BLOCK=_block(everyone, 1024),
        R=size, num_warps=4,
    )  # fmt: skip


def _block(width: int, most: int = 256) -> int:
    """Return the chunk that a vector of ``width`` is taken in: a power of two."""
    return int(min(most, triton.next_power_of_2(width)))
