"""What SAM and CLIP share: two attentions that agree, and tables of positions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optical_memory.model.blocks import Mlp, eager, fused, places, resized


def draw(*shape: int) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(("height", "width", "channels"), [(14, 14, 64), (3, 5, 12), (1, 1, 8), (8, 8, 20)])
def test_fused_attention_is_the_plain_one(height: int, width: int, channels: int) -> None:
    shape = (2, 3, height * width)
    q, k, v = draw(3, *shape, channels)
    rows, columns = draw(*shape, height), draw(*shape, width)
    assert torch.allclose(fused(q, k, v, rows, columns), eager(q, k, v, rows, columns), atol=2e-6)
    assert torch.allclose(fused(q, k, v, None, None), eager(q, k, v, None, None), atol=2e-6)


def test_the_bias_is_by_row_and_by_column_of_the_key() -> None:
    v = torch.eye(6).expand(1, 1, 6, 6)  # the output shows the attention itself
    rows, columns = torch.zeros(1, 1, 6, 2), torch.zeros(1, 1, 6, 3)
    rows[..., 1] = 50.0
    columns[..., 2] = 50.0
    zero = torch.zeros(1, 1, 6, 6)
    for attend in (eager, fused):
        assert attend(zero, zero, v, rows, columns)[0, 0, 0].argmax() == 5  # row 1, column 2 of 2 x 3


def test_places() -> None:
    table = places(2, 3, torch.zeros(1))
    assert table.shape == (6, 5)
    assert table[4].tolist() == [0, 1, 0, 1, 0]  # row 1, column 1


def test_positions_of_another_size(parity: Path, recipe: Any) -> None:
    golden = np.load(parity / "pos_tables.npz")
    table = torch.from_numpy(recipe("model.sam_model.pos_embed", (1, 64, 64, 768)))
    for side in (32, 40, 64):
        mine = resized(table, side)[0, ::2, ::2, ::16].numpy()
        assert np.abs(mine - golden[f"sam_pos_{side}"]).max() <= 1e-6
    assert resized(table, 64) is table
    assert resized(table.bfloat16(), 32).dtype == torch.bfloat16


def test_mlp() -> None:
    mlp = Mlp(4, 8, torch.relu)
    x = draw(2, 3, 4)
    expected = torch.relu(x @ mlp.up.weight.T + mlp.up.bias) @ mlp.down.weight.T + mlp.down.bias
    assert torch.allclose(mlp(x), expected, atol=1e-6)
