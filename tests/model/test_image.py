"""Modes, tiling and pixels, against the reference's numbers; and images that cannot be shown."""

from __future__ import annotations

import io
import json
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from optical_memory.errors import ImageError
from optical_memory.model.image import (
    MAX_PIXELS,
    MODES,
    Mode,
    cut,
    find_mode,
    normalised,
    open_image,
    prepare,
    tile_grid,
    upright,
)


@pytest.fixture(scope="module")
def tiling(parity: Path) -> list[dict[str, Any]]:
    cases = json.loads((parity / "tiling.json").read_text())["cases"]
    assert len(cases) == 34
    return cases


def test_tile_grids(tiling: list[dict[str, Any]]) -> None:
    for case in tiling:
        size = (case["width"], case["height"])
        for most in (6, 9):
            assert list(tile_grid(*size, max_tiles=most)) == case[f"grid_max{most}"]
            mode = Mode(name="gundam", size=1024, padded=True, tile=640, max_tiles=most)
            golden = case[f"gundam_vllm_max{most}"]
            assert (list(mode.grid(*size)), mode.tokens(*size)) == (golden["crop_grid"], golden["image_tokens"])


def test_token_counts(tiling: list[dict[str, Any]]) -> None:
    for case in tiling:
        size = (case["width"], case["height"])
        for name, key in (("tiny",) * 2, ("small",) * 2, ("base",) * 2, ("large",) * 2, ("gundam", "gundam_hf")):
            golden = case[key]
            assert MODES[name].tokens(*size) == golden["image_tokens"]
            assert MODES[name].valid_tokens(*size) == golden["valid_tokens"]


def test_sequence_lengths() -> None:
    lengths = {name: MODES[name].tokens(512, 512) for name in MODES}
    assert lengths == {"tiny": 73, "small": 111, "base": 273, "large": 421, "gundam": 273, "gundam-m": 421}
    assert MODES["gundam"].tokens(1280, 1280) == 273 + 20 * 21
    # Tiles of 1,024: 16 tokens a side; 2 by 2 of them and a view of 20 by 20.
    assert MODES["gundam-m"].tokens(2048, 2048) == 32 * 33 + 421
    assert MODES["gundam-m"].valid_tokens(2048, 2048) == 400 + 4 * 256
    assert find_mode(384).tokens(1, 1) == 43
    assert find_mode(256).tokens(1, 1) == 21


def test_grid_order_decides_nothing() -> None:
    """Grids of equal count never tie, so the order in which they are tried within a count is free."""
    for most in (6, 9):
        shapes = {(a, d) for a in range(1, most + 1) for d in range(1, most + 1) if 2 <= a * d <= most}
        ratios = sorted({a / d for a, d in shapes})
        for left, right in pairwise(ratios):
            counts = [{a * d for a, d in shapes if a / d == ratio} for ratio in (left, right)]
            assert not counts[0] & counts[1]


def published_grid(width: int, height: int, most: int) -> tuple[int, int]:
    """Return the grid as the published search finds it, in whatever order a set gives grids of equal count."""
    every = {(a, d) for n in range(2, most + 1) for a in range(1, n + 1) for d in range(1, n + 1) if 2 <= a * d <= most}
    best, least = (1, 1), float("inf")
    for grid in sorted(every, key=lambda grid: grid[0] * grid[1]):
        distance = abs(width / height - grid[0] / grid[1])
        if distance < least:
            best, least = grid, distance
        elif distance == least and width * height > 0.5 * 640 * 640 * grid[0] * grid[1]:
            best = grid
    return best


def test_grids_of_all_shapes_are_those_of_the_published_search() -> None:
    shapes = [(a, d) for a in range(1, 10) for d in range(1, 10) if 2 <= a * d <= 9]
    ratios = sorted({a / d for a, d in shapes})
    between = [round(1000 * (left + right) / 2) for left, right in pairwise(ratios)]  # as near to one as to the other
    sizes = [(wide, 1000) for wide in between] + [(2 * wide, 2000) for wide in between]
    sizes += [(a * tile, d * tile) for a, d in shapes for tile in (100, 320, 321, 453, 640, 1500)]
    sizes += [(640, 641), (641, 640), (1, 641), (641, 1), (20_000, 40), (40, 20_000), (9001, 1000), (1250, 1000)]
    sizes += [tuple(size) for size in np.random.default_rng(0).integers(1, 4000, (3000, 2)).tolist()]
    for most in (2, 3, 6, 9):
        for width, height in sizes:
            assert tile_grid(width, height, max_tiles=most) == published_grid(width, height, most), (width, height)


