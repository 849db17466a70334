"""The name map against the published index and shapes."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from optical_memory.model import build
from optical_memory.model.config import OcrConfig
from optical_memory.model.names import pieces


def test_each_published_name_exactly_once(parity: Path) -> None:
    shapes = json.loads((parity / "tensor_shapes.json").read_text())
    index = json.loads((parity / "deepseek_ocr/model.safetensors.index.json").read_text())
    found = pieces(OcrConfig())
    assert len(found) == len({piece.name for piece in found}) == 2710
    assert {piece.name: list(piece.shape) for piece in found} == shapes
    assert {piece.name for piece in found} == index["weight_map"].keys()
    assert sum(math.prod(piece.shape) for piece in found) * 2 == index["metadata"]["total_size"]


@pytest.mark.parametrize(
    "overrides", [{}, {"num_attention_heads": 20, "num_key_value_heads": 4, "n_shared_experts": 0}]
)
def test_every_parameter_is_filled_once(overrides: dict[str, Any]) -> None:
    model = build("deepseek-ocr", **overrides)
    parameters = dict(model.named_parameters())
    filled: Counter[str] = Counter()
    for piece in pieces(model.config):
        assert piece.view(parameters[piece.parameter]).shape == piece.shape
        filled[piece.parameter] += math.prod(piece.shape)
    assert filled == {name: parameter.numel() for name, parameter in parameters.items()}


def test_views_of_one_parameter_do_not_overlap(tiny_model: Any) -> None:
    tiny_model.ready(tiny_model.encoder, tiny_model.decoder)
    parameters = {name: parameter.detach().zero_() for name, parameter in tiny_model.named_parameters()}
    for piece in pieces(tiny_model.config):
        piece.view(parameters[piece.parameter]).add_(1)
    assert all((parameter == 1).all() for parameter in parameters.values())
