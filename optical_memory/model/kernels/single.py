"""Products of one vector with the weights of a layer, each read once, with what lies between them fused in.

A decoding step of one sequence reads every active weight and does next to no arithmetic: its floor is those bytes
over the memory's rate. A plain implementation stays far above it for its number of kernels, some 60 a layer, each
waiting for the one before. With :mod:`.cached`, a layer is six.

Each kernel may begin before the one ahead of it has ended: it loads what weights it can, and only then waits for the
vector (``PDL``, programmatic dependent launch).

Shapes: D hidden size, H heads, C channels of a head, P parts of the attention, E experts, K taken, M an expert's
inner size, R rows of a weight that one program takes.
"""

# Triton has no stubs, and its functions take pointers and constants, not Python values.
# mypy: disable-error-code="import-not-found,import-untyped,untyped-decorator"
# mypy: disable-error-code="no-untyped-def,no-untyped-call,no-any-return"

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Tile:
    """How a kernel is cut: ``rows`` of the weight a program, at most ``block`` of their numbers at a time, warps."""

    rows: int
    block: int
    warps: int


TILES = {
    "project": Tile(4, 4096, 4),
    "head": Tile(32, 256, 4),  # many rows: large programs read faster
    "join": Tile(16, 256, 4),
    "gate": Tile(4, 4096, 4),
    "experts": Tile(16, 256, 8),
    "outer": Tile(2, 1024, 8),
}
"""The fastest measured at the published sizes on Hopper."""


