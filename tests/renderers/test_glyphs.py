"""Pages that are put together from glyphs: the pixels of pages that Chromium draws whole, without a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from optical_memory.renderers import ChromiumRenderer, png
from optical_memory.renderers import chromium as module
from optical_memory.renderers.base import Grid, Layout, Raster
from optical_memory.renderers.browser import borrow
from optical_memory.renderers.glyphs import Sheets, common, is_whole
from optical_memory.renderers.layout import Run, lay_out
from optical_memory.renderers.markup import right_to_left
from optical_memory.renderers.tiles import Keys, Tiles
from optical_memory.renderers.visible import NARROW, WIDE

MARK = "\u0301"
ROOT = Path(__file__).parents[2]
CODE = (ROOT / "optical_memory/asking.py").read_text("utf-8")
PROSE = (ROOT / "docs/keeping.md").read_text("utf-8")
EAST_ASIAN = "中文的“长上下文”记忆：第１章。日本語のテキスト、한국어 문장. **강조** `코드` ｶﾅ ①②\n" * 30
TEXTS = {"code": f"See `x=1` and *it*:\n```python\n{CODE}\n```\n", "prose": PROSE, "East Asian": EAST_ASIAN}


def grid_of(width: float, height: int) -> Grid:
    return Grid(width=800, height=600, cell_width=width, cell_height=height)


def laid_out(renderer: ChromiumRenderer, grid: Grid, text: str, role: str = "user") -> list[Layout]:
    run = Run(turn_id="t", role=role, text=text, header=f"{role}: ")
    return lay_out([run], grid, renderer_key=renderer.key, repertoire=renderer.repertoire)[:3]


def drawn_whole(renderer: ChromiumRenderer, layouts: list[Layout], size: tuple[int, int]) -> list[Raster]:
    pages = borrow(renderer._options, renderer).submit(renderer._picture(layouts, size)).result()
    return [page.raster() for page in pages]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("role", ["user", "tool"])
@pytest.mark.parametrize("cell", [(10, 16), (15, 25), (16, 24), (12.5, 20)])
def test_a_page_of_glyphs_is_the_page_drawn_whole(
    chromium: ChromiumRenderer, cell: tuple[float, int], role: str, text: str
) -> None:
    grid = grid_of(*cell)
    layouts = laid_out(chromium, grid, TEXTS[text], role)
    assert layouts
    assert not any(is_whole(layout, chromium._faces) for layout in layouts)
    size = (grid.width, grid.height)
    for ours, whole in zip(chromium.draw(layouts, size=size), drawn_whole(chromium, layouts, size), strict=True):
        assert ours.shape == whole.shape
        difference = np.abs(ours.astype(int) - whole)
        assert difference.max() <= 17  # at most a grey level, as letters at half px may be rounded,
        assert np.count_nonzero(difference) <= difference.size // 10_000  # at hardly any pixel


def test_a_glyph_is_the_same_wherever_it_stands_on_a_sheet(chromium: ChromiumRenderer) -> None:
    for cell in ((10, 16), (12.5, 20), (8, 12)):
        grid = grid_of(*cell)
        keys = np.concatenate((common(chromium._faces), 3 * np.arange(0x4E00, 0x4E00 + 700, dtype=np.uint32)))
        order = np.random.default_rng(5).permutation(len(keys))
        one, other = chromium._drawn(keys, grid), chromium._drawn(keys[order], grid)
        assert np.array_equal(one[order], other)
        assert np.array_equal(chromium._drawn(keys[-1:], grid), one[-1:])  # alone, with no font but its own


def test_no_glyph_reaches_further_than_its_tile(chromium: ChromiumRenderer) -> None:
    """What surrounds the tiles of a sheet is blank, but for a few drawings and letters whose ends are cut."""
    classes = chromium.repertoire.classes[:0x10000]
    codes = np.flatnonzero((classes == NARROW) | (classes == WIDE)).astype(np.uint32)
    codes = codes[~right_to_left(codes) & (codes > 0x20)]
    for cell in ((10, 16), (15, 25)):
        sheets = Sheets(3 * codes, grid_of(*cell), chromium._faces)
        sheets._over = (4, 6)
        cut = sheets.cut(shots(chromium, sheets))
        cut[:, :, 6 - -(-cell[1] // 8) : -6 + -(-cell[1] // 8), 3:-3] = 255
        beyond = {chr(code) for code, tile in zip(codes.tolist(), cut, strict=True) if (tile < 255).any()}
        assert not {letter for letter in beyond if letter.isascii()}
        assert len(beyond) < len(codes) // 100, sorted(beyond)[:50]


def shots(renderer: ChromiumRenderer, sheets: Sheets) -> list[np.ndarray]:
    browser = borrow(renderer._options, renderer)
    bodies = sheets.pictures()
    return [browser.submit(renderer._shot(body, sheets.grid, sheets.fonts, sheets.style)).result() for body in bodies]


def test_known_glyphs_need_no_browser(chromium: ChromiumRenderer) -> None:
    layouts = laid_out(chromium, grid_of(10, 16), PROSE)
    before = chromium.draw(layouts, size=(800, 600))
    other = ChromiumRenderer(tabs=3, seconds=7)  # another browser than that of all others
    try:
        assert all(map(np.array_equal, other.draw(layouts, size=(800, 600)), before))
        assert other.pid is None
    finally:
        other.close()


def test_cells_that_do_not_end_at_half_pixels_are_drawn_whole(chromium: ChromiumRenderer) -> None:
    grid = grid_of(10.3, 17)
    layouts = laid_out(chromium, grid, PROSE)
    assert all(is_whole(layout, chromium._faces) for layout in layouts)
    drawn = chromium.draw(layouts, size=(800, 600))
    assert all(map(np.array_equal, drawn, drawn_whole(chromium, layouts, (800, 600))))


def test_only_some_sizes_of_cells_are_kept(chromium: ChromiumRenderer, monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[tuple[str, float, int], Tiles] = {}
    monkeypatch.setattr(module, "_KNOWN", known)
    monkeypatch.setattr(module, "_MOST_KNOWN", 2)
    for width in (8, 9, 10, 11):
        grid = grid_of(width, 16)
        chromium.draw(laid_out(chromium, grid, "some words"), size=(800, 600))
    assert [width for _, width, _ in known] == [10, 11]


def test_pages_of_both_kinds_come_in_their_order(chromium: ChromiumRenderer) -> None:
    grid = grid_of(10, 16)
    texts = ["one", "two\u0301", "three", "four", "fi\u0301ve", "שש", "seven"]
    layouts = [layout for text in texts for layout in laid_out(chromium, grid, text)]
    assert [is_whole(layout, chromium._faces) for layout in layouts] == [False, True, False, False, True, True, False]
    alone = [chromium.draw([layout], size=(400, 300))[0] for layout in layouts]
    assert all(map(np.array_equal, chromium.draw(layouts, size=(400, 300)), alone))
    assert all(map(np.array_equal, chromium.stream(iter(layouts), size=(400, 300)), alone))


def test_code_is_shaded_and_stays_legible(chromium: ChromiumRenderer) -> None:
    grid = grid_of(10, 16)
    for mark in ("", "\u0301"):
        (layout,) = laid_out(chromium, grid, f"a{mark} `code` b", "user")
        (page,) = chromium.draw([layout], size=(800, 600))
        grey = page if page.ndim == 2 else page.max(axis=2)
        row = grey[:16]
        at = layout.text.index("`") * 10 - (10 if mark else 0)
        assert (row[:, at : at + 60].max(), row[:, at : at + 60].min()) == (238, 0)
        assert row[:, at + 70 : at + 80].max() == 255


def test_a_character_that_no_font_draws_is_an_error(chromium: ChromiumRenderer) -> None:
    from optical_memory.errors import InputError

    for code, says in ((0xFFFFFFF0, "no code point"), (0xE000, "do not draw U\\+E000")):
        cells: Keys = np.zeros((10, 10), np.uint32)
        cells[1, 1] = code
        with pytest.raises(InputError, match=says):
            chromium.draw([Layout(id="x", grid=grid_of(80, 60), cells=cells, text="")], size=(800, 600))


def test_painted_pages_have_the_pixels_of_drawn_ones(chromium: ChromiumRenderer) -> None:
    grid = grid_of(12.5, 20)
    links = "see https://example.org/a and [that](http://example.org/b) " * 2
    runs = [
        Run(turn_id=role, role=role, text=f"{links}`code`", header=f"{role}:")
        for role in ("system", "user", "assistant", "tool")
    ]
    mixed, *_ = lay_out(runs, grid, renderer_key=chromium.key, repertoire=chromium.repertoire)
    plain, *_ = lay_out(
        [Run(turn_id="t", role="tool", text=CODE)], grid, renderer_key="x", repertoire=chromium.repertoire
    )
    layouts = [mixed, plain, *laid_out(chromium, grid, f"a{MARK} `b`"), *laid_out(chromium, grid, "")]
    for size in ((800, 600), (480, 360), (333, 250)):
        painted = [png.decode(data) for data in png.paint(chromium, layouts, size=size)]
        drawn = chromium.draw(layouts, size=size)
        assert [page.ndim for page in drawn] == [3, 2, 3, 3]
        assert all(map(np.array_equal, painted, drawn))
