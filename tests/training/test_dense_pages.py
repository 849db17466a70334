from pathlib import Path

import numpy as np
import pytest
import torch

from optical_memory.renderers import DenseRenderer, visible
from optical_memory.renderers.base import Grid
from optical_memory.renderers.layout import Run, lay_out
from optical_memory.training import glyphs
from optical_memory.training.compose import Sheet, averaged, quantised, raster

TEXT = Path(visible.__file__).read_text("utf-8").encode("ascii", "ignore").decode() + "Ünïcode naïve 0O1lI 8B5S"


@pytest.mark.parametrize(
    ("width", "height", "page", "sides"),
    [(12.5, 20, 1280, (1280, 1024, 640, 512, 384, 256)), (8, 12, 512, (512,)), (4, 6, 512, (512,))],
)
def test_composed_pages_are_the_dense_renderers_pixels_at_every_tier(
    width: float, height: int, page: int, sides: tuple[int, ...]
) -> None:
    grid = Grid(width=page, height=page, cell_width=width, cell_height=height)
    layout = lay_out([Run(turn_id="t", role="user", text=TEXT * 4)], grid, renderer_key="test")[0]
    used = np.unique(layout.cells[layout.cells > 32]).astype(np.int64)
    arrays = glyphs._sheet("s", used, width, height)
    sheet = Sheet.of_parts(arrays["s/left"], arrays["s/right"], used, torch.device("cpu"))  # type: ignore[arg-type]
    codes = torch.from_numpy(np.where(layout.cells == 0, 32, layout.cells).astype(np.int64))[None]
    ink = raster(sheet, torch.tensor([0]), codes)
    for side in sides:
        drawn = DenseRenderer().draw([layout], size=(side, side))[0]
        found = quantised(averaged(ink, side, (page / side, page / side), (0, 0)))[0].numpy()
        assert np.array_equal(255 - np.round(found * 15) * 17, drawn)
