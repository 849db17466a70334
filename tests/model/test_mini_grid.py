import random
import string
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from optical_memory.errors import GridNotFoundError, ImageError
from optical_memory.model.mini.cells import Cells, filling, known
from optical_memory.model.mini.grid import find
from optical_memory.model.mini.head import STEP_X, STEP_Y
from optical_memory.model.mini.ink import Ink, ink_of, inverted, origin_of, squared
from optical_memory.model.mini.sight import Sight
from optical_memory.renderers import DenseRenderer
from optical_memory.renderers.base import WIDE, Grid
from optical_memory.renderers.layout import Run, lay_out


def sight(cells: Cells, letters: npt.NDArray[np.int64], side: int = 512) -> Sight:
    """What a perfect network would name under each point of a page of ``letters``."""
    x = (np.arange(side / STEP_X) + 0.5) * STEP_X - cells.left
    y = (np.arange(side / STEP_Y) + 0.5) * STEP_Y - cells.top
    row, column = np.floor(y / cells.height).astype(int), np.floor(x / cells.width).astype(int)
    inside = (row[:, None] >= 0) & (row[:, None] < cells.rows) & (column >= 0) & (column < cells.columns)
    codes = letters[row.clip(0, cells.rows - 1)[:, None], column.clip(0, cells.columns - 1)]
    return Sight(codes=np.where(inside, codes, 32), left=0.0, top=0.0)


def blind() -> Sight:
    """What a network says that knows none of the characters."""
    return Sight(codes=np.random.default_rng(0).integers(33, 127, (128, 256)), left=0.0, top=0.0)


def drawn(grid: Grid, side: int, text: str) -> tuple[Ink, npt.NDArray[np.int64]]:
    """Ink of a page of the dense renderer, and its characters."""
    layout = lay_out([Run(turn_id="t", role="user", text=text)], grid, renderer_key="test")[0]
    raster = DenseRenderer().draw([layout], size=(side, side))[0]
    codes = np.where(layout.cells == WIDE, np.roll(layout.cells, 1), layout.cells).astype(np.int64)
    return squared(inverted(raster)), np.where(codes == 0, 32, codes)


def letters(count: int) -> str:
    return "".join(random.Random(1).choices(string.printable[:94] + " " * 12, k=count))


