"""A small language model of the llama family with random weights, an adapter for it, and a tokenizer of bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from bytes_tokenizer import bytes_tokenizer  # noqa: E402
from small_llama import write_llama  # noqa: E402


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder as the hub has them."""
    folder = tmp_path_factory.mktemp("llama")
    write_llama(folder)
    return folder


@pytest.fixture(scope="session")
def adapter_folder(llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of an adapter and updates for that model, as a run packs them."""
    from optical_memory.model.language import weights
    from optical_memory.model.language.adapter import AdapterConfig

    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(1)
    config = AdapterConfig(hidden_size=64, width=128, row_blocks=1, page_blocks=1, levels=2, key=32)
    shapes = {"layers.1.attention.qkv.a": (2, 64), "layers.1.attention.qkv.b": (128, 2)}
    trained = weights.Trained(config, shapes)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.normal_(std=0.05)
    sizes = {"vocab_size": bytes_tokenizer().get_vocab_size(), "hidden_size": 64}
    import dataclasses

    weights.save(trained, folder, {"model": "tiny", "sizes": sizes, "adapter": dataclasses.asdict(config)})
    return folder


@pytest.fixture(scope="session")
def language(llama_folder: Path, adapter_folder: Path) -> Any:
    """The language model, in float32."""
    from optical_memory.model.language.model import load

    return load(str(llama_folder), folder=adapter_folder, dtype=torch.float32)
