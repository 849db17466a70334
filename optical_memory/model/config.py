"""Sizes of the model, as data: the fields carry the names of the published ``config.json``, the defaults its values.

A config file, or the overrides of :func:`optical_memory.model.build`, is a partial description; what it leaves out
is as published. What it asks for and this package does not implement is an error that names the key and the value.
Source: config.json of deepseek-ai/DeepSeek-OCR (2025-10-20) and the defaults of its configuration class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from optical_memory.errors import UnsupportedConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class SamConfig:
    """The windowed first half of the encoder. Sizes in px, channels and layers; ``window_size`` in patches."""

    image_size: int = 1024
    patch_size: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    window_size: int = 14
    global_attn_indexes: tuple[int, ...] = (2, 5, 8, 11)
    neck_channels: int = 256
    downsample_channels: tuple[int, ...] = (512, 1024)
    layer_norm_eps: float = 1e-6

    @property
    def grid(self) -> int:
        """Side of the position table, in patches."""
        return self.image_size // self.patch_size

    @property
    def stride(self) -> int:
        """Px of the image's side that one token covers: 64 as published."""
        return int(self.patch_size * 2 ** len(self.downsample_channels))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipConfig:
    """The global second half of the encoder. ``image_size`` over ``patch_size`` is its position table's side."""

    image_size: int = 224
    patch_size: int = 14
    width: int = 1024
    layers: int = 24
    heads: int = 16
    mlp_width: int = 4096
    layer_norm_eps: float = 1e-5

    @property
    def grid(self) -> int:
        """Side of the position table, in tokens."""
        return self.image_size // self.patch_size


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """DeepEncoder: SAM, CLIP on top of it, and the projection to the decoder's ``hidden_size``."""

    sam: SamConfig = field(default_factory=SamConfig)
    clip: ClipConfig = field(default_factory=ClipConfig)
    hidden_size: int = 1280


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """The mixture-of-experts decoder (DeepSeek-V2 without latent attention).

    Layers before ``first_k_dense_replace`` have one MLP of ``intermediate_size``; the others have
    ``n_routed_experts`` of ``moe_intermediate_size``, of which a token takes ``num_experts_per_tok``, and
    ``n_shared_experts`` that every token takes.
    """

    vocab_size: int = 129_280
    hidden_size: int = 1280
    intermediate_size: int = 6848
    moe_intermediate_size: int = 896
    num_hidden_layers: int = 12
    num_attention_heads: int = 10
    num_key_value_heads: int = 10
    n_routed_experts: int = 64
    n_shared_experts: int = 2
    num_experts_per_tok: int = 6
    first_k_dense_replace: int = 1
    norm_topk_prob: bool = False
    routed_scaling_factor: float = 1.0
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10_000.0
    max_position_embeddings: int = 8192
    bos_token_id: int = 0
    eos_token_id: int = 1

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.hidden_size // self.num_attention_heads


