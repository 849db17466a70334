"""A language model of the llama family, in the decoder's own classes: all layers dense, the head tied where asked.

The published tensors of a llama carry the names of the decoder's (``names.py``), and its rotary pairs lie as the
decoder's do, so the cache, the decoding step and the prefix store serve both. What is new here: a position may carry
more than an embedding. ``x`` of width ``(1 + levels) * D`` holds, behind the embedding, what is added to that position
before layers 1 to ``levels``; that is how vision tokens tell more than an embedding has room for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optical_memory.errors import CheckpointError, UnsupportedConfigError
from optical_memory.model.config import DecoderConfig
from optical_memory.model.decoder import Attend, Decoder, causal
from optical_memory.model.names import decoder_pieces

_IMPLEMENTED: Mapping[str, tuple[Any, ...]] = {
    "model_type": ("llama",),
    "hidden_act": ("silu",),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "rope_scaling": (None,),
    "rope_interleaved": (False, None),
    "quantization_config": (None,),
    "sliding_window": (None,),
}
"""What a key of ``config.json`` may ask for, where only some values are implemented."""
_SIZES = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "rms_norm_eps", "rope_theta", "max_position_embeddings", "bos_token_id", "eos_token_id",
)  # fmt: skip


def config_of(data: Mapping[str, Any]) -> DecoderConfig:
    """Read a published ``config.json`` of the llama family. Errors: UnsupportedConfigError."""
    for key, allowed in _IMPLEMENTED.items():
        if key in data and data[key] not in allowed:
            raise UnsupportedConfigError(f"config: {key!r} is {data[key]!r}; only {allowed[0]!r} is implemented")
    missing = [key for key in _SIZES[:5] if key not in data]
    if missing:
        raise UnsupportedConfigError(f"config: {', '.join(missing)} missing; is this a llama's config.json?")
    sizes = {key: data[key] for key in _SIZES if data.get(key) is not None}
    sizes.setdefault("num_key_value_heads", sizes["num_attention_heads"])
    head = data.get("head_dim") or sizes["hidden_size"] // sizes["num_attention_heads"]
    if head * sizes["num_attention_heads"] != sizes["hidden_size"]:
        raise UnsupportedConfigError(f"config: 'head_dim' is {head!r}; heads that do not fill the width are not built")
    return DecoderConfig(**sizes, first_k_dense_replace=sizes["num_hidden_layers"])


class Llama(Decoder):
    """Embeddings, dense layers, final norm, head; positions may carry additions to later layers."""

    def __init__(self, config: DecoderConfig, *, tied: bool = True) -> None:
        """Build with random values; ``tied`` makes the head's matrix the embeddings'."""
        super().__init__(config)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, x: Tensor, *, positions: Tensor | None = None, attend: Attend = causal) -> Tensor:
        """Run (B, T, D), or (B, T, (1 + levels)·D) with additions for layers 1 to levels, to (B, T, D)."""
        if positions is None:
            positions = torch.arange(x.shape[1], device=x.device)  # (T,)
        rotary = self.rotary(positions)
        x, *additions = torch.split(x, self.config.hidden_size, dim=-1)  # (B, T, D) each
        for index, layer in enumerate(self.layers):
            if 0 < index <= len(additions):
                x = x + additions[index - 1]  # (B, T, D)
            x = layer(x, rotary, attend, index)  # (B, T, D)
        normal: Tensor = self.norm(x)  # (B, T, D)
        return normal


def fill(model: Llama, tensors: Mapping[str, Tensor]) -> None:
    """Give a model the published tensors of its names, in its own type. Errors: CheckpointError."""
    pieces = {piece.name: piece for piece in decoder_pieces(model.config)}
    tied = model.head.weight is model.embed.weight
    if tied:
        del pieces["lm_head.weight"]
    missing = tuple(sorted(pieces.keys() - tensors.keys()))
    unexpected = tuple(sorted(tensors.keys() - pieces.keys() - {"lm_head.weight"}))
    misshaped = tuple(n for n, piece in pieces.items() if n in tensors and tuple(tensors[n].shape) != piece.shape)
    if missing or unexpected or misshaped:
        raise CheckpointError(
            f"these are not this model's weights: {len(missing)} tensors missing, {len(unexpected)} unexpected,"
            f" {len(misshaped)} of another shape, such as {(*missing, *unexpected, *misshaped)[0]!r}",
            missing=missing,
            unexpected=unexpected,
            misshaped=misshaped,
        )
    with torch.no_grad():
        for name, piece in pieces.items():
            piece.view(model.get_parameter(piece.parameter.removeprefix("decoder."))).copy_(tensors[name])


class LowRank(nn.Module):
    """A frozen matrix with an update of low rank that is trained: ``x W' + x A' B'``, B zero at first."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        """Take the place of ``linear``."""
        super().__init__()
        wide, narrow = linear.in_features, linear.out_features
        self.weight = linear.weight
        self.weight.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(rank, wide) / wide**0.5)
        self.b = nn.Parameter(torch.zeros(narrow, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., wide) to (..., narrow)."""
        update = F.linear(F.linear(x, self.a.to(x.dtype)), self.b.to(x.dtype))
        return F.linear(x, self.weight.to(x.dtype)) + update


_UPDATED = ("attention.qkv", "attention.out", "mlp.gate_up", "mlp.down")
"""Matrices of each layer that get an update."""


def with_updates(model: Llama, rank: int) -> dict[str, LowRank]:
    """Put an update of ``rank`` beside every matrix of the layers, freeze all else; return the updates by name."""
    model.requires_grad_(False)
    updates = {}
    for number, layer in enumerate(model.layers):
        for name in _UPDATED:
            owner_name, _, leaf = name.partition(".")
            owner = layer.get_submodule(owner_name)
            linear = owner.get_submodule(leaf)
            assert isinstance(linear, nn.Linear)
            update = LowRank(linear, rank)
            setattr(owner, leaf, update)
            updates[f"layers.{number}.{name}"] = update
    return updates


def merge(model: Llama, tensors: Mapping[str, Tensor]) -> None:
    """Add trained updates, ``layers.N.MATRIX.a`` and ``.b``, to their matrices. Errors: CheckpointError."""
    names = {name[: -len(".a")] for name in tensors if name.endswith(".a")}
    with torch.no_grad():
        for name in names:
            try:
                weight = model.get_parameter(f"{name}.weight")
                weight.add_((tensors[f"{name}.b"].float() @ tensors[f"{name}.a"].float()).to(weight.dtype))
            except (AttributeError, KeyError, RuntimeError) as error:
                raise CheckpointError(f"the update {name!r} does not fit this language model: {error}") from error


def read_config(folder: Path) -> tuple[DecoderConfig, bool]:
    """Read a folder's sizes and whether its head is tied. Errors: CheckpointError, UnsupportedConfigError."""
    try:
        data = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: no config.json that can be read: {error}") from error
    return config_of(data), bool(data.get("tie_word_embeddings", False))
