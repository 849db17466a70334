"""Kernels for the encoder's layers on CUDA: norms that add late biases, and activations in place or in the product.

``run_in_place`` in ``model/blocks.py`` puts them together.

Shapes: R tokens of all images, D channels, I an MLP's inner size.
"""

# Triton has no stubs, and its functions take pointers and constants, not Python values.
# mypy: disable-error-code="import-not-found,import-untyped,untyped-decorator"
# mypy: disable-error-code="no-untyped-def,no-untyped-call,no-any-return"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor, nn


@triton.jit
def _norm(
    x_at, late_at, weight_at, bias_at, out_at, rows, eps, D: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr
):
    """Normalise ROWS rows of the stream, the late biases added."""
    row, column = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, BLOCK)
    real = column < D
    inside = (row < rows)[:, None] & real[None, :]
    at = row.to(tl.int64)[:, None] * D + column[None, :]  # (ROWS, D)
    late = tl.load(late_at + column, mask=real, other=0.0)  # (D,)
    weight = tl.load(weight_at + column, mask=real, other=0.0).to(tl.float32)
    bias = tl.load(bias_at + column, mask=real, other=0.0).to(tl.float32)
    x = tl.load(x_at + at, mask=inside, other=0.0).to(tl.float32) + late[None, :]  # (ROWS, D)
    x = tl.where(real[None, :], x - (tl.sum(x, 1) / D)[:, None], 0.0)
    factor = 1 / tl.sqrt(tl.sum(x * x, 1) / D + eps)  # (ROWS,)
    y = x * factor[:, None] * weight[None, :] + bias[None, :]
    tl.store(out_at + at, y.to(out_at.dtype.element_ty), mask=inside)


@triton.jit
def _quick_gelu(x_at, total, BLOCK: tl.constexpr):
    """Put quick GELU in the place of each number."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_at + at, mask=at < total, other=0.0).to(tl.float32)
    y = x / (1 + tl.exp(-1.702 * x))
    tl.store(x_at + at, y.to(x_at.dtype.element_ty), mask=at < total)


def norm(x: Tensor, late: Tensor, layer: nn.LayerNorm) -> Tensor:
    """Return the norm of ``x + late``: (..., D), contiguous, and (D,) float32 -> (..., D)."""
    width = x.shape[-1]
    rows, out = x.numel() // width, torch.empty_like(x)
    _norm[(triton.cdiv(rows, 4),)](
        x, late, layer.weight, layer.bias, out, rows, layer.eps,
        D=width, BLOCK=triton.next_power_of_2(width), ROWS=4, num_warps=4,
    )  # fmt: skip
    return out


def quick_gelu_(x: Tensor) -> Tensor:
    """Apply quick GELU to a contiguous ``x`` in place."""
    _quick_gelu[(triton.cdiv(x.numel(), 4096),)](x, x.numel(), BLOCK=4096, num_warps=8)
    return x


@torch.library.custom_op("optical_memory::linear_gelu", mutates_args=())
def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return GELU (tanh form) of a linear layer, one kernel of the matrix library: (..., D), (I, D), (I,) -> (..., I).

    An operator of its own, so that a compiled layer does not take it apart.
    """
    flat = torch._addmm_activation(bias, x.flatten(0, -2), weight.t(), use_gelu=True)  # (R, I)
    return flat.view(*x.shape[:-1], -1)


@linear_gelu.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], len(weight))
