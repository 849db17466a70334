"""The model as users call it: built, loaded in part, moved, fed with images and ids."""

from __future__ import annotations

import inspect
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from optical_memory.errors import ContextTooLongError, ImageError, InputError, UnsupportedConfigError
from optical_memory.model import build
from optical_memory.model.image import Mode, Pixels, prepare


def test_building_takes_no_memory() -> None:
    before = psutil.Process().memory_info().rss
    models = [build("deepseek-ocr") for _ in range(3)]
    assert sum(parameter.numel() for parameter in models[0].parameters()) == 3_336_106_240
    assert psutil.Process().memory_info().rss - before < 100_000_000


def test_only_the_half_that_is_used_gets_values(tiny_model: Any) -> None:
    tiny_model.logits([1, 2])
    assert not any(parameter.is_meta for parameter in tiny_model.decoder.parameters())
    assert all(parameter.is_meta for parameter in tiny_model.encoder.parameters())
    tiny_model.vision_tokens(torch.zeros(3, 64, 64))
    assert not any(parameter.is_meta for parameter in tiny_model.parameters())


def test_random_values_are_the_same_each_time_and_keep_activations_in_size(tiny_sizes: dict[str, Any]) -> None:
    first, second = build("deepseek-ocr", **tiny_sizes), build("deepseek-ocr", **tiny_sizes)
    second.vision_tokens(torch.zeros(3, 64, 64))  # the order of use does not matter
    assert torch.equal(first.logits([1, 2, 3]), second.logits([1, 2, 3]))
    assert 0.1 < first.logits(list(range(50))).std() < 10


def test_misspelt_overrides() -> None:
    with pytest.raises(UnsupportedConfigError, match="num_layers"):
        build("deepseek-ocr", num_layers=3)


def test_moved_before_it_has_values(tiny_sizes: dict[str, Any]) -> None:
    model = build("deepseek-ocr", **tiny_sizes).to(torch.float64)
    assert model.dtype == torch.float64
    assert all(parameter.is_meta and parameter.dtype == torch.float64 for parameter in model.parameters())
    assert model.logits([1]).dtype == torch.float64
    assert model.bfloat16().logits([1]).dtype == torch.bfloat16
    assert build("deepseek-ocr", dtype=torch.bfloat16, **tiny_sizes).vision_tokens(torch.zeros(3, 64, 64)).dtype == (
        torch.bfloat16
    )


def test_vision_tokens_of_arrays_and_batches(tiny_model: Any) -> None:
    pixels = np.random.default_rng(1).standard_normal((2, 3, 128, 128))
    both = tiny_model.vision_tokens(pixels)
    assert both.shape == (2, 4, 40)
    assert torch.allclose(tiny_model.vision_tokens(torch.from_numpy(pixels[1])), both[1], atol=1e-5)
    assert not both.requires_grad
    pixels.flags.writeable = False
    assert torch.equal(tiny_model.vision_tokens(pixels), both)


TILED = Mode(name="tiled", size=256, padded=True, tile=128)
"""Gundam in small."""


@pytest.mark.parametrize(("mode", "rows"), [("tiny", 73), ("small", 111), (64, 3), (384, 43), (TILED, 4 * 3 + 21)])
def test_sequences_have_the_published_lengths(tiny_model: Any, mode: Any, rows: int) -> None:
    image = Image.effect_noise((100, 200), 50)
    assert tiny_model.sequence(image, mode).shape == (rows, 40)


def test_a_sequence_is_what_its_parts_give(tiny_model: Any) -> None:
    image = Image.effect_noise((260, 140), 90)
    pixels = prepare(image, TILED)
    assert pixels.grid == (2, 1) and pixels.tiles is not None
    sequence = tiny_model.sequence(image, TILED)
    tiles = torch.stack([tiny_model.vision_tokens(tile) for tile in pixels.tiles])
    expected = tiny_model.encoder.arrange(tiny_model.vision_tokens(pixels.view), tiles, pixels.grid)
    assert torch.allclose(sequence, expected, atol=1e-5)
    assert torch.equal(tiny_model.sequence(pixels), sequence)


def test_pages_of_different_modes_together(tiny_model: Any) -> None:
    images = [Image.effect_noise((150, 150), 9), Image.new("L", (90, 90), 7), Image.effect_noise((60, 70), 99)]
    modes = [TILED, 256, "tiny"]
    together = tiny_model.sequences(images, modes, batch=2)
    for image, mode, sequence in zip(images, modes, together, strict=True):
        assert torch.allclose(sequence, tiny_model.sequence(image, mode), atol=1e-5)
    assert tiny_model.sequences([]) == []


