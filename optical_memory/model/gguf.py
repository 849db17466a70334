"""GGUF files, as llama.cpp and Ollama keep language models: sizes, tokens, and tensors of four kinds.

Source of the layout: ggml/docs/gguf.md and ggml-quants.c of github.com/ggml-org/llama.cpp (2025-02).  Read are F32,
F16, and blocks of 32 weights with a scale: Q8_0 (w = d·q) and Q4_1 (w = d·q + m).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from optical_memory.errors import CheckpointError, UnsupportedConfigError
from optical_memory.model.config import DecoderConfig
from optical_memory.model.llama import config_of

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_BLOCK = 32
_F32, _F16, _Q4_1, _Q8_0 = 0, 1, 3, 8
_BYTES = {_F32: 4.0, _F16: 2.0, _Q4_1: 20 / _BLOCK, _Q8_0: 34 / _BLOCK}
"""Bytes a weight."""
_LAYER = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
_TOP = {
    "token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    shape: tuple[int, ...]
    kind: int
    offset: int


class Gguf(Mapping[str, Tensor]):
    """A GGUF file of a llama: ``fields`` are its metadata; its tensors are float32, by their published names.

    Errors: CheckpointError where it is no whole GGUF file, UnsupportedConfigError for what is not implemented.
    """

    def __init__(self, path: Path) -> None:
        """Map the file and read its head."""
        self.path = path
        try:
            with path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._place = 0
            self.fields, self._entries, self._start = self._head()
        except (OSError, ValueError, struct.error, KeyError, UnicodeDecodeError, OverflowError) as error:
            raise CheckpointError(f"{str(path)!r} is not a whole GGUF file: {error}") from error

    @property
    def config(self) -> DecoderConfig:
        """The model's sizes. Errors: UnsupportedConfigError."""
        field, kind = self.fields, self.fields.get("general.architecture")
        if kind != "llama":
            raise UnsupportedConfigError(f"{str(self.path)!r} holds a {kind!r}; only 'llama' is implemented")
        names = {
            "num_hidden_layers": "block_count", "max_position_embeddings": "context_length",
            "hidden_size": "embedding_length", "intermediate_size": "feed_forward_length",
            "num_attention_heads": "attention.head_count", "num_key_value_heads": "attention.head_count_kv",
            "rope_theta": "rope.freq_base", "rms_norm_eps": "attention.layer_norm_rms_epsilon",
        }  # fmt: skip
        sizes = {ours: field[f"llama.{theirs}"] for ours, theirs in names.items() if f"llama.{theirs}" in field}
        special = {f"{name}_token_id": field[f"tokenizer.ggml.{name}_token_id"] for name in ("bos", "eos")}
        return config_of({**sizes, **special, "vocab_size": len(field["tokenizer.ggml.tokens"])})

    @property
    def tied(self) -> bool:
        """Whether the head's matrix is the embeddings'."""
        return "output.weight" not in self._entries

    def __getitem__(self, name: str) -> Tensor:
        their = self._names[name]
        values = self._values(self._entries[their])
        for part, key in (("attn_q", "head_count"), ("attn_k", "head_count_kv")):
            if part in their and "norm" not in their:
                values = _halves(values, int(self.fields[f"llama.attention.{key}"]))
        return torch.from_numpy(np.ascontiguousarray(values))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def _names(self) -> dict[str, str]:
        return {_published(name): name for name in self._entries if name != "rope_freqs.weight"}

    def _take(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self._data, self._place)
        self._place += struct.calcsize(form)
        return value

    def _text(self) -> str:
        length = self._take("<Q")
        start, self._place = self._place, self._place + length
        if self._place > len(self._data):
            raise ValueError("it ends early")
        return bytes(self._data[start : self._place]).decode("utf-8", "replace")

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind == _ARRAY:
            item, count = self._take("<I"), self._take("<Q")
            return [self._value(item) for _ in range(count)]
        return self._take(_SCALARS[kind])

    def _head(self) -> tuple[dict[str, Any], dict[str, _Entry], int]:
        if self._data[:4] != b"GGUF":
            raise ValueError("its first bytes are not GGUF")
        self._place = 8
        tensors, fields = self._take("<Q"), {}
        for _ in range(self._take("<Q")):
            name = self._text()
            fields[name] = self._value(self._take("<I"))
        entries = {}
        for _ in range(tensors):
            name = self._text()
            shape = tuple(self._take("<Q") for _ in range(self._take("<I")))[::-1]
            entries[name] = _Entry(shape=shape, kind=self._take("<I"), offset=self._take("<Q"))
        align = int(fields.get("general.alignment", 32))
        return fields, entries, -(-self._place // align) * align

    def _values(self, entry: _Entry) -> npt.NDArray[np.float32]:
        if entry.kind not in _BYTES:
            raise UnsupportedConfigError(
                f"{str(self.path)!r}: tensors of GGUF type {entry.kind} are not read; use a file in Q4_1, Q8_0, F16"
            )
        count = int(np.prod(entry.shape))
        start, size = self._start + entry.offset, int(count * _BYTES[entry.kind])
        if start + size > len(self._data):
            raise CheckpointError(f"{str(self.path)!r} ends early: it is not whole")
        raw = np.frombuffer(self._data, np.uint8, size, start)
        if entry.kind in (_F32, _F16):
            return raw.view(np.float32 if entry.kind == _F32 else np.float16).astype(np.float32).reshape(entry.shape)
        return (_q8_0 if entry.kind == _Q8_0 else _q4_1)(raw).reshape(entry.shape)


def _q8_0(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    blocks = raw.reshape(-1, 34)
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)  # (N, 1)
    values: npt.NDArray[np.float32] = blocks[:, 2:].view(np.int8).astype(np.float32) * scale
    return values


def _q4_1(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    blocks = raw.reshape(-1, 20)
    pair = blocks[:, :4].copy().view(np.float16).astype(np.float32)  # (N, 2): scale, least
    nibbles = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], 1).astype(np.float32)  # (N, 32)
    values: npt.NDArray[np.float32] = nibbles * pair[:, :1] + pair[:, 1:]
    return values


