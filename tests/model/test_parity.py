"""The published model against numbers that the reference implementation gave, in float32."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optical_memory.model.image import Pixels
from optical_memory.model.sam import split_windows

TOLERANCE = 5e-6
Error = Callable[[Any, Any], float]


def image_a(height: int, width: int) -> np.ndarray[Any, Any]:
    """Return the golden image "a", normalised, as (3, H, W)."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    image = (0.5 + 0.5 * np.sin(0.05 * x * (c + 1) + 0.03 * y)).astype(np.float32)
    return np.ascontiguousarray(((image - np.float32(0.5)) / np.float32(0.5)).transpose(2, 0, 1))


def outputs_of(model: Any, run: Callable[[], Any], **modules: str) -> dict[str, Any]:
    """Run, and return what the named submodules gave (``name``) and were given (``name_in``)."""
    found: dict[str, Any] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: Any, given: Any, out: Any) -> None:
            found[name], found[f"{name}_in"] = out, given[0]

        return hook

    with ExitStack() as hooks:
        for name, path in modules.items():
            hooks.callback(model.get_submodule(path).register_forward_hook(keep(name)).remove)
        found["result"] = run()
    return found


def check_encoder(model: Any, golden: Any, error_of: Error, *, channel: int = 1, **modules: str) -> dict[str, Any]:
    """Encode image "a", compare every array of the file, and return what the further ``modules`` gave."""
    side = golden["sam"].shape[-1] * 64
    pixels = image_a(side, side)
    assert np.array_equal(pixels[:, ::64, ::64], golden["pixels_probe"])
    modules |= {"sam": "encoder.sam", "clip": "encoder.clip", "proj": "encoder.projector"}
    found = outputs_of(model, lambda: model.sequence(pixels), **modules)
    sam, clip, proj = (found[name][0] for name in ("sam", "clip", "proj"))
    assert error_of(sam[::channel], golden["sam"]) < TOLERANCE
    assert error_of(clip[:, ::channel], golden["clip"]) < TOLERANCE
    assert error_of(proj[:, ::channel], golden["proj"]) < TOLERANCE
    assert error_of(found["result"], golden["seq"][golden["images_seq_mask"]]) < TOLERANCE
    for name in golden.files:
        if name.startswith(("clip_row", "clip_col", "proj_row", "proj_col")):
            whole = clip if name.startswith("clip") else proj
            assert error_of(whole.norm(dim=1 if "row" in name else 0), golden[name]) < TOLERANCE
    return found


def test_encoder_at_small(full_encoder: Any, parity: Path, error_of: Error) -> None:
    check_encoder(full_encoder, np.load(parity / "enc_640_a.npz"), error_of)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_encoder_at_base(full_encoder: Any, parity: Path, error_of: Error) -> None:
    check_encoder(full_encoder, np.load(parity / "enc_1024_a.npz"), error_of, channel=4)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_gundam(full_encoder: Any, parity: Path, error_of: Error) -> None:
    golden = np.load(parity / "gundam_2x3_a.npz")
    canvas = image_a(1920, 1280)
    tiles = np.stack([canvas[:, y : y + 640, x : x + 640] for y in (0, 640, 1280) for x in (0, 640)])
    assert np.array_equal(tiles[:, :, ::128, ::128], golden["tiles_probe"])
    assert golden["images_spatial_crop"].tolist() == [[2, 3]]
    sequence = full_encoder.sequence(Pixels(view=image_a(1024, 1024), tiles=tiles, grid=(2, 3)))
    assert sequence.shape == (903, 1280)
    assert error_of(sequence[:, ::2], golden["seq"][golden["images_seq_mask"]]) < TOLERANCE