def test_pixels_that_do_not_fit(tiny_model: Any) -> None:
    square = np.zeros((3, 64, 64), dtype=np.float32)
    for wrong in (square[0], square[None], square[:, :, :32], np.zeros((3, 65, 65)), Image.new("L", (0, 3))):
        with pytest.raises(ImageError):
            tiny_model.sequence(wrong)
    for wrong in (
        square[0],
        np.float32(1),
        square[:, :32],
        np.zeros((3, 65, 65)),
        np.zeros((2, 64, 64)),
        np.zeros((3, 0, 0)),
    ):
        with pytest.raises(ImageError):
            tiny_model.vision_tokens(wrong)
    with pytest.raises(ImageError, match="65 tiles"):
        tiny_model.sequence(Pixels(view=square, tiles=np.broadcast_to(square, (65, 3, 64, 64)), grid=(13, 5)))


def test_logits_of_every_kind_of_ids(tiny_model: Any) -> None:
    expected = tiny_model.logits([4, 5, 6])
    assert expected.shape == (3, 100)
    assert torch.equal(tiny_model.logits(np.array([4, 5, 6], dtype=np.int32)), expected)
    both = tiny_model.logits(torch.tensor([[4, 5, 6], [6, 5, 4]]))
    assert both.shape == (2, 3, 100) and torch.allclose(both[0], expected, atol=1e-5)


def test_ids_that_do_not_fit(tiny_model: Any) -> None:
    with pytest.raises(ContextTooLongError, match="65 tokens; the decoder has 64"):
        tiny_model.logits([1] * 65)
    for wrong in ([], [[[1]]], [-1], [100]):
        with pytest.raises(InputError):
            tiny_model.logits(wrong)


def test_eager_attention_gives_the_same(tiny_sizes: dict[str, Any]) -> None:
    pixels = torch.randn(3, 128, 128)
    plain, fused = (build("deepseek-ocr", attention=kind, **tiny_sizes) for kind in ("eager", "fused"))
    assert torch.allclose(plain.vision_tokens(pixels), fused.vision_tokens(pixels), atol=1e-5)


def test_compiled_layers_serve_every_mode(tiny_sizes: dict[str, Any]) -> None:
    """Three kinds of layers at five sizes: more forms than PyTorch compiles by default before it gives up."""
    import torch._dynamo

    plain, compiled = build("deepseek-ocr", **tiny_sizes), build("deepseek-ocr", **tiny_sizes)
    compiled.compile(backend="eager")
    torch._dynamo.utils.counters.clear()
    for side in (64, 128, 192, 256, 320):
        pixels = np.random.default_rng(side).random((3, side, side), dtype=np.float32)
        assert torch.allclose(compiled.vision_tokens(pixels), plain.vision_tokens(pixels), atol=1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 3 * 5


def starve(tiny_sizes: dict[str, Any]) -> None:
    """Encode a page with too little memory; print the error."""
    import resource

    from optical_memory.errors import OutOfMemoryError

    model = build("deepseek-ocr", attention="eager", **tiny_sizes)
    model.vision_tokens(np.zeros((3, 64, 64), dtype=np.float32))
    used = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000, used + 300_000_000))
    for run in (
        lambda: model.vision_tokens(np.zeros((3, 1280, 1280), dtype=np.float32)),
        lambda: model.sequence(Image.new("L", (1280, 1280)), "gundam"),
        lambda: model.sequence(Image.new("L", (64, 64)), 1280),
    ):
        try:
            run()
        except OutOfMemoryError as error:
            print(error)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux's")
def test_out_of_memory_names_the_mode_to_try(tiny_sizes: dict[str, Any]) -> None:
    code = "\n".join(
        (
            "import numpy as np, psutil, torch",
            "from PIL import Image",
            "from optical_memory.model import build",
            "torch.set_num_threads(1)",
            "Any = dict",
            textwrap.dedent(inspect.getsource(starve)),
            f"starve({tiny_sizes!r})",
        )
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done
    assert all("the device is full" in line for line in lines)
    assert [line.split("try mode ")[1].split(",")[0] for line in lines] == ["'base'", "'large'", "'base'"]