@triton.jit
def _rows_of(
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
def _gated(
    x_at, norm_at, weight_at, inner_at, first, inner, eps,
    D: tl.constexpr, BLOCK: tl.constexpr, R: tl.constexpr, WAIT: tl.constexpr,
):  # fmt: skip
    """Store silu(gate) * up for R rows of an inner vector; the weight holds all gates, then all ups."""
    both = tl.arange(0, 2 * R)  # gate, up, gate, up, …
    row = first + both // 2 + (both % 2) * inner
    out = _rows_of(x_at, norm_at, weight_at, row, first + both // 2 < inner, eps, D, BLOCK, 2 * R, WAIT)  # (2R,)
    gate, up = tl.split(tl.reshape(out, (R, 2)))  # (R,) each
    to = first + tl.arange(0, R)
    tl.store(inner_at + to, (gate / (1 + tl.exp(-gate)) * up).to(inner_at.dtype.element_ty), mask=to < inner)


@triton.jit
def _project(
    x_at, norm_at, weight_at, out_at, best_at, place_at, rows, eps,
    D: tl.constexpr, BLOCK: tl.constexpr, R: tl.constexpr, BEST: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """norm, then rows of a weight (rows, D); where BEST, also the largest of this program's rows and its place."""
    if PDL:
        tl.extra.cuda.gdc_launch_dependents()
    row = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)  # (R,)
    out = _rows_of(x_at, norm_at, weight_at, row, row < rows, eps, D, BLOCK, R, PDL)  # (R,)
    stored = out.to(out_at.dtype.element_ty)  # (R,)
    tl.store(out_at + row, stored, mask=row < rows)
    if BEST:
        values = tl.where(row < rows, stored.to(tl.float32), float("-inf"))  # (R,)
        best = tl.max(values, 0)
        tl.store(best_at + tl.program_id(0), best)
        tl.store(place_at + tl.program_id(0), tl.min(tl.where(values == best, row, rows - 1), 0).to(tl.int32))


@triton.jit
def _begin(token_at, weight_at, x_at, D: tl.constexpr, BLOCK: tl.constexpr, PDL: tl.constexpr):
    """Put the token's embedding, a row of the weight (V, D), into x (D,)."""
    if PDL:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(weight_at + tl.load(token_at) * D + at, mask=at < D, other=0.0)
    tl.store(x_at + at, value.to(tl.float32), mask=at < D)


@triton.jit
def _choose(
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
def _join(
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
def _gate(
    x_at, norm_at, router_at, gate_up_at, scores_at, inner_at, eps, experts, inner,
    ROUTERS: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr, R: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """norm, then the router's scores (the first ROUTERS programs) and the inner product of the MLP for everyone."""
    if PDL:
        tl.extra.cuda.gdc_launch_dependents()
    program = tl.program_id(0)
    if program < ROUTERS:
        expert = program * R + tl.arange(0, R)
        scores = _rows_of(x_at, norm_at, router_at, expert, expert < experts, eps, D, BLOCK, R, PDL)
        tl.store(scores_at + expert, scores, mask=expert < experts)
    else:
        _gated(x_at, norm_at, gate_up_at, inner_at, (program - ROUTERS) * R, inner, eps, D, BLOCK, R, PDL)


@triton.jit
def _experts(
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
    _gated(x_at, norm_at, weight_at, inner_at + slot * M, tl.program_id(0) * R, M, eps, D, BLOCK, R, False)


@triton.jit
def _outer(
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


def project(x: Tensor, norm: Tensor, weight: Tensor, out: Tensor, *, eps: float) -> None:
    """Write weight @ norm(x) to ``out`` (rows,): x (D,) float32, weight (rows, D)."""
    _product(x, norm, weight, out, (out, out), TILES["project"], eps=eps, best=False)


def begin(token: Tensor, embeddings: Tensor, x: Tensor) -> None:
    """Write the embedding of ``token`` (1,), a row of (V, D), to x (D,)."""
    width = len(x)
    _begin[(triton.cdiv(width, 512),)](token, embeddings, x, D=width, BLOCK=512, num_warps=4, **_early(x))


def parts_of(rows: int) -> int:
    """Return how many values :func:`choose` compares of so many logits."""
    return int(triton.cdiv(rows, TILES["head"].rows))


def choose(
    x: Tensor, norm: Tensor, weight: Tensor, logits: Tensor, best: tuple[Tensor, Tensor],
    token: Tensor, position: Tensor, *, last: int, eps: float,
) -> None:  # fmt: skip
    """Write the logits (V,) and the likeliest id to ``token`` (1,); add one to ``position`` (1,), ``last`` at most.

    ``best`` takes the largest values, float32, and their places, int32, of parts of the logits.
    """
    _product(x, norm, weight, logits, best, TILES["head"], eps=eps, best=True)
    count = parts_of(len(weight))
    block = triton.next_power_of_2(count)
    _choose[(1,)](*best, token, position, count, last, BLOCK=block, num_warps=8, **_early(x))


def _product(
    x: Tensor, norm: Tensor, weight: Tensor, out: Tensor, places: tuple[Tensor, Tensor], tile: Tile,
    *, eps: float, best: bool,
) -> None:  # fmt: skip
    rows, width = weight.shape
    _project[(triton.cdiv(rows, tile.rows),)](
        x, norm, weight, out, *places, rows, eps,
        D=width, BLOCK=_block(width, tile.block), R=tile.rows, BEST=best, num_warps=tile.warps, **_early(x),
    )  # fmt: skip


def join(parts: Tensor, best: Tensor, total: Tensor, weight: Tensor, x: Tensor) -> None:
    """Add weight @ attention to x (D,): parts (H, P, C), best and total (H, P), weight (D, H*C)."""
    heads, count, channels = parts.shape
    tile = TILES["join"]
    _join[(triton.cdiv(len(x), tile.rows),)](
        parts, best, total, weight, x, D=len(x), H=heads, C=channels, P=count,
        BLOCK=_block(heads * channels, tile.block), R=tile.rows, num_warps=tile.warps, **_early(x),
    )  # fmt: skip


def gate(
    x: Tensor, norm: Tensor, router: Tensor | None, gate_up: Tensor, scores: Tensor, inner: Tensor, *, eps: float
) -> None:
    """Write the scores of all experts (E,), float32, and the gated inner vector (S,) of the MLP that everyone takes."""
    tile, width = TILES["gate"], gate_up.shape[1]
    size = tile.rows
    experts = 0 if router is None else len(router)
    routers = triton.cdiv(experts, size)
    _gate[(routers + triton.cdiv(len(inner), size),)](
        x, norm, gate_up if router is None else router, gate_up, scores, inner, eps, experts, len(inner),
        ROUTERS=routers, D=width, BLOCK=_block(width, tile.block), R=size, num_warps=tile.warps, **_early(x),
    )  # fmt: skip


def experts(
    x: Tensor, norm: Tensor, scores: Tensor, gate_up: Tensor, chosen: Tensor, share: Tensor, inner: Tensor,
    *, eps: float, scale: float, renormalise: bool,
) -> None:  # fmt: skip
    """Choose K experts by their scores (E,): write ids and weights (K,), and their gated inner vectors (K, M)."""
    count, double, width = gate_up.shape
    tile, taken = TILES["experts"], len(chosen)
    _experts[(triton.cdiv(double // 2, tile.rows), taken)](
        x, norm, scores, gate_up, chosen, share, inner, eps, count, scale,
        M=double // 2, D=width, BLOCK=_block(width, tile.block), R=tile.rows, E=triton.next_power_of_2(count),
        K=taken, RENORMALISE=renormalise, num_warps=tile.warps, **_early(x),
    )  # fmt: skip


def outer(
    x: Tensor, chosen: Tensor, share: Tensor, routed: Tensor, down: Tensor, inner: Tensor, shared_down: Tensor,
    *, taken: int,
) -> None:  # fmt: skip
    """Add the chosen experts' outer products by weight, and everyone's, to x: down (E, D, M), shared_down (D, S)."""
    width, everyone = shared_down.shape
    tile, middle = TILES["outer"], down.shape[-1]
    _outer[(triton.cdiv(width, tile.rows),)](
        x, chosen, share, routed, down, inner, shared_down,
        D=width, K=taken, M=middle, S=everyone, BLOCK=_block(everyone, tile.block), R=tile.rows,
        num_warps=tile.warps, **_early(x),
    )  # fmt: skip


def _early(x: Tensor) -> dict[str, bool]:
    """Say whether kernels may begin early: the device must know how (compute capability 9 and later)."""
    able = x.is_cuda and torch.cuda.get_device_capability(x.device) >= (9, 0)
    return {"PDL": able, "launch_pdl": able} if x.is_cuda else {"PDL": False}


def _block(width: int, most: int) -> int:
    """Return the chunk that a vector of ``width`` is taken in: a power of two."""
    return int(min(most, triton.next_power_of_2(width)))
