"""The model against a second statement of its forward pass, at sizes and tilings that have no golden numbers here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plain_forward
import pytest
import torch
from PIL import Image
from test_parity import TOLERANCE, image_a

from optical_memory.model import build
from optical_memory.model.cache import KeyValueCache
from optical_memory.model.image import MODES, Mode, prepare
from optical_memory.model.names import pieces
from optical_memory.model.step import make_step, prefill

Error = Callable[[Any, Any], float]


@pytest.fixture(scope="module")
def published(full_encoder: Any) -> dict[str, torch.Tensor]:
    """The encoder's tensors under their published names."""
    return {
        piece.name: piece.view(full_encoder.get_parameter(piece.parameter))
        for piece in pieces(full_encoder.config)
        if piece.parameter.startswith("encoder.")
    }


@pytest.mark.slow
def test_the_second_statement_gives_the_golden_numbers(
    published: dict[str, torch.Tensor], parity: Path, error_of: Error
) -> None:
    golden = np.load(parity / "enc_512_a.npz")
    tokens = plain_forward.vision_tokens(published, torch.from_numpy(image_a(512, 512)))
    assert error_of(tokens, golden["proj"]) < TOLERANCE
    rows = plain_forward.page_rows(published, tokens, [])
    assert error_of(rows, golden["seq"][golden["images_seq_mask"]]) < TOLERANCE


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("side", [64, 192, 1280])
def test_encoder_at_other_sizes(
    full_encoder: Any, published: dict[str, torch.Tensor], error_of: Error, side: int
) -> None:
    """Below 1024 px tables of positions are shrunk, at 1280 px stretched; 64 px leave a single token."""
    noise = np.random.default_rng(side).normal(0, 0.3, (3, side, side)).astype(np.float32)
    pixels = (image_a(side, side) * 0.5 + noise).clip(-1, 1)
    wanted = plain_forward.vision_tokens(published, torch.from_numpy(pixels))
    assert wanted.shape == ((side // 64) ** 2, 1280)
    assert error_of(full_encoder.sequence(pixels), plain_forward.page_rows(published, wanted, [])) < TOLERANCE


@pytest.mark.parametrize(
    ("width", "height", "grid"),
    [
        (256, 384, (2, 3)),
        (384, 256, (3, 2)),
        (60, 1000, (1, 9)),
        (1000, 60, (9, 1)),
        (400, 400, (3, 3)),
        (140, 140, (2, 2)),
        (320, 180, (2, 1)),
        (384, 216, (4, 2)),
    ],
)
def test_pages_of_other_tilings(
    tiny_model: Any, error_of: Error, width: int, height: int, grid: tuple[int, int]
) -> None:
    """Gundam at a fifth of its size, from an image to rows: tiles in row order on a canvas, view, separator."""
    image = Image.effect_noise((width, height), 80).convert("RGB")
    mode = Mode(name="gundam", size=192, padded=True, tile=128)
    pixels = prepare(image, mode)
    assert pixels.grid == grid == MODES["gundam"].grid(5 * width, 5 * height)
    assert pixels.tiles is not None
    view, *tiles = (tiny_model.vision_tokens(square) for square in (pixels.view, *pixels.tiles))
    lines = [tiles[row * grid[0] : (row + 1) * grid[0]] for row in range(grid[1])]
    named = {"model.image_newline": tiny_model.encoder.newline, "model.view_seperator": tiny_model.encoder.separator}
    wanted = plain_forward.page_rows(named, view, lines)
    assert len(wanted) == mode.tokens(width, height)
    assert error_of(tiny_model.sequence(image, mode=mode), wanted) < TOLERANCE


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_decoder_layers_at_the_published_size(parity: Path, recipe: Any, error_of: Error) -> None:
    """One dense layer and one of 64 experts; of the vocabulary the first 2,048 rows, which the recipe draws alike."""
    shapes = json.loads((parity / "tensor_shapes.json").read_text())
    model = build("deepseek-ocr", num_hidden_layers=2, vocab_size=2048)
    wanted = [piece for piece in pieces(model.config) if piece.parameter.startswith("decoder.")]
    assert all(piece.shape[1:] == tuple(shapes[piece.name][1:]) for piece in wanted)
    tensors = {piece.name: torch.from_numpy(recipe(piece.name, piece.shape)) for piece in wanted}
    model.load_tensors(tensors, strict=False)
    ids = [0] + [(37 * i * i + 11 * i + 5) % 2039 + 3 for i in range(1, 48)]
    golden = plain_forward.logits(tensors, ids, layers=2, heads=10, experts=64, taken=6)
    found = model.logits(ids)
    assert error_of(found, golden) < TOLERANCE
    assert torch.equal(found.argmax(-1), golden.argmax(-1))
    cache = KeyValueCache(model.config.decoder, capacity=64)
    with torch.no_grad():
        rows = [prefill(model.decoder, cache, model.decoder.embed(torch.tensor([ids[:40]])))]
        step = make_step(model.decoder, cache)
        rows += [step(torch.tensor([token]), torch.tensor([at]), at + 1) for at, token in enumerate(ids[40:], start=40)]
    assert error_of(torch.cat(rows), golden[39:]) < TOLERANCE


def test_the_second_statement_of_the_decoder_gives_the_golden_numbers(
    small_decoder: Any, parity: Path, error_of: Error
) -> None:
    golden = np.load(parity / "decoder_small.npz")
    small_decoder.ready(small_decoder.decoder)
    tensors = {
        piece.name: piece.view(small_decoder.get_parameter(piece.parameter))
        for piece in pieces(small_decoder.config)
        if piece.parameter.startswith("decoder.")
    }
    found = plain_forward.logits(tensors, golden["input_ids"].tolist(), layers=3, heads=4, experts=8, taken=3)
    assert error_of(found, golden["logits"]) < TOLERANCE
