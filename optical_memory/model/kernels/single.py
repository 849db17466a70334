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
from torch import Tensor

from optical_memory.model.kernels import vector


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


def project(x: Tensor, norm: Tensor, weight: Tensor, out: Tensor, *, eps: float) -> None:
    """Write weight @ norm(x) to ``out`` (rows,): x (D,) float32, weight (rows, D)."""
    _product(x, norm, weight, out, (out, out), TILES["project"], eps=eps, best=False)


def begin(token: Tensor, embeddings: Tensor, x: Tensor) -> None:
    """Write the embedding of ``token`` (1,), a row of (V, D), to x (D,)."""
    width = len(x)
    vector.begin_kernel[(triton.cdiv(width, 512),)](token, embeddings, x, D=width, BLOCK=512, num_warps=4, **_early(x))


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
    vector.choose_kernel[(1,)](*best, token, position, count, last, BLOCK=block, num_warps=8, **_early(x))


def _product(
    x: Tensor, norm: Tensor, weight: Tensor, out: Tensor, places: tuple[Tensor, Tensor], tile: Tile,
    *, eps: float, best: bool,
) -> None:  # fmt: skip
    rows, width = weight.shape
    vector.project_kernel[(triton.cdiv(rows, tile.rows),)](
        x, norm, weight, out, *places, rows, eps,
        D=width, BLOCK=_block(width, tile.block), R=tile.rows, BEST=best, num_warps=tile.warps, **_early(x),
    )  # fmt: skip


def join(parts: Tensor, best: Tensor, total: Tensor, weight: Tensor, x: Tensor) -> None:
    """Add weight @ attention to x (D,): parts (H, P, C), best and total (H, P), weight (D, H*C)."""
    heads, count, channels = parts.shape
    tile = TILES["join"]
    vector.join_kernel[(triton.cdiv(len(x), tile.rows),)](
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
    vector.gate_kernel[(routers + triton.cdiv(len(inner), size),)](
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
    vector.experts_kernel[(triton.cdiv(double // 2, tile.rows), taken)](
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
    vector.outer_kernel[(triton.cdiv(width, tile.rows),)](
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
