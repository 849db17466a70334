"""Configs: the published one, parts of it, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from optical_memory.errors import UnsupportedConfigError
from optical_memory.model.config import DecoderConfig, OcrConfig, check_overrides


def test_published_config_is_the_default(parity: Path) -> None:
    published = json.loads((parity / "deepseek_ocr/config.json").read_text())
    assert OcrConfig.from_published(published) == OcrConfig()
    assert OcrConfig.from_published({}) == OcrConfig()


def test_round_trip(tiny_sizes: dict[str, Any]) -> None:
    for overrides in ({}, tiny_sizes, {"rope_theta": 5e5, "n_shared_experts": 0, "torch_dtype": "float16"}):
        config = OcrConfig.from_published(overrides)
        assert OcrConfig.from_published(json.loads(json.dumps(config.to_published()))) == config


def test_overrides_by_published_name(parity: Path) -> None:
    golden = json.loads((parity / "manifest.json").read_text())["decoder_small.npz"]["config"]
    check_overrides(golden)
    config = OcrConfig.from_published(golden)
    for key in ("hidden_size", "num_hidden_layers", "n_routed_experts", "moe_intermediate_size", "vocab_size"):
        assert getattr(config.decoder, key) == golden[key]
    assert config.encoder.hidden_size == 256
    assert config.encoder.sam == OcrConfig().encoder.sam


def test_the_top_level_wins_over_language_config() -> None:
    config = OcrConfig.from_published({"language_config": {"vocab_size": 7, "num_hidden_layers": 3}, "vocab_size": 9})
    assert (config.decoder.vocab_size, config.decoder.num_hidden_layers) == (9, 3)


def test_key_value_heads_follow_the_heads() -> None:
    config = OcrConfig.from_published({"hidden_size": 256, "num_attention_heads": 4}).decoder
    assert (config.num_key_value_heads, config.head_dim) == (4, 64)


def test_vision_sizes(tiny_sizes: dict[str, Any]) -> None:
    config = OcrConfig.from_published(tiny_sizes).encoder
    assert (config.sam.width, config.sam.mlp_width, config.sam.grid, config.sam.stride) == (32, 128, 8, 64)
    assert (config.clip.width, config.clip.mlp_width, config.clip.grid) == (48, 192, 2)
    assert config.hidden_size == 40


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("use_mla", True),
        ("kv_lora_rank", 512),
        ("q_lora_rank", 1536),
        ("topk_method", "group_limited_greedy"),
        ("topk_method", "noaux_tc"),
        ("scoring_func", "sigmoid"),
        ("n_group", 8),
        ("topk_group", 3),
        ("moe_layer_freq", 2),
        ("hidden_act", "gelu"),
        ("attention_bias", True),
        ("rope_scaling", {"type": "yarn", "factor": 40}),
        ("tie_word_embeddings", True),
        ("lm_head", False),
        ("rm_head", True),
        ("tile_tag", "1D"),
        ("global_view_pos", "tail"),
        ("model_type", "llama"),
        ("quantization_config", {"bits": 4}),
    ],
)
def test_unimplemented_settings_are_refused(key: str, value: Any) -> None:
    for data in ({key: value}, {"language_config": {key: value}}):
        with pytest.raises(UnsupportedConfigError) as error:
            OcrConfig.from_published(data)
        assert repr(key) in str(error.value) and repr(value) in str(error.value)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"vision_config": {"model_name": "siglip"}}, "siglip"),
        ({"vision_config": {"width": {"dinov2": {}}}}, "dinov2"),
        ({"vision_config": {"width": {"sam_vit_b": {"depth": 3}}}}, "depth"),
        ({"vision_config": {"width": {"sam_vit_b": {"width": 100}}}}, "sam_vit_b.width"),
        ({"vision_config": {"width": {"sam_vit_b": {"downsample_channels": [64, 128]}}}}, "downsample_channels"),
        ({"vision_config": {"width": {"sam_vit_b": {"downsample_channels": []}}}}, "downsample_channels"),
        ({"vision_config": {"width": {"sam_vit_b": {"downsample_channels": [0, 1024]}}}}, "downsample_channels"),
        ({"bos_token_id": 129_280}, "bos_token_id"),
        ({"eos_token_id": [1, 2]}, "eos_token_id"),
        ({"vision_config": []}, "vision_config"),
        ({"vision_config": "big"}, "big"),
        ({"projector_config": {"projector_type": "mlp_gelu"}}, "mlp_gelu"),
        ({"projector_config": {"n_embed": 2048}}, "2048"),
        ({"projector_config": {"input_dim": 1024}}, "1024"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"hidden_size": -8}, "-8"),
        ({"hidden_size": "1280"}, "'1280'"),
        ({"hidden_size": 12.5}, "12.5"),
        ({"hidden_size": True}, "True"),
        ({"hidden_size": 1281}, "1281"),
        ({"hidden_size": 30, "num_attention_heads": 10}, "head_dim"),
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
        ({"num_experts_per_tok": 65}, "num_experts_per_tok"),
        ({"norm_topk_prob": 1}, "norm_topk_prob"),
        ({"rms_norm_eps": float("nan")}, "nan"),
        ({"rope_theta": float("inf")}, "inf"),
        ({"vocab_size": None}, "vocab_size"),
    ],
)
def test_impossible_values_are_refused(data: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedConfigError, match=named):
        OcrConfig.from_published(data)


def test_a_misspelt_override_is_refused() -> None:
    with pytest.raises(UnsupportedConfigError, match="num_hidden_layer"):
        check_overrides({"num_hidden_layer": 2})
    check_overrides({entry.name: None for entry in dataclasses.fields(DecoderConfig)})


def test_configs_are_values() -> None:
    config = OcrConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.decoder.vocab_size = 3  # type: ignore[misc]
    assert hash(config) == hash(OcrConfig())
