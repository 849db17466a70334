"""Random values for what was not loaded."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from optical_memory.model.initialise import materialise, random_values

CPU = torch.device("cpu")


def test_only_what_has_no_values() -> None:
    with torch.device("meta"):
        module = nn.ModuleDict({"norm": nn.LayerNorm(8), "up": nn.Linear(8, 4)})
    module.up.bias = nn.Parameter(torch.full((4,), 3.0))
    materialise(module, prefix="part", device=CPU)
    assert module.norm.weight.tolist() == [1] * 8 and module.norm.bias.tolist() == [0] * 8
    assert module.up.bias.tolist() == [3] * 4
    assert torch.equal(module.up.weight, random_values("part.up.weight", (4, 8), device=CPU, dtype=torch.float32))


@pytest.mark.parametrize(
    ("name", "shape", "deviation"),
    [
        ("decoder.embed.weight", (100, 64), 0.02),
        ("encoder.newline", (4096,), 0.02),
        ("encoder.sam.layers.0.attention.rel_pos_h", (127, 64), 0.02),
        ("layers.1.mlp.experts.down", (8, 32, 100), 0.1),
        ("encoder.sam.compressor.0.weight", (32, 16, 5, 5), 0.05),
    ],
)
def test_widths(name: str, shape: tuple[int, ...], deviation: float) -> None:
    values = random_values(name, shape, device=CPU, dtype=torch.float32)
    assert values.std().item() == pytest.approx(deviation, rel=0.05)
    assert torch.equal(values, random_values(name, shape, device=CPU, dtype=torch.float32))
    assert not torch.equal(values, random_values(f"{name}.other", shape, device=CPU, dtype=torch.float32))
