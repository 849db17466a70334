import numpy as np
import pytest

from optical_memory.errors import GridNotFoundError, ImageError
from optical_memory.model.mini.grid import Cells, Sight, filling, find, known
from optical_memory.model.mini.head import STEP_X, STEP_Y
from optical_memory.model.mini.ink import ink_of, inverted, squared


def sight(cells: Cells, seed: int = 0, side: int = 256, blank: float = 0.15) -> Sight:
    """What a perfect network would name under each point of a page of random letters."""
    chance = np.random.default_rng(seed)
    letters = chance.integers(33, 127, (cells.rows + 2, cells.columns + 2))
    letters[chance.random(letters.shape) < blank] = 32
    x = (np.arange(side / STEP_X) + 0.5) * STEP_X - cells.left
    y = (np.arange(side / STEP_Y) + 0.5) * STEP_Y - cells.top
    row, column = np.floor(y / cells.height).astype(int), np.floor(x / cells.width).astype(int)
    return Sight(codes=letters[row[:, None], column[None]], left=0.0, top=0.0)


@pytest.mark.parametrize(
    ("side", "width", "height"),
    [(512, 5, 8), (512, 10, 16), (512, 8, 12), (512, 6, 10), (640, 6.25, 10), (1024, 10, 16), (1280, 12.5, 20)],
)
def test_the_grid_is_found(side: int, width: float, height: float) -> None:
    cells = filling(side, width, height)
    assert find(sight(cells), side) == cells


@pytest.mark.parametrize(("left", "top"), [(1, 2), (3, 3), (-2, 1)])
def test_a_shifted_grid_is_found(left: int, top: int) -> None:
    cells = Cells(width=8, height=12, columns=64, rows=42, left=left, top=top)
    found = find(sight(cells), 512)
    assert (found.width, found.height) == (8, 12)
    assert abs(found.left - left) <= 2 and abs(found.top - top) <= 2


def test_noise_has_no_grid() -> None:
    codes = np.random.default_rng(0).integers(33, 127, (64, 128))
    with pytest.raises(GridNotFoundError):
        find(Sight(codes=codes, left=0.0, top=0.0), 512)


def test_known_grids_have_even_columns_and_fill_the_page() -> None:
    first = next(known(512))
    assert (first.width, first.height, first.columns, first.rows) == (5, 8, 102, 64)
    for side in (256, 384, 512, 640, 1024, 1280):
        for cells in known(side):
            assert cells.columns % 2 == 0
            assert cells.columns * cells.width <= side + 1e-3 and cells.rows * cells.height <= side + 1e-3


def test_dark_pages_are_inverted_and_odd_sizes_padded() -> None:
    light = np.full((100, 70), 0.9, np.float32)
    light[10:20, 10:20] = 0.1
    for grey in (light, 1 - light):
        ink = inverted(grey.copy())
        assert ink[15, 15] > 0.8 and ink[50, 50] == 0
    assert squared(light).shape == (128, 128)


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ImageError, match="not a readable image"):
        ink_of(b"no image")
