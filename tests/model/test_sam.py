"""SAM against transformers' code with the same weights, and its tables against the reference's numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optical_memory.model.config import SamConfig
from optical_memory.model.sam import Sam, join_windows, relative, split_windows

SMALL = SamConfig(
    image_size=128,
    width=32,
    layers=3,
    heads=2,
    mlp_width=128,
    window_size=3,
    global_attn_indexes=(1,),
    neck_channels=16,
    downsample_channels=(24, 48),
)
THEIR_NAMES = (
    (r"^patch_embed\.projection", "patch"),
    (r"^pos_embed", "positions"),
    (r"layer_norm1(?=\.)(?<=\d\.layer_norm1)", "norm1"),
    (r"layer_norm2(?=\.)(?<=\d\.layer_norm2)", "norm2"),
    (r"\.attn\.proj", ".attention.out"),
    (r"\.attn\.", ".attention."),
    (r"\.lin1", ".up"),
    (r"\.lin2", ".down"),
    (r"^neck\.conv1", "neck.0"),
    (r"^neck\.layer_norm1", "neck.1"),
    (r"^neck\.conv2", "neck.2"),
    (r"^neck\.layer_norm2", "neck.3"),
)


def ours(name: str) -> str:
    for pattern, new in THEIR_NAMES:
        name = re.sub(pattern, new, name)
    return name


@pytest.mark.parametrize("attention", ["fused", "eager"])
def test_layers_and_neck_are_those_of_transformers(attention: Any) -> None:
    modeling = pytest.importorskip("transformers.models.sam.modeling_sam")
    configuration = modeling.SamVisionConfig(
        hidden_size=SMALL.width,
        output_channels=SMALL.neck_channels,
        num_hidden_layers=SMALL.layers,
        num_attention_heads=SMALL.heads,
        image_size=SMALL.image_size,
        patch_size=SMALL.patch_size,
        window_size=SMALL.window_size,
        global_attn_indexes=list(SMALL.global_attn_indexes),
        mlp_dim=SMALL.mlp_width,
        attn_implementation="eager",
    )
    theirs = modeling.SamVisionEncoder(configuration).eval()
    torch.manual_seed(1)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    mine = Sam(SMALL, attention=attention).eval()
    state = {ours(name): value for name, value in theirs.state_dict().items()}
    left = mine.load_state_dict(state, strict=False)
    assert left.missing_keys == ["compressor.0.weight", "compressor.1.weight"] and not left.unexpected_keys
    pixels = torch.randn(2, 3, 128, 128)
    neck: list[Any] = []
    mine.neck.register_forward_hook(lambda module, given, out: neck.append(out))
    with torch.no_grad():
        expected = theirs(pixels).last_hidden_state
        out = mine(pixels)
    assert torch.allclose(neck[0], expected, atol=2e-5)
    assert out.shape == (2, 48, 2, 2)


def test_relative_tables_of_another_size(parity: Path, recipe: Any) -> None:
    golden = np.load(parity / "pos_tables.npz")
    table = torch.from_numpy(recipe("model.sam_model.blocks.2.attn.rel_pos_h", (127, 64)))
    for side in (32, 40, 64):
        mine = relative(table, side)[::4, ::4, ::4].numpy()
        assert np.abs(mine - golden[f"sam_relpos_h_block2_{side}"]).max() <= 1e-6


def test_relative_places() -> None:
    table = torch.arange(5.0).unsqueeze(1)  # distances -2 to 2
    assert relative(table, 3)[..., 0].tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]  # [query, key]


@pytest.mark.parametrize(("height", "width", "count"), [(6, 9, 6), (7, 8, 9), (3, 3, 1), (2, 1, 1)])
def test_windows(height: int, width: int, count: int) -> None:
    x = torch.arange(2 * height * width * 4.0).view(2, height, width, 4)
    windows = split_windows(x, 3)
    assert windows.shape == (2 * count, 3, 3, 4)
    assert torch.equal(join_windows(windows, height, width), x)
    assert windows.sum() == x.sum()  # the rest is zeros
    assert torch.equal(windows[0, : min(3, height), : min(3, width)], x[0, :3, :3])


def test_any_multiple_of_64_px() -> None:
    sam = Sam(SMALL).eval()
    with torch.no_grad():
        for side in (64, 128, 192):
            assert sam(torch.zeros(1, 3, side, side)).shape == (1, 48, side // 64, side // 64)