@dataclass(frozen=True, slots=True, kw_only=True)
class OcrConfig:
    """The whole model. ``torch_dtype`` is the type that the checkpoint is stored in."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    torch_dtype: str = "bfloat16"

    @classmethod
    def from_published(cls, data: Mapping[str, Any]) -> OcrConfig:
        """Read a published ``config.json``, whole or in part.

        Decoder keys stand at the top or under ``language_config`` (the top wins, as in the reference). SAM and
        CLIP stand under ``vision_config["width"]`` as ``sam_vit_b`` and ``clip-l-14-224``; beside the published
        keys they take every field of :class:`SamConfig` and :class:`ClipConfig`. Keys that have no influence on
        inference are ignored. Raises UnsupportedConfigError.
        """
        language = _section(data, "language_config") | dict(data)
        vision = _section(data, "vision_config")
        projector = _section(data, "projector_config")
        for section, name in ((language, ""), (vision, "vision_config."), (projector, "projector_config.")):
            _refuse(section, name)
        decoder = _decoder(language)
        encoder = _encoder(vision, hidden_size=decoder.hidden_size)
        joined = encoder.clip.width + encoder.sam.downsample_channels[-1]
        _expect(projector.get("input_dim", joined), joined, "projector_config.input_dim")
        _expect(projector.get("n_embed", decoder.hidden_size), decoder.hidden_size, "projector_config.n_embed")
        return cls(encoder=encoder, decoder=decoder, torch_dtype=str(data.get("torch_dtype") or "bfloat16"))

    def to_published(self) -> dict[str, Any]:
        """Return the parts of a ``config.json`` that :meth:`from_published` reads back to an equal config."""
        sam, clip = dataclasses.asdict(self.encoder.sam), dataclasses.asdict(self.encoder.clip)
        width = {"sam_vit_b": sam, "clip-l-14-224": clip}
        joined = self.encoder.clip.width + self.encoder.sam.downsample_channels[-1]
        return {
            "model_type": "deepseek_vl_v2",
            "torch_dtype": self.torch_dtype,
            "vision_config": {"model_name": "deeplip_b_l", "image_size": self.encoder.sam.image_size, "width": width},
            "projector_config": {"projector_type": "linear", "input_dim": joined, "n_embed": self.decoder.hidden_size},
            "use_mla": False,
            "topk_method": "greedy",
            **dataclasses.asdict(self.decoder),
        }


_IMPLEMENTED: Mapping[str, tuple[Any, ...]] = {
    "model_type": ("deepseek_vl_v2", "deepseek_ocr", "deepseekocr", "DeepseekOCR"),
    "use_mla": (False,),
    "kv_lora_rank": (None,),
    "q_lora_rank": (None,),
    "topk_method": ("greedy", "gready"),  # the reference's configuration class spells its default so
    "scoring_func": ("softmax",),
    "n_group": (1, None),
    "topk_group": (1, None),
    "moe_layer_freq": (1,),
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "rope_scaling": (None,),
    "tie_word_embeddings": (False,),
    "lm_head": (True,),
    "rm_head": (False,),
    "tile_tag": ("2D",),
    "global_view_pos": ("head",),
    "quantization_config": (None,),
    "vision_config.model_name": ("deeplip_b_l",),
    "vision_config.model_type": ("vision",),
    "projector_config.projector_type": ("linear",),
    "projector_config.model_type": ("mlp_projector",),
}
"""What a key may ask for, where only some values are implemented."""

_IGNORED = frozenset(
    "_name_or_path architectures auto_map candidate_resolutions transformers_version torch_dtype language_config"
    " vision_config projector_config qk_nope_head_dim qk_rope_head_dim v_head_dim attention_dropout aux_loss_alpha"
    " seq_aux ep_size initializer_range pad_token_id pretraining_tp use_cache".split()
)
"""Keys without influence on inference (with ``use_mla`` off, the latent attention's head sizes too)."""


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """Raise UnsupportedConfigError for a top-level key that no config of this family has."""
    known = _IGNORED | _IMPLEMENTED.keys() | {each.name for each in dataclasses.fields(DecoderConfig)}
    for key, value in overrides.items():
        if key not in known:
            raise UnsupportedConfigError(f"unknown config key {key!r} (with value {value!r})")


def _section(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    section = {} if data.get(key) is None else data[key]
    if not isinstance(section, Mapping):
        raise UnsupportedConfigError(f"config: {key!r} must be an object, not {section!r}")
    return dict(section)


def _refuse(section: Mapping[str, Any], prefix: str) -> None:
    for key, value in section.items():
        allowed = _IMPLEMENTED.get(prefix + key)
        if allowed is not None and value not in allowed:
            choice = " or ".join(repr(each) for each in allowed)
            raise UnsupportedConfigError(f"config: {prefix + key!r} is {value!r}; only {choice} is implemented")


def _expect(value: Any, wanted: int, key: str) -> None:
    if value != wanted:
        raise UnsupportedConfigError(f"config: {key!r} is {value!r}, but the sizes around it make it {wanted!r}")


def _decoder(language: Mapping[str, Any]) -> DecoderConfig:
    names = {each.name for each in dataclasses.fields(DecoderConfig)}
    values = {key: value for key, value in language.items() if key in names}
    if "n_shared_experts" in values:
        values["n_shared_experts"] = values["n_shared_experts"] or 0  # null: none
    if "num_attention_heads" in values:
        values.setdefault("num_key_value_heads", values["num_attention_heads"])
    config = _typed(DecoderConfig, values, "")
    _divides(config.num_attention_heads, config.hidden_size, "num_attention_heads", "hidden_size")
    _divides(config.num_key_value_heads, config.num_attention_heads, "num_key_value_heads", "num_attention_heads")
    _divides(2, config.head_dim, "2 (rotary halves)", "head_dim")
    for key in ("bos_token_id", "eos_token_id"):
        if getattr(config, key) >= config.vocab_size:
            raise UnsupportedConfigError(
                f"config: {key!r} is {getattr(config, key)!r}, outside the {config.vocab_size} of 'vocab_size'"
            )
    if config.num_experts_per_tok > config.n_routed_experts:
        raise UnsupportedConfigError(
            f"config: 'num_experts_per_tok' is {config.num_experts_per_tok!r}, more than the"
            f" {config.n_routed_experts} of 'n_routed_experts'"
        )
    return config


def _encoder(vision: Mapping[str, Any], *, hidden_size: int) -> EncoderConfig:
    width = _section(vision, "width")
    for name in width.keys() - {"sam_vit_b", "clip-l-14-224"}:
        raise UnsupportedConfigError(f"config: 'vision_config.width' asks for {name!r}, which is not implemented")
    sam_values, clip_values = _section(width, "sam_vit_b"), _section(width, "clip-l-14-224")
    if "image_size" in vision:
        sam_values.setdefault("image_size", vision["image_size"])
    for values in (sam_values, clip_values):
        if "width" in values:
            values.setdefault("mlp_width", 4 * values["width"])
    sam = _typed(SamConfig, sam_values, "vision_config.width.sam_vit_b.")
    clip = _typed(ClipConfig, clip_values, "vision_config.width.clip-l-14-224.")
    if not all(sam.downsample_channels) or not sam.downsample_channels:
        raise UnsupportedConfigError(f"config: 'sam_vit_b.downsample_channels' cannot be {sam.downsample_channels!r}")
    _divides(sam.heads, sam.width, "sam_vit_b.heads", "sam_vit_b.width")
    _divides(clip.heads, clip.width, "clip-l-14-224.heads", "clip-l-14-224.width")
    _expect(sam.downsample_channels[-1], clip.width, "sam_vit_b.downsample_channels[-1]")
    return EncoderConfig(sam=sam, clip=clip, hidden_size=hidden_size)


def _divides(part: int, whole: int, part_key: str, whole_key: str) -> None:
    if whole % part:
        raise UnsupportedConfigError(
            f"config: {whole_key!r} is {whole!r}, which {part_key!r} ({part!r}) does not divide"
        )


_Sizes = TypeVar("_Sizes", SamConfig, ClipConfig, DecoderConfig)


def _typed(kind: type[_Sizes], values: Mapping[str, Any], prefix: str) -> _Sizes:
    """Build a config of ``kind`` from JSON values, each checked against the type of its default."""
    default = kind()
    known = {each.name: getattr(default, each.name) for each in dataclasses.fields(kind)}
    out: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise UnsupportedConfigError(f"unknown config key {prefix + key!r} (with value {value!r})")
        if not _fits(value, known[key], may_be_zero=key in _MAY_BE_ZERO):
            raise UnsupportedConfigError(f"config: {prefix + key!r} cannot be {value!r}")
        out[key] = tuple(value) if isinstance(value, list) else value
    return kind(**out)


_MAY_BE_ZERO = frozenset({"first_k_dense_replace", "n_shared_experts", "bos_token_id", "eos_token_id"})


def _fits(value: Any, default: Any, *, may_be_zero: bool) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, tuple):
        return isinstance(value, list | tuple) and all(isinstance(each, int) and each >= 0 for each in value)
    if isinstance(default, float):
        return isinstance(value, int | float) and 0 < value < float("inf")
    return isinstance(value, int) and (value > 0 or (may_be_zero and value == 0))
