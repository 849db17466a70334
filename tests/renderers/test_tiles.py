"""Tiles: what is put together from them, and how many are kept."""

from __future__ import annotations

import numpy as np
import pytest

from optical_memory.renderers import tiles as module
from optical_memory.renderers.base import WIDE
from optical_memory.renderers.tiles import Keys, Tiles, characters


def crops(keys: Keys, height: int, width: int) -> np.ndarray:
    """Draw each key as a ground of its own grey."""
    out = np.empty((len(keys), 2, height, width), np.uint8)
    out[:] = (keys % 200)[:, None, None, None]
    return out


def test_cells_stand_where_they_belong() -> None:
    keys = np.arange(1, 9, dtype=np.uint32).reshape(2, 4)
    tiles = Tiles((2.5, 3)).learn(keys, lambda new: crops(new, 3, 5))
    page = tiles.compose(keys, (12, 7))
    assert page[0].tolist() == [1] * 3 + [2] * 2 + [3] * 3 + [4] * 2 + [255] * 2  # the left cell of a pair is wider
    assert page[:, 0].tolist() == [1] * 3 + [5] * 3 + [255]


def test_what_reaches_over_a_cell_darkens_its_neighbours_only() -> None:
    def drawn(new: Keys) -> np.ndarray:
        out = np.full((len(new), 2, 4 + 2, 6 + 2), 255, np.uint8)
        out[new == 7, 0, :, :5] = 50  # a pair of cells of 3 px with one px around it: the left cell and one more px
        out[new == 7, 1, :, 3:] = 50
        return out

    keys = np.full((3, 4), 1, np.uint32)
    keys[1, 1] = 7
    page = Tiles((3, 4), over=(1, 1)).learn(keys, drawn).compose(keys, (12, 12))
    dark = np.argwhere(page < 255)
    assert (dark.min(axis=0).tolist(), dark.max(axis=0).tolist()) == ([3, 2], [8, 6])
    assert page[3, 2] == page[8, 6] == 255  # corners are cut
    assert (page[4:8, 3:6] == 50).all()
    corner = np.full((1, 2), 7, np.uint32)
    assert Tiles((3, 4), over=(1, 1)).learn(corner, drawn).compose(corner, (6, 4)).shape == (4, 6)


def test_a_known_character_is_not_drawn_again_and_others_share_the_object() -> None:
    keys = np.array([[3, 4]], np.uint32)
    first = Tiles((2, 2)).learn(keys, lambda new: crops(new, 2, 4))
    assert first.learn(keys, lambda new: pytest.fail("drawn again")) is first
    asked: list[list[int]] = []
    more = np.array([[4, 5]], np.uint32)

    def draw(new: Keys) -> np.ndarray:
        asked.append(new.tolist())
        return crops(new, 2, 4)

    second = first.learn(more, draw)
    assert asked == [[5]]
    assert second.compose(more, (4, 2))[0].tolist() == [4, 4, 5, 5]
    assert first.compose(keys, (4, 2))[0].tolist() == [3, 3, 4, 4]  # the older object is as it was


def test_no_more_tiles_are_kept_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TILES", 50)
    tiles = Tiles((2, 2))
    for start in range(1, 400, 20):
        keys = np.arange(start, start + 40, dtype=np.uint32).reshape(1, 40)
        tiles = tiles.learn(keys, lambda new: crops(new, 2, 4))
        assert tiles.compose(keys, (80, 2))[0, ::2].tolist() == (keys[0] % 200).tolist()
        assert len(tiles._crops) <= 50
    many = np.arange(1, 121, dtype=np.uint32).reshape(1, 120)  # a page alone may have more
    assert tiles.learn(many, lambda new: crops(new, 2, 4)).compose(many, (240, 2))[0, -1] == 120


def test_an_error_while_drawing_leaves_what_is_known() -> None:
    keys = np.array([[3, 0xFFFFFFF0]], np.uint32)
    tiles = Tiles((2, 2)).learn(keys[:, :1].repeat(2, axis=1), lambda new: crops(new, 2, 4))

    def fail(new: Keys) -> np.ndarray:
        raise ValueError(new.tolist())

    with pytest.raises(ValueError, match="4294967280"):
        tiles.learn(keys, fail)
    assert tiles.compose(keys[:, :1].repeat(2, axis=1), (4, 2))[0, 0] == 3


def test_both_cells_of_a_wide_character_are_it() -> None:
    cells = np.array([[65, 0x4E2D, WIDE, 0]], np.uint32)
    assert characters(cells).tolist() == [[65, 0x4E2D, 0x4E2D, 0]]
