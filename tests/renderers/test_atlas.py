from __future__ import annotations

import itertools
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from optical_memory.errors import InputError, RenderError
from optical_memory.renderers import atlas
from optical_memory.renderers.raster import downsample
from optical_memory.renderers.visible import NARROW, WIDE, bmp_classes

CELLS: list[tuple[float, int]] = [(12.5, 20), (15, 25), (16, 26), (10, 16), (8, 12), (7, 11), (6, 10), (5, 8), (4, 6)]
MINI_TIERS = [((12.5, 20), (10, 16)), ((12.5, 20), (5, 8))]  # cells of base and tiny, averaged down from large
LOOK_ALIKES = ["0O", "0D", "0Q", "0o", "1lI|", "5S", "8B"]
ROOT = Path(__file__).resolve().parents[2]


def codes(text: str) -> atlas.Codes:
    return np.array([ord(char) for char in text], np.uint32)


def drawable() -> atlas.Codes:
    every = np.flatnonzero(bmp_classes()[:0x10000] <= WIDE)
    return every[every != ord(" ")].astype(np.uint32)


@pytest.mark.parametrize("cell", CELLS)
def test_every_drawable_character_has_ink_in_grey_levels(cell: tuple[float, int]) -> None:
    tiles = atlas.tiles(drawable(), *cell)
    assert tiles.shape == (len(drawable()), cell[1], round(2 * cell[0]))
    assert tiles.dtype == np.uint8
    assert not (tiles % 17).any()
    is_faint = tiles.min(axis=(1, 2)) > (153 if cell[1] >= 16 else 221)
    assert not is_faint.any(), [hex(code) for code in drawable()[is_faint]]


@pytest.mark.parametrize("cell", CELLS)
def test_narrow_glyphs_stand_twice_and_share_no_pixel(cell: tuple[float, int]) -> None:
    narrow = drawable()[bmp_classes()[drawable()] == NARROW]
    tiles = atlas.tiles(narrow, *cell)
    width = tiles.shape[2] // 2
    assert (tiles[:, :, :width] == tiles[:, :, -width:]).all()
    assert (tiles[:, :, width:-width] == 255).all()


@pytest.mark.parametrize(("cell", "tier"), [*zip(CELLS, [None] * len(CELLS), strict=True), *MINI_TIERS])
@pytest.mark.parametrize("group", LOOK_ALIKES)
def test_look_alikes_differ_clearly(group: str, cell: tuple[float, int], tier: tuple[int, int] | None) -> None:
    tiles = atlas.tiles(codes(group), *cell)
    if tier:
        tiles = downsample(tiles, (2 * tier[0], tier[1]))
    height, width = tiles.shape[1], tiles.shape[2] / 2
    ink = (255 - tiles[:, :, : int(width)].astype(float)) / 255
    for a, b in itertools.combinations(range(len(group)), 2):
        share = np.abs(ink[a] - ink[b]).sum() / (width * height)
        assert share >= 0.07, f"{group[a]} and {group[b]} differ in {share:.1%} of a cell"


@pytest.mark.parametrize("cell", CELLS)
def test_printable_ascii_and_marks_are_all_different(cell: tuple[float, int]) -> None:
    tiles = atlas.tiles(np.append(np.arange(32, 127, dtype=np.uint32), codes("↵⇥▮▹\u00a0")), *cell)
    ink = (255 - tiles.reshape(len(tiles), -1).astype(float)) / 255
    distances = np.abs(ink[:, None] - ink[None]).sum(2) / 2  # a pair holds the glyph twice
    np.fill_diagonal(distances, np.inf)
    assert distances.min() >= 0.8, "two characters differ in less than a pixel"


def test_small_cells_are_black_and_white() -> None:
    latin = codes("The quick brown fox, 0O1lI! ↵⇥▮▹ naïve Ærøskøbing Ελληνικά Кириллица ─│┌→")
    for cell in sorted(atlas.BITMAP_CELLS):
        assert set(np.unique(atlas.tiles(latin, *cell))) == {0, 255}


def test_a_wide_glyph_fills_the_pair() -> None:
    (tile,) = atlas.tiles(codes("中"), 10, 16)
    columns = np.flatnonzero((tile < 255).any(0))
    assert columns[0] < 5
    assert columns[-1] >= 14
    assert set(np.unique(tile)) == {0, 255}, "16 px bitmaps are shown as they are at 16 px"


def test_blanks() -> None:
    assert (atlas.tiles(codes(" \0"), 10, 16) == 255).all()
    assert (atlas.tiles(codes("\u00a0\u3000"), 10, 16).min((1, 2)) < 20).all()
    assert atlas.tiles(codes(""), 10, 16).shape == (0, 16, 20)


@pytest.mark.parametrize("code", [0x1B, 0x301, 0xD800, 0xE000, 0x1F389])
def test_a_character_without_a_glyph_is_an_error(code: int) -> None:
    with pytest.raises(RenderError, match=f"U\\+{code:04X}"):
        atlas.tiles(np.array([65, code], np.uint32), 10, 16)


@pytest.mark.parametrize("cell", [(12.25, 20), (1, 16), (10, 1), (0, 0)])
def test_a_cell_that_has_no_tiles_is_refused(cell: tuple[float, int]) -> None:
    with pytest.raises(InputError):
        atlas.tiles(codes("a"), *cell)


def test_shipped_files_are_small() -> None:
    folder = files("optical_memory.renderers").joinpath("fonts")
    names = ["classes.bin", "masters.bin", "unifont.bin", "bitmaps.bin"]
    assert sum(len(folder.joinpath(name).read_bytes()) for name in names) < 2_000_000


@pytest.mark.slow
def test_the_build_gives_the_shipped_files(tmp_path: Path) -> None:
    sources = ["/usr/share/unifont/unifont.hex", "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf"]
    x11 = Path(os.environ.get("X11_FONTS", "/usr/share/fonts/X11/misc"))
    if not all(Path(path).exists() for path in [*sources, x11 / "5x8.pcf.gz"]):
        pytest.skip("needs the Debian packages unifont, fonts-dejavu-core and xfonts-base")
    build = ROOT / "scripts/build_atlas.py"
    subprocess.run([sys.executable, build, "--out", tmp_path, "--x11", x11], check=True, capture_output=True)
    for built in tmp_path.iterdir():
        assert built.read_bytes() == files("optical_memory.renderers").joinpath("fonts", built.name).read_bytes()
    assert len(list(tmp_path.iterdir())) == 4
