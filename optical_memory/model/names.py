"""Where each published tensor lies in this package's model: 2,710 names at the published sizes, each exactly once.

Most published tensors are one parameter each. Queries, keys and values of the decoder, and the gate and up matrices
of its MLPs, are rows of one parameter; the experts of a layer are stacked in one parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from optical_memory.model.config import ClipConfig, DecoderConfig, OcrConfig, SamConfig

IGNORED = frozenset({"model.vision_model.embeddings.position_ids"})
"""Buffers of the reference that some exports contain and nothing needs: 0, 1, 2, …"""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A published tensor and its place: rows ``start`` to ``stop`` of ``parameter``, or of its ``expert``-th matrix."""

    name: str
    shape: Shape
    parameter: str
    start: int
    expert: int | None = None

    @property
    def stop(self) -> int:
        """The row behind the last."""
        return self.start + self.shape[0]

    def view(self, parameter: Tensor) -> Tensor:
        """Return the part of the parameter that this tensor fills."""
        matrix = parameter if self.expert is None else parameter[self.expert]
        return matrix[self.start : self.stop]


def pieces(config: OcrConfig) -> list[Piece]:
    """Return every published tensor of a model of these sizes; together they fill every parameter."""
    hidden = config.encoder.hidden_size
    joined = config.encoder.clip.width + config.encoder.sam.downsample_channels[-1]
    return [
        *_sam(config.encoder.sam),
        *_clip(config.encoder.clip),
        *_biased("model.projector.layers", "encoder.projector", hidden, joined),
        _whole("model.image_newline", "encoder.newline", hidden),
        _whole("model.view_seperator", "encoder.separator", hidden),
        *decoder_pieces(config.decoder),
    ]


def _whole(name: str, parameter: str, *shape: int) -> Piece:
    return Piece(name=name, shape=shape, parameter=parameter, start=0)


def _biased(name: str, parameter: str, *shape: int) -> Iterator[Piece]:
    yield _whole(f"{name}.weight", f"{parameter}.weight", *shape)
    yield _whole(f"{name}.bias", f"{parameter}.bias", shape[0])


