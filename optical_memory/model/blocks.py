"""What SAM and CLIP share: layers, the MLP, tables of positions, and attention in two ways, plain and fused.

Shapes: N images or windows, A heads, S = h*w places in row order, C channels of a head.

SAM adds to each attention score a bias that depends on the query and on how far the key lies from it in rows and in
columns: ``bias[q, k] = rows[q, k's row] + columns[q, k's column]``. Written out, that is an (S, S) table for each
head of each image. The fused form makes the bias a part of the product of query and key instead::

    [q, rows[q], columns[q]] . [k, one_hot(k's row), one_hot(k's column)]  =  q . k + bias[q, k]

so that any fused attention kernel computes it, with C + h + w channels in place of C and no (S, S) table. On CUDA in
16 bits, kernels of our own add the bias by themselves, with C channels (``kernels/relative.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import Literal, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TRITON = find_spec("triton") is not None
AttentionKind = Literal["fused", "eager"]


class Attend(Protocol):
    """Attention over all places, with an optional bias from relative rows and columns."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
        """Take (N, A, S, C) three times, (N, A, S, h) and (N, A, S, w); return (N, A, S, C)."""


def eager(q: Tensor, k: Tensor, v: Tensor, rows: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
    """Attend with every score written out: the plain reference."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # (N, A, S, S)
    if rows is not None and columns is not None:
        scores = scores + (rows.unsqueeze(-1) + columns.unsqueeze(-2)).flatten(-2)  # (N, A, S, h*w)
    out: Tensor = scores.softmax(dim=-1) @ v  # (N, A, S, C)
    return out


def fused(q: Tensor, k: Tensor, v: Tensor, rows: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
    """Attend with PyTorch's fused kernels; the bias goes into the product of query and key."""
    if rows is None or columns is None:
        return F.scaled_dot_product_attention(q, k, v)  # (N, A, S, C)
    channels, height, width = q.shape[-1], rows.shape[-1], columns.shape[-1]
    # Kernels want equal channels in q, k and v, and a multiple of 8: the rest is zeros.
    total = -(-(channels + height + width) // 8) * 8
    scale = channels**-0.5
    where = places(height, width, q)  # (S, h + w)
    where = where.expand(*k.shape[:-1], -1)  # (N, A, S, h + w)
    q = F.pad(torch.cat((q, rows / scale, columns / scale), dim=-1), (0, total - channels - height - width))
    k = F.pad(torch.cat((k, where), dim=-1), (0, total - channels - height - width))  # (N, A, S, total)
    v = F.pad(v, (0, total - channels))  # (N, A, S, total)
    return F.scaled_dot_product_attention(q, k, v, scale=scale)[..., :channels]  # (N, A, S, C)


def served(x: Tensor, *, channels: int) -> bool:
    """Say whether our own kernels attend with relative positions where ``x`` lies."""
    return channels in (16, 32, 64, 128) and sixteen_bits(x)


def places(height: int, width: int, like: Tensor) -> Tensor:
    """Return for each place a one-hot row followed by a one-hot column: (h*w, h + w), type and device as ``like``."""
    row = torch.eye(height, dtype=like.dtype, device=like.device).repeat_interleave(width, dim=0)  # (h*w, h)
    column = torch.eye(width, dtype=like.dtype, device=like.device).repeat(height, 1)  # (h*w, w)
    return torch.cat((row, column), dim=-1)  # (h*w, h + w)


ATTENTION: Mapping[AttentionKind, Attend] = {"fused": fused, "eager": eager}


def table(*shape: int) -> nn.Parameter:
    """Return a trainable table of positions or a special token, small random numbers at first."""
    return nn.Parameter(torch.empty(shape).uniform_(-0.02, 0.02))


def quick_gelu(x: Tensor) -> Tensor:
    """Approximate GELU as CLIP does: x * sigmoid(1.702 x)."""
    return x * torch.sigmoid(1.702 * x)


class Mlp(nn.Module):
    """Two linear layers with an activation between them.

    On CUDA in 16 bits and without gradients, GELU is part of the first product, in its tanh form: 4.8e-4 off at most,
    where the nearest number of bfloat16 is 3.9e-3 off. ``gelu_in_product`` False is the layer as written.
    """

    gelu_in_product = True

    def __init__(self, width: int, inner: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        out: Tensor = self.down(self.inner(x))  # (..., D)
        return out

    def inner(self, x: Tensor) -> Tensor:
        """Map (..., D) to what lies between the layers, (..., I)."""
        if self.gelu_in_product and self.activation is F.gelu and sixteen_bits(x) and not torch.is_grad_enabled():
            from optical_memory.model.kernels.stream import linear_gelu

            product: Tensor = linear_gelu(x, self.up.weight, self.up.bias)  # (..., I)
            return product
        out: Tensor = self.activation(self.up(x))  # (..., I)
        return out


class Mixing(nn.Module):
    """Attention: what :meth:`mix` of a subclass makes of the tokens, then a linear layer."""

    out: nn.Linear

    def mix(self, x: Tensor) -> Tensor:
        """Attend: (..., D) to (..., D), all heads' values joined."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        mixed: Tensor = self.out(self.mix(x))  # (..., D)
        return mixed


class Residual(nn.Module):
    """Attention, then the MLP, each on the normalised residual stream.

    Subclasses have ``norm1``, ``attention`` (its ``mix``, then its linear layer ``out``), ``norm2`` and ``mlp``.
    """

    norm1: nn.LayerNorm
    attention: Mixing
    norm2: nn.LayerNorm
    mlp: Mlp

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        x = x + self.attention(self.norm1(x))  # (..., D)
        x = x + self.mlp(self.norm2(x))  # (..., D)
        return x


class Layers(nn.ModuleList):
    """Layers one behind the other.

    On CUDA in 16 bits and without gradients, products add to the residual stream where it lies (``run_in_place``).
    ``in_place`` False is the layers as written, which PyTorch can compile.
    """

    in_place = True

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D); ``x`` may be overwritten."""
        if self.in_place and sixteen_bits(x) and not torch.is_grad_enabled():
            return run_in_place(cast(Iterable[Residual], self), x)
        for layer in self:
            x = layer(x)  # (..., D)
        return x


def run_in_place(layers: Iterable[Residual], x: Tensor) -> Tensor:
    """Run layers on a residual stream (..., D), which is overwritten, and return it. Needs Triton.

    A layer as written reads and writes the stream five times beside its products: two sums, two norms. Here the matrix
    units add what they compute to the stream as they store it. Their bias would be a further pass: instead, the biases
    so far are one vector for all tokens, which the norms add as they read, and the end of the last layer.
    """
    from optical_memory.model.kernels import stream

    x = x.contiguous()
    late = torch.zeros(x.shape[-1], device=x.device)  # (D,)
    for layer in layers:
        mixed = layer.attention.mix(stream.norm(x, late, layer.norm1))  # (..., D)
        late = _add_product(x, mixed, layer.attention.out, late)
        y = stream.norm(x, late, layer.norm2)  # (..., D)
        if layer.mlp.activation is quick_gelu:
            inner = stream.quick_gelu_(layer.mlp.up(y))  # (..., I)
        else:
            inner = layer.mlp.inner(y)  # (..., I)
        late = _add_product(x, inner, layer.mlp.down, late)
    return x.add_(late)


def _add_product(x: Tensor, y: Tensor, layer: nn.Linear, late: Tensor) -> Tensor:
    """Add a linear layer's product to the stream, and return the late biases with its own."""
    x.view(-1, x.shape[-1]).addmm_(y.reshape(-1, y.shape[-1]), layer.weight.t())
    return late + layer.bias


def sixteen_bits(x: Tensor) -> bool:
    """Say whether our own kernels for 16 bits can be used where ``x`` lies."""
    return TRITON and x.is_cuda and x.dtype in (torch.float16, torch.bfloat16)


def resized(positions: Tensor, side: int) -> Tensor:
    """Resample a square table of positions, bicubic, antialiased, in float32: (1, L, L, D) -> (1, side, side, D)."""
    if positions.shape[1] == side:
        return positions
    channels_first = positions.float().permute(0, 3, 1, 2)  # (1, D, L, L)
    out = F.interpolate(channels_first, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
    return out.permute(0, 2, 3, 1).to(positions.dtype)  # (1, side, side, D)