def test_pixels_are_exact(parity: Path) -> None:
    y, x, c = np.meshgrid(np.arange(500), np.arange(900), np.arange(3), indexing="ij")
    image = Image.fromarray(((3 * x + 5 * y + 40 * c + (x * y) // 97) % 256).astype(np.uint8))
    golden = np.load(parity / "pixels_900x500.npz")
    manifest = json.loads((parity / "manifest.json").read_text())["pixels_900x500.npz"]["modes"]
    for name, facts in manifest.items():
        view, tiles, grid = cut(image, MODES[name])
        whole = np.asarray(view)
        assert whole.shape == tuple(facts["global_shape"])
        assert zlib.crc32(whole.tobytes()) == facts["global_crc32"]
        assert np.array_equal(whole[::8, ::8], golden[f"{name}_global_u8"])
        assert list(grid) == facts["crop_grid"]
        pixels = prepare(image, name)
        rounded = _to_bfloat16(pixels.view[:, ::64, ::64])
        assert np.array_equal(rounded, golden[f"{name}_global_bf16_as_f32"])
        if "tiles_crc32" in facts:
            stacked = np.stack([np.asarray(tile) for tile in tiles])
            assert zlib.crc32(stacked.tobytes()) == facts["tiles_crc32"]
            assert np.array_equal(stacked[:, ::16, ::16], golden[f"{name}_tiles_u8"])
            assert pixels.tiles is not None and np.array_equal(pixels.tiles[1], normalised(tiles[1]))
        else:
            assert not tiles and pixels.tiles is None


def _to_bfloat16(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return torch.from_numpy(values.copy()).bfloat16().float().numpy()


def test_tiles_are_in_row_order() -> None:
    image = Image.new("RGB", (1280, 1920))
    for row in range(3):
        for column in range(2):
            image.paste((40 * row, 100 * column, 0), (640 * column, 640 * row, 640 * column + 640, 640 * row + 640))
    _, tiles, grid = cut(image, MODES["gundam"])
    assert grid == (2, 3)
    assert [tile.getpixel((320, 320))[:2] for tile in tiles] == [(40 * r, 100 * c) for r in range(3) for c in range(2)]


def test_padding_is_grey_and_values_are_normalised() -> None:
    pixels = prepare(Image.new("RGB", (400, 100), (255, 0, 255)), "base")
    assert pixels.view.shape == (3, 1024, 1024) and pixels.view.dtype == np.float32
    assert pixels.view[:, 0, 0] == pytest.approx(127 / 127.5 - 1)
    assert pixels.view[:, 512, 512].tolist() == [1, -1, 1]


def test_any_multiple_of_64() -> None:
    for side in (64, 192, 704):
        assert prepare(Image.new("RGB", (90, 30)), side).view.shape == (3, side, side)
    assert prepare(Image.new("RGB", (9, 3), "white"), 640).view.min() == 1  # resized: no padding
    assert prepare(Image.new("RGB", (9, 3), "white"), 704).view.min() < 0  # padded


@pytest.mark.parametrize("mode", [0, -64, 100, 10**9, "huge", "Base"])
def test_modes_that_do_not_exist(mode: Any) -> None:
    with pytest.raises(ImageError, match=str(mode)):
        find_mode(mode)


@pytest.mark.parametrize("most", [0, 1, 65, 10**6])
def test_too_many_tiles(most: int) -> None:
    with pytest.raises(ImageError, match="max_tiles"):
        Mode(name="mine", size=1024, padded=True, tile=640, max_tiles=most)


@pytest.mark.parametrize("size", [(0, 0), (0, 7), (7, 0)])
@pytest.mark.parametrize("mode", MODES)
def test_images_of_no_size(size: tuple[int, int], mode: str) -> None:
    with pytest.raises(ImageError, match="no pixels"):
        prepare(Image.new("RGB", size), mode)
    with pytest.raises(ImageError, match="no pixels"):
        MODES[mode].valid_tokens(*size)


def test_images_too_thin_to_pad() -> None:
    with pytest.raises(ImageError, match="no height or width left"):
        prepare(Image.new("L", (4000, 1)), "base")
    assert prepare(Image.new("L", (4000, 1)), "tiny").view.shape == (3, 512, 512)
    assert prepare(Image.new("L", (2000, 1)), "base").view.shape == (3, 1024, 1024)


def test_decompression_bombs() -> None:
    for width, height in ((MAX_PIXELS // 1000 + 1, 1000), (60_000, 60_000)):
        bomb = io.BytesIO()
        # A PNG header alone: nothing is decoded before the size is known.
        header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
        bomb.write(b"\x89PNG\r\n\x1a\n" + b"\0\0\0\r" + header + zlib.crc32(header).to_bytes(4, "big"))
        bomb.write(b"\0\0\0\0IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big"))
        with pytest.raises(ImageError, match="larger than"):
            open_image(bomb.getvalue())
        with pytest.raises(ImageError, match="larger than"):
            MODES["gundam"].grid(width, height)
    with pytest.raises(ImageError, match="larger than"):
        upright(Image.new("1", (MAX_PIXELS // 1000 + 1, 1000)))


def test_files_that_are_no_images(tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "PNG")
    (tmp_path / "text.png").write_text("no image")
    for source in (b"", b"GIF89a", whole.getvalue()[:200], tmp_path / "text.png", tmp_path / "absent.png", tmp_path):
        with pytest.raises(ImageError, match="not a readable image"):
            open_image(source)
    assert open_image(whole.getvalue()).size == (64, 64)


def test_files_are_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter
    photo = io.BytesIO()
    Image.new("RGB", (40, 20)).save(photo, "JPEG", exif=exif)
    assert open_image(photo.getvalue()).size == (20, 40)
    assert open_image(photo.getvalue()).mode == "RGB"


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def test_images_of_every_kind_show_the_same() -> None:
    """A ramp of grey from files of other depths, palettes and channels; what is transparent keeps its colour."""
    ramp = np.arange(0, 256, 4, dtype=np.uint8).repeat(64).reshape(64, 64)
    grey = Image.fromarray(ramp)
    deep = Image.fromarray(ramp.astype(np.uint16) * 257)
    see_through = grey.convert("RGBA")
    see_through.putalpha(grey)
    palette = Image.fromarray(ramp)
    palette.putpalette([level for level in range(256) for _ in range(3)])
    files = [
        _encoded(grey, "PNG"),
        _encoded(grey, "PNG", transparency=0),
        _encoded(deep, "PNG"),
        _encoded(deep, "TIFF"),
        _encoded(Image.fromarray(ramp.astype(np.int32) * 257), "TIFF"),
        _encoded(Image.fromarray(ramp.astype(np.int32)), "TIFF"),
        _encoded(Image.fromarray(ramp.astype(np.float32)), "TIFF"),
        _encoded(see_through, "PNG"),
        _encoded(see_through.convert("LA"), "PNG"),
        _encoded(palette, "PNG"),
        _encoded(palette, "PNG", transparency=7),
        _encoded(palette, "PNG", transparency=bytes(range(256))),
        _encoded(palette, "GIF"),
        _encoded(grey.convert("RGB").convert("CMYK"), "TIFF"),
    ]
    for index, data in enumerate(files):
        shown = np.asarray(open_image(data)).astype(int)
        assert np.abs(shown - ramp[..., None]).max() <= 1, index
    assert set(np.unique(np.asarray(open_image(_encoded(grey.convert("1"), "PNG"))))) == {0, 255}
    dark = Image.fromarray(np.full((64, 64), 200, np.uint16))
    assert np.asarray(open_image(_encoded(dark, "PNG"))).max() == 1  # 200 of 65,535


@pytest.mark.filterwarnings("ignore")  # Pillow's, about what is damaged
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "GIF"])
def test_damaged_files_are_images_or_image_errors(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif} if kind in ("PNG", "JPEG", "WEBP") else {}
    whole = _encoded(Image.effect_noise((40, 30), 60).convert("RGB"), kind, **options)
    random, refused = np.random.default_rng(0), 0
    for _ in range(200):
        data = np.frombuffer(whole, np.uint8).copy()
        data[random.integers(0, min(len(data), random.choice([60, 200, 2000])), random.integers(1, 6))] ^= 0x55
        try:
            assert open_image(data.tobytes()).mode == "RGB"
        except ImageError:
            refused += 1
    assert 0 < refused
