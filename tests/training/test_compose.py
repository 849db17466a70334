import numpy as np
import pytest
import torch
from PIL import Image

from optical_memory.training.compose import Sheet, area_weights, averaged, quantised, raster

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sheet() -> Sheet:
    tiles = np.random.default_rng(0).integers(1, 256, (2, 3, 4, 2), dtype=np.uint8)
    tiles[:, 2] = 0
    return Sheet.of_parts(
        tiles, np.where((tiles > 0) & (tiles < 255), tiles + 1, tiles), np.array([65, 66, 0x3000]), CPU
    )


def test_raster_puts_left_tiles_in_even_and_right_tiles_in_odd_columns(sheet: Sheet) -> None:
    codes = torch.tensor([[[65, 66], [32, 65]]]).expand(2, -1, -1)
    ink = raster(sheet, torch.tensor([0, 1]), codes)
    assert ink.shape == (2, 8, 4)
    for font in (0, 1):
        glyphs = len(sheet.left) // 2
        assert torch.equal(ink[font, :4, :2], sheet.left[font * glyphs + 1])
        assert torch.equal(ink[font, :4, 2:], sheet.right[font * glyphs + 2])
        assert not ink[font, 4:, :2].any()
        assert torch.equal(ink[font, 4:, 2:], sheet.right[font * glyphs + 1])


def test_a_sheet_has_what_it_can_draw_and_the_space(sheet: Sheet) -> None:
    assert sheet.has(torch.tensor([65, 67, 32, 0x3000])).tolist() == [True, False, True, False]
    assert (sheet.cell_width, sheet.cell_height) == (2.0, 4)


@pytest.mark.parametrize(("scale", "offset"), [(2.5, 0.0), (1.25, 2.5), (10 / 3, 1.0), (1.0, 0.0)])
def test_area_weights_are_means_over_intervals(scale: float, offset: float) -> None:
    weights = area_weights(8, 64, scale, offset, CPU)
    assert torch.allclose(weights.sum(1), torch.ones(8), atol=1e-6)
    line = torch.arange(64, dtype=torch.float32) + 0.5  # of a linear ramp, the mean is the value at the middle
    middles = offset + (torch.arange(8) + 0.5) * scale
    assert torch.allclose(weights @ line, middles, atol=1 / scale + 0.01)


def test_averaging_by_whole_factors_is_pillows_box_filter() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (128, 128), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize((64, 64), Image.Resampling.BOX), np.float32) / 255
    found = averaged(torch.from_numpy(pixels)[None], 64, (2, 2), (0, 0))[0].numpy()
    assert np.abs(found - expected).max() <= 1.01 / 255


def test_averaging_shifts_by_the_corner_and_pads_with_paper() -> None:
    ink = torch.full((1, 10, 10), 255, dtype=torch.uint8)
    out = averaged(ink, 16, (1, 1), (-2, -3))[0]
    assert out[3:13, 2:12].eq(1).all()
    assert out.sum() == 100
    assert torch.equal(averaged(ink, 16, (1, 1), (0, 0))[0, :10, :10], torch.ones(10, 10))


def test_quantised_ink_has_sixteen_levels() -> None:
    assert len(quantised(torch.linspace(0, 1, 1000)).unique()) == 16
