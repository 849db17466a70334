"""CLIP against transformers' code with the same weights, and its table against the reference's numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optical_memory.model.blocks import quick_gelu
from optical_memory.model.clip import Clip, table_for
from optical_memory.model.config import ClipConfig

SMALL = ClipConfig(image_size=42, patch_size=14, width=32, layers=3, heads=4, mlp_width=96)


def ours(state: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in state.items():
        name = re.sub(r"\.layer_norm", ".norm", name.removeprefix("encoder."))
        name = name.replace("mlp.fc1", "mlp.up").replace("mlp.fc2", "mlp.down").replace("pre_layrnorm", "norm")
        name = name.replace("self_attn.out_proj", "attention.out")
        name = name.replace("embeddings.class_embedding", "class_token")
        name = name.replace("embeddings.position_embedding.weight", "positions")
        name = name.replace("embeddings.patch_embedding.weight", "unused_patch")
        if found := re.match(r"(.*)self_attn\.q_proj\.(.*)", name):
            parts = [state[f"encoder.{found[1]}self_attn.{letter}_proj.{found[2]}"] for letter in "qkv"]
            out[f"{found[1]}attention.qkv.{found[2]}"] = torch.cat(parts)
        elif not name.startswith(("post_layernorm", "embeddings.position_ids")) and "self_attn." not in name:
            out[name] = value
    return out


@pytest.mark.parametrize("attention", ["fused", "eager"])
def test_layers_are_those_of_transformers(attention: Any) -> None:
    modeling = pytest.importorskip("transformers.models.clip.modeling_clip")
    theirs = modeling.CLIPVisionModel(
        modeling.CLIPVisionConfig(
            hidden_size=SMALL.width,
            intermediate_size=SMALL.mlp_width,
            num_hidden_layers=SMALL.layers,
            num_attention_heads=SMALL.heads,
            image_size=SMALL.image_size,
            patch_size=SMALL.patch_size,
            hidden_act="quick_gelu",
            attn_implementation="eager",
        )
    ).eval()
    theirs = getattr(theirs, "vision_model", theirs)
    torch.manual_seed(2)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    mine = Clip(SMALL, attention=attention).eval()
    mine.load_state_dict(ours(theirs.state_dict()))
    pixels = torch.randn(2, 3, 42, 42)
    with torch.no_grad():
        tokens = theirs.embeddings.patch_embedding(pixels)  # (2, 32, 3, 3)
        expected = theirs.encoder(inputs_embeds=theirs.pre_layrnorm(theirs.embeddings(pixels))).last_hidden_state
        assert torch.allclose(mine(tokens), expected, atol=2e-5)


def test_quick_gelu() -> None:
    activations = pytest.importorskip("transformers.activations")
    x = torch.linspace(-5, 5, 101)
    assert torch.equal(quick_gelu(x), activations.QuickGELUActivation()(x))


def test_positions_of_another_size(parity: Path, recipe: Any) -> None:
    golden = np.load(parity / "pos_tables.npz")
    table = torch.from_numpy(recipe("model.vision_model.embeddings.position_embedding.weight", (257, 1024)))
    for side in (8, 10, 16):
        mine = table_for(table, side)[:, ::8].numpy()
        assert np.abs(mine - golden[f"clip_pos_{side}"]).max() <= 1e-6
