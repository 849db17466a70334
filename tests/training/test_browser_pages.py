from __future__ import annotations

import numpy as np
import pytest
import torch

from optical_memory.renderers import ChromiumRenderer
from optical_memory.renderers.base import Grid
from optical_memory.renderers.layout import Run, lay_out
from optical_memory.training import browser
from optical_memory.training.compose import Sheet, raster, tinted

pytestmark = pytest.mark.skipif(not ChromiumRenderer.available(), reason="no Chromium here")


@pytest.mark.parametrize(("width", "height"), [(12.5, 20), (10, 16)])
def test_composed_pages_are_chromiums_own(width: float, height: int) -> None:
    renderer = ChromiumRenderer()
    codes = np.arange(33, 127)
    tiles = browser._tiles(renderer, codes, width, height, "")
    middle = -(-int(2 * width) // 2)
    sheet = Sheet.of_parts(tiles[None, :, :, :middle], tiles[None, :, :, middle:], codes, torch.device("cpu"))
    grid = Grid(width=1250, height=240, cell_width=width, cell_height=height)
    text = "the quick brown fox: jumps 0123456789 over the lazy dot, and so on. " * 40
    layout = lay_out(
        [Run(turn_id="t", role="tool", text=text)], grid, renderer_key=renderer.key, repertoire=renderer.repertoire
    )[0]
    drawn = 255 - renderer.draw([layout], size=(grid.width, grid.height))[0].astype(int)
    renderer.close()
    cells = torch.from_numpy(layout.cells.astype(np.int64))
    cells[cells == 0] = 32
    made = raster(sheet, torch.zeros(1, dtype=torch.long), cells[None])[0].numpy().astype(int)
    inner = slice(height, -height)  # the first row begins with the page's mark
    assert np.array_equal(made[inner], drawn[: made.shape[0], : made.shape[1]][inner])


def test_a_style_is_drawn_by_its_marks() -> None:
    renderer = ChromiumRenderer()
    codes = np.array([ord("n")])
    plain, bold, italic, code = (browser._tiles(renderer, codes, 10, 16, style)[0] for style in browser._STYLES)
    renderer.close()
    assert bold.sum() > 1.1 * plain.sum()
    assert (italic != plain).any()
    assert code.min() > 0 == plain.min()


def test_tints_weaken_cells_alone() -> None:
    ink = torch.full((1, 4, 8), 200, dtype=torch.uint8)
    contrast = torch.tensor([[[1.0, 1.0], [0.5, 0.5]]])
    out = tinted(ink, contrast)
    assert out[0, 0].unique().tolist() == [200]
    assert out[0, 3].unique().tolist() == [100]
