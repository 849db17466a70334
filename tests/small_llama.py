"""A small language model of the llama family with random weights, for the tokenizer of bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bytes_tokenizer import bytes_tokenizer

torch = pytest.importorskip("torch")


def llama_sizes(**others: Any) -> dict[str, Any]:
    """Return its sizes, as the config of a checkpoint of the hub has them; ``others`` take the place of its own."""
    sizes = {
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 6,
        "num_attention_heads": 2, "num_key_value_heads": 1, "rms_norm_eps": 1e-5, "rope_theta": 10_000.0,
        "max_position_embeddings": 2048, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": True,
        "vocab_size": bytes_tokenizer().get_vocab_size(),
    }  # fmt: skip
    return sizes | others


def write_llama(folder: Path, **others: Any) -> None:
    """Write it to a folder that is there, as the hub has checkpoints."""
    from safetensors.torch import save_file

    from optical_memory.model.llama import config_of
    from optical_memory.model.names import decoder_pieces

    sizes = llama_sizes(**others)
    (folder / "config.json").write_text(json.dumps(sizes))
    (folder / "tokenizer.json").write_text(bytes_tokenizer().to_str())
    torch.manual_seed(0)
    pieces = [piece for piece in decoder_pieces(config_of(sizes)) if piece.name != "lm_head.weight"]
    save_file({p.name: torch.randn(p.shape) * 0.1 + (len(p.shape) == 1) for p in pieces}, folder / "model.safetensors")