def _sam(config: SamConfig) -> Iterator[Piece]:
    theirs, ours = "model.sam_model", "encoder.sam"
    width, inner, neck, patch = config.width, config.mlp_width, config.neck_channels, config.patch_size
    yield _whole(f"{theirs}.pos_embed", f"{ours}.positions", 1, config.grid, config.grid, width)
    yield from _biased(f"{theirs}.patch_embed.proj", f"{ours}.patch", width, 3, patch, patch)
    for index in range(config.layers):
        block, layer = f"{theirs}.blocks.{index}", f"{ours}.layers.{index}"
        side = config.grid if index in config.global_attn_indexes else config.window_size
        for axis in ("rel_pos_h", "rel_pos_w"):
            shape = (2 * side - 1, width // config.heads)
            yield _whole(f"{block}.attn.{axis}", f"{layer}.attention.{axis}", *shape)
        yield from _biased(f"{block}.attn.qkv", f"{layer}.attention.qkv", 3 * width, width)
        yield from _biased(f"{block}.attn.proj", f"{layer}.attention.out", width, width)
        yield from _biased(f"{block}.mlp.lin1", f"{layer}.mlp.up", inner, width)
        yield from _biased(f"{block}.mlp.lin2", f"{layer}.mlp.down", width, inner)
        yield from _biased(f"{block}.norm1", f"{layer}.norm1", width)
        yield from _biased(f"{block}.norm2", f"{layer}.norm2", width)
    yield _whole(f"{theirs}.neck.0.weight", f"{ours}.neck.0.weight", neck, width, 1, 1)
    yield from _biased(f"{theirs}.neck.1", f"{ours}.neck.1", neck)
    yield _whole(f"{theirs}.neck.2.weight", f"{ours}.neck.2.weight", neck, neck, 3, 3)
    yield from _biased(f"{theirs}.neck.3", f"{ours}.neck.3", neck)
    widths = (neck, *config.downsample_channels)
    for index, out in enumerate(config.downsample_channels):
        # The reference counts its two convolutions on from the neck: net_2, net_3.
        name = f"{theirs}.net_{index + 2}.weight"
        yield _whole(name, f"{ours}.compressor.{index}.weight", out, widths[index], 3, 3)


def _clip(config: ClipConfig) -> Iterator[Piece]:
    theirs, ours = "model.vision_model", "encoder.clip"
    width, inner, patch = config.width, config.mlp_width, config.patch_size
    yield _whole(f"{theirs}.embeddings.class_embedding", f"{ours}.class_token", width)
    yield _whole(f"{theirs}.embeddings.patch_embedding.weight", f"{ours}.unused_patch", width, 3, patch, patch)
    yield _whole(f"{theirs}.embeddings.position_embedding.weight", f"{ours}.positions", 1 + config.grid**2, width)
    yield from _biased(f"{theirs}.pre_layrnorm", f"{ours}.norm", width)
    for index in range(config.layers):
        block, layer = f"{theirs}.transformer.layers.{index}", f"{ours}.layers.{index}"
        yield from _biased(f"{block}.self_attn.qkv_proj", f"{layer}.attention.qkv", 3 * width, width)
        yield from _biased(f"{block}.self_attn.out_proj", f"{layer}.attention.out", width, width)
        yield from _biased(f"{block}.mlp.fc1", f"{layer}.mlp.up", inner, width)
        yield from _biased(f"{block}.mlp.fc2", f"{layer}.mlp.down", width, inner)
        yield from _biased(f"{block}.layer_norm1", f"{layer}.norm1", width)
        yield from _biased(f"{block}.layer_norm2", f"{layer}.norm2", width)


def decoder_pieces(config: DecoderConfig) -> Iterator[Piece]:
    """Yield the published tensors of a decoder, which carry the names of a llama's where all layers are dense."""
    width = config.hidden_size
    yield _whole("model.embed_tokens.weight", "decoder.embed.weight", config.vocab_size, width)
    for index in range(config.num_hidden_layers):
        block, layer = f"model.layers.{index}", f"decoder.layers.{index}"
        yield _whole(f"{block}.input_layernorm.weight", f"{layer}.norm1.weight", width)
        yield _whole(f"{block}.post_attention_layernorm.weight", f"{layer}.norm2.weight", width)
        yield from _attention(config, f"{block}.self_attn", f"{layer}.attention")
        if index < config.first_k_dense_replace:
            yield from _mlp(f"{block}.mlp", f"{layer}.mlp", config.intermediate_size, width)
        else:
            yield from _mixture(config, f"{block}.mlp", f"{layer}.mlp")
    yield _whole("model.norm.weight", "decoder.norm.weight", width)
    yield _whole("lm_head.weight", "decoder.head.weight", config.vocab_size, width)


def _attention(config: DecoderConfig, theirs: str, ours: str) -> Iterator[Piece]:
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    start = 0
    for letter, count in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
        shape = (count * config.head_dim, config.hidden_size)
        yield Piece(name=f"{theirs}.{letter}_proj.weight", shape=shape, parameter=f"{ours}.qkv.weight", start=start)
        start += shape[0]
    yield _whole(f"{theirs}.o_proj.weight", f"{ours}.out.weight", config.hidden_size, heads * config.head_dim)


def _mlp(theirs: str, ours: str, inner: int, width: int, *, expert: int | None = None) -> Iterator[Piece]:
    ending = ".weight" if expert is None else ""
    up, down = f"{ours}.gate_up{ending}", f"{ours}.down{ending}"
    for start, part in ((0, "gate"), (inner, "up")):
        name = f"{theirs}.{part}_proj.weight"
        yield Piece(name=name, shape=(inner, width), parameter=up, start=start, expert=expert)
    yield Piece(name=f"{theirs}.down_proj.weight", shape=(width, inner), parameter=down, start=0, expert=expert)


def _mixture(config: DecoderConfig, theirs: str, ours: str) -> Iterator[Piece]:
    width, inner = config.hidden_size, config.moe_intermediate_size
    yield _whole(f"{theirs}.gate.weight", f"{ours}.router.weight", config.n_routed_experts, width)
    for expert in range(config.n_routed_experts):
        yield from _mlp(f"{theirs}.experts.{expert}", f"{ours}.experts", inner, width, expert=expert)
    if config.n_shared_experts:
        yield from _mlp(f"{theirs}.shared_experts", f"{ours}.shared", config.n_shared_experts * inner, width)
