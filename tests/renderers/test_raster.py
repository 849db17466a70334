from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from optical_memory.renderers.base import Raster
from optical_memory.renderers.raster import downsample, levels

RNG = np.random.default_rng(3)


def grey(height: int, width: int) -> Raster:
    return RNG.integers(0, 16, (height, width), np.uint8) * np.uint8(17)


def exact_mean(raster: Raster, x: int, y: int, size: tuple[int, int]) -> Fraction:
    """The mean over the area of one new pixel, in fractions."""
    across, down = Fraction(raster.shape[1], size[0]), Fraction(raster.shape[0], size[1])
    total = Fraction(0)
    for j in range(raster.shape[0]):
        share_y = min(j + 1, (y + 1) * down) - max(j, y * down)
        for i in range(raster.shape[1]):
            share_x = min(i + 1, (x + 1) * across) - max(i, x * across)
            if share_x > 0 and share_y > 0:
                total += share_x * share_y * int(raster[j, i])
    return total / (across * down)


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_downsample_is_the_mean_of_the_area(height: int, width: int, data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(1, width), st.integers(1, height)))
    raster = grey(height, width)
    small = downsample(raster, size)
    assert small.shape == (size[1], size[0])
    x, y = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    mean = exact_mean(raster, x, y, size)
    assert small[y, x] % 17 == 0
    assert abs(mean - int(small[y, x])) <= Fraction(17, 2) if size != (width, height) else mean == small[y, x]


def test_whole_factors_agree_with_pillow() -> None:
    raster = grey(120, 200)
    theirs = np.asarray(Image.fromarray(raster).reduce(4)).astype(int)
    assert np.abs(downsample(raster, (50, 30)).astype(int) - theirs).max() <= 9  # half a level and Pillow's rounding


def test_colour_keeps_its_channels() -> None:
    raster = RNG.integers(0, 256, (60, 40, 3), np.uint8)
    small = downsample(raster, (16, 24))
    assert small.shape == (24, 16, 3)
    for channel in range(3):
        for x, y in [(0, 0), (7, 11), (15, 23)]:
            assert abs(exact_mean(raster[:, :, channel], x, y, (16, 24)) - int(small[y, x, channel])) <= Fraction(1, 2)


def test_tiles_are_averaged_one_by_one() -> None:
    tiles = np.stack([grey(20, 25) for _ in range(5)])
    small = downsample(tiles, (10, 8))
    assert (small == np.stack([downsample(tile, (10, 8)) for tile in tiles])).all()


@pytest.mark.parametrize("size", [(640, 640), (512, 512), (384, 384), (1279, 1277), (1, 1)])
def test_extremes_survive(size: tuple[int, int]) -> None:
    assert (downsample(np.full((1280, 1280), 255, np.uint8), size) == 255).all()
    assert (downsample(np.zeros((1280, 1280), np.uint8), size) == 0).all()


def test_levels_round_to_the_nearest() -> None:
    assert levels(np.array([0, 1, 2, 30]), 30).tolist() == [255, 255 - 17, 255 - 17, 0]
    assert levels(np.arange(0, 256), 255)[::17].tolist() == list(range(255, -1, -17))