def chinese(count: int) -> str:
    return "".join(random.Random(1).choices([chr(code) for code in range(0x4E00, 0x9000)], k=count // 2))


MINI = Grid(width=1280, height=1280, cell_width=12.5, cell_height=20)


def cell(width: int, height: int) -> Grid:
    return Grid(width=512, height=512, cell_width=width, cell_height=height)


@pytest.mark.parametrize("write", [letters, chinese])
@pytest.mark.parametrize("side", [256, 320, 384, 448, 512, 640, 768, 1024, 1280])
def test_the_minis_grid_is_found_at_every_size_without_reading(write: Callable[[int], str], side: int) -> None:
    ink, _ = drawn(MINI, side, write(6528))
    assert find(ink, blind) == filling(side, 12.5 * side / 1280, 20 * side / 1280)


@pytest.mark.parametrize("write", [letters, chinese])
@pytest.mark.parametrize(("width", "height"), [(4, 6), (6, 10), (7, 11), (8, 12), (8, 16), (10, 16), (12, 20)])
def test_whole_grids_are_found(write: Callable[[int], str], width: int, height: int) -> None:
    grid = cell(width, height)
    ink, codes = drawn(grid, 512, write(grid.capacity))
    cells = filling(512, width, height)
    found = find(ink, lambda: sight(cells, codes))
    assert (found.width, found.height) == (width, height)
    assert abs(found.left) <= 1 and abs(found.top) <= 1


def test_a_grid_of_no_known_size_is_found() -> None:
    grid = Grid(width=512, height=512, cell_width=9, cell_height=14)
    ink, codes = drawn(grid, 512, letters(grid.capacity))
    cells = filling(512, 9, 14)
    found = find(ink, lambda: sight(cells, codes))
    assert found.width == pytest.approx(9, rel=0.002) and found.height == pytest.approx(14, rel=0.002)


@pytest.mark.parametrize(("left", "top"), [(1, 2), (3, 3), (-2, 1), (3, -2)])
@pytest.mark.parametrize(("width", "height"), [(8, 12), (5, 8)])
def test_a_shifted_grid_is_found(left: int, top: int, width: int, height: int) -> None:
    ink, codes = drawn(cell(width, height), 512, letters(6528))
    moved = np.pad(ink, 4)[4 - top : 516 - top, 4 - left : 516 - left]
    columns, rows = codes.shape[1], codes.shape[0]
    cells = Cells(width=width, height=height, columns=columns, rows=rows, left=left, top=top)
    found = find(moved, lambda: sight(cells, codes))
    assert (found.width, found.height) == (width, height)
    assert abs(found.left - left) <= 1 and abs(found.top - top) <= 1


@pytest.mark.parametrize("rows", [2, 5])
def test_a_few_rows_are_enough_where_they_can_be_read(rows: int) -> None:
    ink, codes = drawn(cell(8, 12), 512, letters(rows * 64))
    cells = filling(512, 8, 12)
    assert find(ink, lambda: sight(cells, codes)) == cells


def test_noise_bars_and_squares_have_no_grid() -> None:
    y, x = np.mgrid[:512, :512]
    noise = np.random.default_rng(0).random((512, 512), np.float32)
    for ink in (noise, (x // 4 % 2).astype(np.float32), ((x // 8 + y // 8) % 2).astype(np.float32)):
        with pytest.raises(GridNotFoundError):
            find(ink, blind)


def test_known_grids_have_even_columns_and_fill_the_page() -> None:
    first = next(known(512))
    assert (first.width, first.height, first.columns, first.rows) == (5, 8, 102, 64)
    for side in (256, 384, 512, 640, 1024, 1280):
        for cells in known(side):
            assert cells.columns % 2 == 0
            assert cells.columns * cells.width <= side + 1e-3 and cells.rows * cells.height <= side + 1e-3


def test_dark_pages_are_inverted_and_odd_sizes_padded() -> None:
    light = np.full((100, 70), 230, np.uint8)
    light[10:20, 10:20] = 25
    for grey in (light, 255 - light):
        ink = inverted(grey)
        assert ink[15, 15] > 0.8 and ink[50, 50] == 0
    assert squared(ink).shape == (128, 128)


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ImageError, match="not a readable image"):
        ink_of(b"no image")


SHRUNK = Grid(width=640, height=640, cell_width=8, cell_height=16)
"""Cells of 6.4 × 12.8 px on a page of 512 px."""


@pytest.mark.parametrize("dark", [False, True])
def test_paper_is_paper_where_most_of_a_page_is_inked(dark: bool) -> None:
    layout = lay_out([Run(turn_id="t", role="user", text=chinese(3200))], SHRUNK, renderer_key="test")[0]
    raster = DenseRenderer().draw([layout], size=(512, 512))[0]
    assert (raster < 255).mean() > 0.5
    ink = inverted(255 - raster if dark else raster)
    assert np.abs(ink - (255 - raster.astype(np.float32)) / 255).max() < 1e-6


def test_a_measured_grid_that_nearly_fills_the_page_fills_it() -> None:
    ink, codes = drawn(SHRUNK, 512, chinese(3200))
    found = find(ink, lambda: sight(filling(512, 6.4, 12.8), codes))
    assert (found.columns, found.rows) == (80, 40)
    assert (found.width, found.height) == pytest.approx((6.4, 12.8))


def test_pages_as_drawn_are_told_from_damaged_ones() -> None:
    ink, _ = drawn(MINI, 512, letters(6528))
    noise = np.random.default_rng(0).normal(0, 0.02, ink.shape).astype(np.float32)
    assert origin_of(ink).drawn and origin_of(np.pad(ink, 3)[:512, :512]).drawn
    assert not origin_of(np.clip(ink + noise, 0, 1)).drawn


def test_white_is_paper_where_grounds_of_code_take_most_of_a_page() -> None:
    page = np.full((100, 100), 238, np.uint8)  # as Chromium's ground of code is in 16 grey levels
    page[:, :30], page[10:20, 10:60] = 255, 0
    ink = inverted(page)
    assert ink[50, 10] == 0 and ink[50, 50] == pytest.approx(17 / 255) and ink[15, 15] == 1
    grey = page.copy()
    grey[:, :30] = 246 + np.arange(30) % 8  # what noise and JPEG leave: the paper itself is grey
    assert inverted(grey)[50, 50] == 0
    bare = np.full((100, 100), 238, np.uint8)
    bare[10:20, 10:20] = 0
    assert inverted(bare)[50, 50] == 0
