"""GGUF files: blocks against plain arithmetic, the order of rows, tokens, and files that are not whole."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
tokenizers = pytest.importorskip("tokenizers")

from bytes_tokenizer import bytes_tokenizer  # noqa: E402

from optical_memory.errors import CheckpointError, UnsupportedConfigError  # noqa: E402
from optical_memory.model.gguf import Gguf, tokenizer_json  # noqa: E402


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _field(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, list):
        texts = isinstance(value[0], str)
        items = b"".join(_text(each) if texts else struct.pack("<i", each) for each in value)
        return struct.pack("<IIQ", 9, 8 if texts else 5, len(value)) + items
    return struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value)


def write(path: Path, fields: dict[str, Any], tensors: dict[str, tuple[tuple[int, ...], int, bytes]]) -> None:
    """Write a GGUF file, version 3."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields))
    head += b"".join(_text(name) + _field(value) for name, value in fields.items())
    offset, data = 0, b""
    for name, (shape, kind, raw) in tensors.items():
        head += _text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape[::-1])
        head += struct.pack("<IQ", kind, offset)
        data += raw + b"\0" * (-len(raw) % 32)
        offset = len(data)
    path.write_bytes(head + b"\0" * (-len(head) % 32) + data)


def fields() -> dict[str, Any]:
    """Return the metadata of a small llama with a tokenizer of bytes."""
    inner = bytes_tokenizer()
    tokens = [*(inner.id_to_token(number) for number in range(inner.get_vocab_size())), "ab", "12"]
    return {
        "general.architecture": "llama", "llama.block_count": 1, "llama.context_length": 64,
        "llama.embedding_length": 64, "llama.feed_forward_length": 96, "llama.attention.head_count": 2,
        "llama.attention.head_count_kv": 1, "llama.rope.freq_base": 10_000.0,
        "llama.attention.layer_norm_rms_epsilon": 1e-5, "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.token_type": [3, 3, 3, *([1] * (len(tokens) - 3))],
        "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2,
    }  # fmt: skip


def test_blocks_are_read_as_written(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    quants = random.integers(-127, 128, (2, 32)).astype(np.int8)
    q8 = b"".join(np.float16(0.5 + n).tobytes() + quants[n].tobytes() for n in range(2))
    nibbles = random.integers(0, 16, 32)
    packed = (nibbles[:16] | nibbles[16:] << 4).astype(np.uint8)
    q4 = np.float16(0.25).tobytes() + np.float16(-2.0).tobytes() + packed.tobytes()
    norm = np.arange(64, dtype=np.float32)
    rows = np.repeat(np.arange(64, dtype=np.float32), 2).reshape(64, 2)
    tensors = {
        "blk.0.ffn_up.weight": ((1, 64), 8, q8),
        "blk.0.ffn_down.weight": ((1, 32), 3, q4),
        "output_norm.weight": ((64,), 0, norm.tobytes()),
        "blk.0.attn_q.weight": ((64, 2), 1, rows.astype(np.float16).tobytes()),
    }
    write(tmp_path / "a.gguf", fields(), tensors)
    file = Gguf(tmp_path / "a.gguf")
    assert file.tied and (file.config.hidden_size, file.config.num_key_value_heads) == (64, 1)
    wanted = np.concatenate([quants[0] * 0.5, quants[1] * 1.5])
    np.testing.assert_allclose(file["model.layers.0.mlp.up_proj.weight"].numpy()[0], wanted)
    np.testing.assert_allclose(file["model.layers.0.mlp.down_proj.weight"].numpy()[0], nibbles * 0.25 - 2.0)
    np.testing.assert_allclose(file["model.norm.weight"].numpy(), norm)
    first = file["model.layers.0.self_attn.q_proj.weight"].numpy()[:, 0]
    assert first[:4].tolist() == [0, 2, 4, 6] and first[16:18].tolist() == [1, 3]  # halves of a head, not pairs


def test_the_tokenizer_keeps_digits_and_marks_apart() -> None:
    inner = tokenizers.Tokenizer.from_str(tokenizer_json({**fields(), "tokenizer.ggml.merges": ["a b", "1 2"]}))
    assert inner.encode("ab12", add_special_tokens=False).tokens == ["ab", "1", "2"]
    assert inner.encode("<|im_end|>", add_special_tokens=False).ids == [2]
    with pytest.raises(UnsupportedConfigError, match="tokenizer of kind"):
        tokenizer_json({**fields(), "tokenizer.ggml.model": "llama"})


def test_files_that_are_not_whole_or_not_of_a_llama(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"not a GGUF file at all")
    with pytest.raises(CheckpointError, match="not a whole GGUF"):
        Gguf(tmp_path / "no.gguf")
    norm = np.zeros(64, np.float32).tobytes()
    write(tmp_path / "a.gguf", fields(), {"output_norm.weight": ((64,), 0, norm)})
    whole = (tmp_path / "a.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[:-64])
    with pytest.raises(CheckpointError, match="ends early"):
        Gguf(tmp_path / "cut.gguf")["model.norm.weight"]
    (tmp_path / "head.gguf").write_bytes(whole[:200])
    with pytest.raises(CheckpointError, match="not a whole GGUF"):
        Gguf(tmp_path / "head.gguf")
    write(tmp_path / "kind.gguf", fields(), {"output_norm.weight": ((64,), 14, norm)})
    with pytest.raises(UnsupportedConfigError, match="type 14"):
        Gguf(tmp_path / "kind.gguf")["model.norm.weight"]
    write(tmp_path / "other.gguf", {**fields(), "general.architecture": "qwen2"}, {})
    with pytest.raises(UnsupportedConfigError, match="qwen2"):
        _ = Gguf(tmp_path / "other.gguf").config