def test_encoder_at_tiny_and_inside(full_encoder: Any, parity: Path, error_of: Error) -> None:
    """With every probe within SAM and CLIP, so that a mistake shows where it is made."""
    golden = np.load(parity / "probes_512_a.npz")
    sam, clip = "encoder.sam.layers", "encoder.clip.layers"
    modules = {f"sam_block_{index:02d}": f"{sam}.{index}" for index in range(12)}
    modules |= {f"sam_neck_{index}": f"encoder.sam.neck.{index}" for index in range(4)}
    modules |= {f"sam_net_{index + 2}": f"encoder.sam.compressor.{index}" for index in range(2)}
    modules |= {f"clip_layer_{index:02d}": f"{clip}.{index}" for index in (0, 1, 11, 23)}
    modules |= {"sam_patch_embed": "encoder.sam.patch", "clip_pre_layrnorm": "encoder.clip.norm"}
    modules |= {"windows": f"{sam}.0.attention", "sam_block_02_attn_global": f"{sam}.2.attention"}
    found = check_encoder(full_encoder, np.load(parity / "enc_512_a.npz"), error_of, **modules)
    found["sam_patch_embed"] = found["sam_patch_embed"].permute(0, 2, 3, 1)
    found["sam_plus_pos"] = found["sam_block_00_in"]
    found["clip_embeddings"] = found["clip_pre_layrnorm_in"]
    steps = {"sam_neck": np.s_[:, ::8, ::8, ::8], "sam_net_2": np.s_[:, ::8, ::4, ::4], "sam_net_3": np.s_[:, ::8]}
    compared = 0
    for name in golden.files:
        if name == "sam_block_00_attn_windows":
            continue
        by_name = (step for start, step in steps.items() if name.startswith(start))
        rest = np.s_[:, ::8, ::16] if name.startswith("clip") else np.s_[:, ::8, ::8, ::16]
        assert error_of(found[name][next(by_name, rest)], golden[name]) < TOLERANCE, name
        compared += 1
    assert compared == 27
    # The windows' own places; what the padding gives is cut off before the last product here.
    shown = split_windows(torch.ones(1, 32, 32, 1), 14)[:, ::4, ::4].expand(-1, -1, -1, 24).numpy() == 1
    mine = split_windows(found["windows"], 14)[:, ::4, ::4, ::32].numpy()
    assert error_of(mine[shown], golden["sam_block_00_attn_windows"][shown]) < TOLERANCE


def test_decoder_logits(small_decoder: Any, parity: Path, error_of: Error) -> None:
    golden = np.load(parity / "decoder_small.npz")
    run = outputs_of(
        small_decoder,
        lambda: small_decoder.logits(golden["input_ids"]),
        hidden_0="decoder.layers.0",
        hidden_1="decoder.layers.1",
        hidden_2="decoder.layers.2",
        norm="decoder.norm",
        router1="decoder.layers.1.mlp.router",
        router2="decoder.layers.2.mlp.router",
    )
    assert error_of(run["result"], golden["logits"]) < TOLERANCE
    assert np.abs(run["result"].numpy() - golden["logits"]).max() < 5e-5
    states = {f"hidden_{n}": f"hidden_{n}_in" for n in range(3)} | {"hidden_final_norm": "norm"}
    for name, mine in states.items():
        assert error_of(run[mine][0, ::6], golden[name]) < TOLERANCE
        assert error_of(run[mine][0].norm(dim=-1), golden[f"{name}_row_l2"]) < TOLERANCE
    for layer in ("router1", "router2"):
        weights, chosen = run[layer]
        chosen, order = chosen.sort(dim=-1)
        assert np.array_equal(chosen.numpy(), golden[f"{layer}_topk_idx"])
        assert error_of(weights.gather(-1, order), golden[f"{layer}_topk_weight"]) < TOLERANCE


def test_decoder_greedy(small_decoder: Any, parity: Path, error_of: Error) -> None:
    golden = np.load(parity / "decoder_small.npz")
    ids = golden["input_ids"].tolist()
    steps = []
    for _ in range(32):
        steps.append(small_decoder.logits(ids)[-1])
        ids.append(int(steps[-1].argmax()))
    assert ids[48:] == golden["greedy_32"].tolist()
    assert error_of(torch.stack(steps), golden["step_logits"]) < TOLERANCE
