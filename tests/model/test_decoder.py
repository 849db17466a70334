"""The decoder against transformers' Llama attention and DeepSeek-V2 experts, and its seam for caches."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from optical_memory.model.config import DecoderConfig
from optical_memory.model.decoder import Decoder, rotate

SMALL = DecoderConfig(
    vocab_size=50,
    hidden_size=48,
    intermediate_size=80,
    moe_intermediate_size=20,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    n_routed_experts=6,
    n_shared_experts=2,
    num_experts_per_tok=3,
    first_k_dense_replace=1,
    max_position_embeddings=64,
)


def their_model() -> Any:
    """Llama's attention, norms and rotary positions around DeepSeek-V2's experts: what the published model is."""
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    deepseek = pytest.importorskip("transformers.models.deepseek_v2.modeling_deepseek_v2")
    theirs = llama.LlamaForCausalLM(
        llama.LlamaConfig(
            vocab_size=SMALL.vocab_size,
            hidden_size=SMALL.hidden_size,
            intermediate_size=SMALL.intermediate_size,
            num_hidden_layers=SMALL.num_hidden_layers,
            num_attention_heads=SMALL.num_attention_heads,
            num_key_value_heads=SMALL.num_key_value_heads,
            max_position_embeddings=SMALL.max_position_embeddings,
            rms_norm_eps=SMALL.rms_norm_eps,
            attn_implementation="eager",
        )
    )
    experts = deepseek.DeepseekV2Config(
        hidden_size=SMALL.hidden_size,
        moe_intermediate_size=SMALL.moe_intermediate_size,
        n_routed_experts=SMALL.n_routed_experts,
        n_shared_experts=SMALL.n_shared_experts,
        num_experts_per_tok=SMALL.num_experts_per_tok,
        num_attention_heads=4,
        num_key_value_heads=4,
        topk_method="greedy",
        routed_scaling_factor=1.0,
    )
    for layer in theirs.model.layers[SMALL.first_k_dense_replace :]:
        layer.mlp = deepseek.DeepseekV2Moe(experts)
    torch.manual_seed(3)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return theirs.eval()


def ours(state: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    renames = (
        (r"^model\.", ""),
        (r"^embed_tokens", "embed"),
        (r"^lm_head", "head"),
        (r"input_layernorm", "norm1"),
        (r"post_attention_layernorm", "norm2"),
        (r"self_attn\.o_proj", "attention.out"),
        (r"self_attn\.[qkv]_proj", "attention.qkv"),
        (r"mlp\.gate\.weight", "mlp.router.weight"),
        (r"shared_experts", "shared"),
        (r"(experts\.gate_up)_proj", r"\1"),
        (r"(experts\.down)_proj", r"\1"),
        (r"(gate|up)_proj", "gate_up"),
        (r"down_proj", "down"),
    )
    for name, value in state.items():
        for pattern, new in renames:
            name = re.sub(pattern, new, name)
        out.setdefault(name, []).append(value)
    return {name: torch.cat(values) for name, values in out.items()}


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Any]:
    theirs = their_model()
    mine = Decoder(SMALL).eval().requires_grad_(False)
    mine.load_state_dict(ours(theirs.state_dict()))
    return mine, theirs


@pytest.fixture(scope="module")
def mine() -> Decoder:
    torch.manual_seed(4)
    return Decoder(SMALL).eval().requires_grad_(False)


def test_logits_are_those_of_transformers(pair: tuple[Any, Any]) -> None:
    mine, theirs = pair
    ids = torch.randint(0, SMALL.vocab_size, (2, 17), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = theirs(input_ids=ids, use_cache=False).logits
    logits = mine.head(mine(mine.embed(ids)))
    assert ((logits - expected).norm() / expected.norm()).item() < 5e-6


class GrowingCache:
    """The simplest cache: keys and values of all positions so far, joined to the new ones."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[Any, Any]] = {}

    def attend(self, layer: int, queries: Any, keys: Any, values: Any) -> Any:
        if layer in self.kept:
            keys = torch.cat((self.kept[layer][0], keys), dim=2)
            values = torch.cat((self.kept[layer][1], values), dim=2)
        self.kept[layer] = (keys, values)
        new, all_ = queries.shape[2], keys.shape[2]
        mask = torch.ones(new, all_, dtype=torch.bool).tril(all_ - new)
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, enable_gqa=True)


def test_steps_through_a_cache_give_the_whole(mine: Decoder) -> None:
    ids = torch.randint(0, SMALL.vocab_size, (2, 12), generator=torch.Generator().manual_seed(6))
    whole = mine(mine.embed(ids))
    cache = GrowingCache()
    parts = []
    for start, stop in ((0, 5), (5, 6), (6, 11), (11, 12)):
        positions = torch.arange(start, stop)
        parts.append(mine(mine.embed(ids[:, start:stop]), positions=positions, attend=cache.attend))
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5)


def test_each_row_may_have_its_own_positions(mine: Decoder) -> None:
    x = mine.embed(torch.tensor([[1, 2, 3], [1, 2, 3]]))
    both = mine(x, positions=torch.tensor([[0, 1, 2], [7, 9, 30]]))
    alone = mine(x[1:], positions=torch.tensor([7, 9, 30]))
    assert torch.allclose(both[1:], alone, atol=1e-5)
    assert torch.allclose(both[:1], mine(x[:1]), atol=1e-5)
    assert not torch.allclose(both[0], both[1], atol=1e-3)


def test_rotation_depends_on_the_distance_alone(mine: Decoder) -> None:
    q, k = torch.randn(2, 1, 1, 1, SMALL.head_dim)

    def score(at: int, other: int) -> float:
        turned = (rotate(x, mine.rotary(torch.tensor([place]))) for x, place in ((q, at), (k, other)))
        return float(torch.mul(*turned).sum())

    assert score(3, 1) == pytest.approx(score(42, 40), abs=1e-4)
    assert score(3, 1) != pytest.approx(score(3, 2), abs=1e-4)


def test_nothing_looks_ahead(mine: Decoder) -> None:
    ids = torch.randint(0, SMALL.vocab_size, (1, 9), generator=torch.Generator().manual_seed(7))
    changed = ids.clone()
    changed[0, 6] += 1
    before, after = mine(mine.embed(ids)), mine(mine.embed(changed % SMALL.vocab_size))
    assert torch.allclose(before[:, :6], after[:, :6], atol=1e-6)
    assert not torch.allclose(before[:, 6:], after[:, 6:], atol=1e-3)
