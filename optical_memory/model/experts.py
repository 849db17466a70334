"""Mixture of experts: a router that picks a few experts for each token, and all experts as grouped products.

Shapes: T tokens, K experts taken by each, E experts, D hidden size, M an expert's inner size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optical_memory.model.config import DecoderConfig


class GatedMlp(nn.Module):
    """down(silu(gate(x)) * up(x)), with gate and up in one matrix."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)  # (..., M) each
        out: Tensor = self.down(F.silu(gate) * up)  # (..., D)
        return out


class Router(nn.Module):
    """Softmax over experts in float32, the best ``num_experts_per_tok`` taken, not renormalised as published."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.n_routed_experts, config.hidden_size))
        nn.init.uniform_(self.weight, -(config.hidden_size**-0.5), config.hidden_size**-0.5)
        self.taken = config.num_experts_per_tok
        self.renormalise = config.norm_topk_prob and self.taken > 1
        self.scale = config.routed_scaling_factor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights, float32, and the ids of the experts that each token takes: (T, D) -> (T, K) twice."""
        scores = F.linear(x.float(), self.weight.float()).softmax(dim=-1)  # (T, E)
        weights, chosen = scores.topk(self.taken, dim=-1, sorted=False)  # (T, K) each
        if self.renormalise:
            return weights / (weights.sum(dim=-1, keepdim=True) + 1e-20), chosen
        return weights * self.scale, chosen


class Experts(nn.Module):
    """All routed experts of a layer; each is a :class:`GatedMlp` whose matrices are stacked with the others'."""

    def __init__(self, count: int, width: int, inner: int) -> None:
        super().__init__()
        self.gate_up = nn.Parameter(torch.empty(count, 2 * inner, width))
        self.down = nn.Parameter(torch.empty(count, width, inner))
        nn.init.uniform_(self.gate_up, -(width**-0.5), width**-0.5)
        nn.init.uniform_(self.down, -(inner**-0.5), inner**-0.5)

    def forward(self, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """Sum, for each token, what its experts make of it, by weight: (T, D), (T, K), (T, K) -> (T, D)."""
        tokens, taken = chosen.shape
        by_expert, order = chosen.flatten().sort(stable=True)  # (T*K,) each: rows of one expert lie together
        every = torch.arange(len(self.gate_up), device=x.device)  # (E,)
        ends = torch.searchsorted(by_expert, every, right=True).int()  # (E,) where each expert's rows end
        rows = x[order // taken]  # (T*K, D)
        gate, up = grouped_product(rows, self.gate_up, ends).chunk(2, dim=-1)  # (T*K, M) each
        out = grouped_product(F.silu(gate) * up, self.down, ends)  # (T*K, D)
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=x.device))  # (T*K,)
        out = out[back].view(tokens, taken, -1)  # (T, K, D)
        return (out.float() * weights.unsqueeze(-1)).sum(dim=1).to(x.dtype)  # (T, D)


class MixtureOfExperts(nn.Module):
    """What the token's own experts make of it, plus what the shared experts do."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.router = Router(config)
        self.experts = Experts(config.n_routed_experts, config.hidden_size, config.moe_intermediate_size)
        shared = config.n_shared_experts * config.moe_intermediate_size
        self.shared = GatedMlp(config.hidden_size, shared) if shared else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        flat = x.flatten(0, 1)  # (B*T, D)
        weights, chosen = self.router(flat)  # (B*T, K) each
        out: Tensor = self.experts(flat, weights, chosen).view_as(x)  # (B, T, D)
        if self.shared is not None:
            out = out + self.shared(x)  # (B, T, D)
        return out


def grouped_product(rows: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """Multiply each group of rows by its own matrix: (R, in), (E, out, in), (E,) -> (R, out).

    Group e is ``rows[ends[e - 1]:ends[e]]``. On CUDA in bfloat16 this is one kernel; elsewhere a loop over the
    groups that have rows, which reads only their matrices.
    """
    aligned = weight.shape[1] % 8 == 0 and weight.shape[2] % 8 == 0
    if rows.is_cuda and rows.dtype == torch.bfloat16 and aligned and hasattr(F, "grouped_mm"):  # PyTorch 2.10
        product: Tensor = F.grouped_mm(rows, weight.transpose(1, 2), offs=ends)  # (R, out)
        return product
    stops = ends.tolist()
    spans = zip([0, *stops], stops, weight.unbind(), strict=False)
    parts = [F.linear(rows[start:stop], matrix) for start, stop, matrix in spans if stop > start]
    return torch.cat(parts)  # (R, out)