def _published(name: str) -> str:
    if name in _TOP:
        return _TOP[name]
    parts = name.split(".")
    if len(parts) != 4 or parts[0] != "blk" or parts[2] not in _LAYER:
        raise UnsupportedConfigError(f"a GGUF tensor named {name!r} is not of a llama")
    return f"model.layers.{parts[1]}.{_LAYER[parts[2]]}.{parts[3]}"


def _halves(values: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """Undo the order of rows that llama.cpp turns in neighbouring pairs: back to halves of each head."""
    out, wide = values.shape
    return values.reshape(heads, out // heads // 2, 2, wide).swapaxes(1, 2).reshape(out, wide)


def tokenizer_json(fields: Mapping[str, Any]) -> str:
    """Return a ``tokenizer.json`` of a GGUF file's byte-level BPE. Errors: UnsupportedConfigError."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    if fields.get("tokenizer.ggml.model") != "gpt2" or fields.get("tokenizer.ggml.pre") not in ("smollm", "gpt-2"):
        kind = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre")
        raise UnsupportedConfigError(f"a GGUF tokenizer of kind {kind!r} is not built; give a folder with its own")
    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ", 1)) for pair in fields["tokenizer.ggml.merges"]]
    inner = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    digits = [pre_tokenizers.Digits(individual_digits=True)] if fields["tokenizer.ggml.pre"] == "smollm" else []
    inner.pre_tokenizer = pre_tokenizers.Sequence([*digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    inner.decoder = decoders.ByteLevel()
    control = [tokens[n] for n, kind in enumerate(fields["tokenizer.ggml.token_type"]) if kind == 3]
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return str(inner.to_str())
