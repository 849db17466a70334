"""The router, and grouped products against a plain loop over tokens."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from optical_memory.model.config import DecoderConfig
from optical_memory.model.experts import Experts, MixtureOfExperts, Router, grouped_product

SMALL = DecoderConfig(hidden_size=16, moe_intermediate_size=12, n_routed_experts=5, num_experts_per_tok=2)


def test_weights_are_the_largest_probabilities() -> None:
    router = Router(SMALL)
    x = torch.randn(7, 16)
    weights, chosen = router(x)
    scores = (x @ router.weight.T).softmax(dim=-1)
    best = scores.sort(dim=-1, descending=True)
    assert torch.equal(chosen.sort().values, best.indices[:, :2].sort().values)
    assert torch.allclose(weights, scores.gather(1, chosen))
    assert weights.dtype == torch.float32


def test_weights_scaled_and_renormalised() -> None:
    x = torch.randn(7, 16)
    plain = Router(SMALL)
    for change in ({"norm_topk_prob": True}, {"routed_scaling_factor": 2.5}):
        router = Router(dataclasses.replace(SMALL, **change))  # type: ignore[arg-type]
        router.load_state_dict(plain.state_dict())
        weights, before = router(x)[0], plain(x)[0]
        expected = before / before.sum(dim=-1, keepdim=True) if "norm_topk_prob" in change else before * 2.5
        assert torch.allclose(weights, expected)


def test_routing_in_float32() -> None:
    """Rounding the scores themselves to bfloat16 would change who is chosen."""
    router, x = Router(SMALL).bfloat16(), torch.randn(50, 16).bfloat16()
    weights, _ = router(x)
    scores = F.linear(x.float(), router.weight.float()).softmax(dim=-1)
    assert torch.equal(weights.sort().values, scores.topk(2).values.sort().values)


@pytest.mark.parametrize("tokens", [1, 3, 40])
@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_experts_are_a_loop_over_tokens(tokens: int, kind: str) -> None:
    experts = Experts(5, 16, 12).to(getattr(torch, kind))
    x = torch.randn(tokens, 16).to(getattr(torch, kind))
    chosen = torch.stack([torch.randperm(5)[:2] for _ in range(tokens)])
    weights = torch.rand(tokens, 2)
    out = experts(x, weights, chosen)
    expected = torch.zeros(tokens, 16)
    for token in range(tokens):
        for weight, expert in zip(weights[token], chosen[token], strict=True):
            gate, up = (experts.gate_up[expert].float() @ x[token].float()).chunk(2)
            expected[token] += weight * (experts.down[expert].float() @ (F.silu(gate) * up))
    assert out.dtype == x.dtype
    assert torch.allclose(out.float(), expected, atol=1e-5 if kind == "float32" else 5e-2)


def test_groups_may_be_empty() -> None:
    weight, rows = torch.randn(4, 6, 3), torch.randn(5, 3)
    out = grouped_product(rows, weight, torch.tensor([0, 2, 2, 5]))
    assert torch.allclose(out, torch.cat((rows[:2] @ weight[1].T, rows[2:] @ weight[3].T)), atol=1e-6)


def test_gradients_reach_every_chosen_expert() -> None:
    layer = MixtureOfExperts(SMALL)
    layer(torch.randn(2, 30, 16)).square().sum().backward()
    grads: list[Any] = [layer.experts.gate_up.grad, layer.experts.down.grad]
    assert all((grad.flatten(1).norm(dim=1) > 0).all() for grad in grads)
    assert layer.router.weight.grad is not None and layer.router.weight.grad.norm() > 0


def test_shared_experts_may_be_absent() -> None:
    layer = MixtureOfExperts(dataclasses.replace(SMALL, n_shared_experts=0))
    assert layer.shared is None
    assert layer(torch.randn(1, 3, 16)).shape == (1, 3, 16)
