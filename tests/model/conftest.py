"""Golden numbers of the published model, stand-in weights by recipe, and models filled with them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Recipe = Callable[[str, Iterable[int]], Any]


@pytest.fixture(scope="session")
def parity(shared: Path) -> Path:
    """Folder of the golden numbers."""
    return shared / "parity"


@pytest.fixture(scope="session")
def recipe(parity: Path) -> Recipe:
    """The stand-in weights: a function of a published name and a shape."""
    spec = importlib.util.spec_from_file_location("parity_weights", parity / "weights.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.tensor


@pytest.fixture(scope="module")
def full_encoder(parity: Path, recipe: Recipe) -> Any:
    """The model at its published sizes, its encoder filled by recipe (1.6 GB; its decoder takes no memory)."""
    from optical_memory.model import build

    shapes = json.loads((parity / "tensor_shapes.json").read_text())
    parts = ("model.sam_model.", "model.vision_model.", "model.projector.", "model.image_newline", "model.view_sep")
    names = [name for name in shapes if name.startswith(parts)]
    with ThreadPoolExecutor(2) as pool:  # NumPy draws outside of the interpreter's lock
        values = pool.map(lambda name: recipe(name, shapes[name]), names)
    return build("deepseek-ocr").load_tensors(dict(zip(names, values, strict=True)), strict=False)


@pytest.fixture(scope="session")
def small_decoder(parity: Path, recipe: Recipe) -> Any:
    """The decoder of the golden numbers, filled by recipe, reached as a user would."""
    from optical_memory.model import build
    from optical_memory.model.names import pieces

    config = json.loads((parity / "manifest.json").read_text())["decoder_small.npz"]["config"]
    model = build("deepseek-ocr", **config)
    names = {piece.name: piece.shape for piece in pieces(model.config) if piece.parameter.startswith("decoder.")}
    return model.load_tensors({name: recipe(name, shape) for name, shape in names.items()}, strict=False)


@pytest.fixture(scope="session")
def tiny_sizes() -> dict[str, Any]:
    """Overrides for a model of every part that takes milliseconds and 300 kB."""
    sam = {"width": 32, "layers": 3, "heads": 2, "window_size": 3, "global_attn_indexes": [1], "neck_channels": 16}
    clip = {"width": 48, "layers": 2, "heads": 4}
    return {
        "vision_config": {
            "image_size": 128,
            "width": {
                "sam_vit_b": sam | {"downsample_channels": [24, 48]},
                "clip-l-14-224": clip | {"image_size": 28, "patch_size": 14},
            },
        },
        "hidden_size": 40,
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "intermediate_size": 64,
        "moe_intermediate_size": 16,
        "n_routed_experts": 8,
        "num_experts_per_tok": 3,
        "vocab_size": 100,
        "max_position_embeddings": 64,
    }


@pytest.fixture
def tiny_model(tiny_sizes: dict[str, Any]) -> Any:
    """A model of these sizes with random weights."""
    from optical_memory.model import build

    return build("deepseek-ocr", **tiny_sizes)


def relative_error(mine: Any, golden: Any) -> float:
    """Return the L2 norm of the difference over that of the golden values."""
    mine, golden = np.asarray(mine, dtype=np.float64), np.asarray(golden, dtype=np.float64)
    assert mine.shape == golden.shape
    return float(np.linalg.norm(mine - golden) / np.linalg.norm(golden))


@pytest.fixture(scope="session")
def error_of() -> Callable[[Any, Any], float]:
    """The measure of the golden numbers' tolerances."""
    return relative_error
