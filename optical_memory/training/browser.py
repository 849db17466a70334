"""Sheets of tiles that Chromium itself draws, cut from pages of the Chromium renderer: plain, bold, italic and code."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from optical_memory.renderers import base, visible
from optical_memory.renderers.base import Grid, Layout, Span
from optical_memory.renderers.chromium import ChromiumRenderer
from optical_memory.renderers.webfonts import LAST, load_faces
from optical_memory.training.data import Arrays
from optical_memory.training.glyphs import are_signs

LATIN_CELLS = ((12.5, 20), (10, 16), (8, 12))
"""Cells (width, height in px) drawn in all four styles."""
SCRIPT_CELLS = ((12.5, 20), (8, 16))
"""Cells of sheets with all scripts of the text fonts, plain."""

Tiles = npt.NDArray[np.uint8]
"""(glyphs, height, width), 0 paper to 255 ink."""

_STYLES = ("", "**", "_", "`")
"""What Markdown puts around plain, bold, italic and code."""
_PITCH = 6
"""Columns from one glyph to the next: every tile has paper at both sides."""
_LEAST_MARK = 0.04
"""Share of a letter's ink by which an accented one must differ from it; accents on capitals lie in the row above."""
_MARKS = tuple(map(ord, (visible.NEWLINE_MARK, visible.TAB_MARK, visible.HEADER_MARK, visible.FILLER_MARK)))


def browser_sheets() -> Arrays:
    """Return the arrays of sheets named "chromium-WxH" (four styles) and "chromium-scripts-WxH"."""
    faces = load_faces()
    every = np.arange(65536)
    classes = visible.bmp_classes()[:65536]
    drawn = (faces.table[:65536] > 0) & (faces.table[:65536] != LAST) & (every > 32)
    narrow = drawn & (classes == visible.NARROW)
    wide = drawn & (classes == visible.WIDE)
    signs = are_signs()
    latin, pairs = narrow & ((every < 0x530) | signs), wide & signs
    arrays: Arrays = {}
    with_marks = np.union1d(every[latin], _MARKS)
    renderer = ChromiumRenderer()
    try:
        for width, height in LATIN_CELLS:
            parts = [_tiles(renderer, with_marks, width, height, style) for style in _STYLES]
            whole = _tiles(renderer, every[pairs], width, height, "", wide=True)
            codes = np.concatenate((with_marks, every[pairs]))
            arrays |= _arrays(f"chromium-{width:g}x{height}", codes, [np.concatenate((p, whole)) for p in parts], width)
        for width, height in SCRIPT_CELLS:
            tiles = _tiles(renderer, every[narrow], width, height, "")
            whole = _tiles(renderer, every[wide], width, height, "", wide=True)
            codes = np.concatenate((every[narrow], every[wide]))
            arrays |= _arrays(f"chromium-scripts-{width:g}x{height}", codes, [np.concatenate((tiles, whole))], width)
    finally:
        renderer.close()
    return arrays


def latin_sheet(width: float, height: int) -> Arrays:
    """Return the arrays of one sheet of Latin letters and marks in all four styles, "chromium-WxH"."""
    faces = load_faces()
    every = np.arange(65536)
    drawn = (faces.table[:65536] > 0) & (faces.table[:65536] != LAST) & (every > 32)
    narrow = drawn & (visible.bmp_classes()[:65536] == visible.NARROW)
    codes = np.union1d(every[narrow & ((every < 0x250) | ((every >= 0x2010) & (every < 0x2028)))], _MARKS)
    renderer = ChromiumRenderer()
    try:
        styles = [_tiles(renderer, codes, width, height, style) for style in _STYLES]
    finally:
        renderer.close()
    return _arrays(f"chromium-{width:g}x{height}", codes, styles, width)


def _arrays(name: str, codes: npt.NDArray[np.int64], styles: list[Tiles], width: float) -> Arrays:
    middle = math.ceil(width)
    tiles = np.stack(styles)
    tiles[:, _without_mark(codes, tiles[0])] = 0
    for style in tiles[1:]:  # what a style cannot hold (its own marks) is taken from the plain one
        lacking = ~style.any((1, 2))
        style[lacking] = tiles[0][lacking]
    return {
        f"{name}/left": np.ascontiguousarray(tiles[:, :, :, :middle]),
        f"{name}/right": np.ascontiguousarray(tiles[:, :, :, middle:]),
        f"{name}/codes": codes.astype(np.uint16),
    }


def _without_mark(codes: npt.NDArray[np.int64], tiles: Tiles) -> list[int]:
    """Return the glyphs whose accent is not on their tile."""
    places = {int(code): place for place, code in enumerate(codes)}
    found = []
    for code, place in places.items():
        letter = places.get(ord(unicodedata.normalize("NFD", chr(code))[0]), place)
        if letter != place:
            difference = np.abs(tiles[place].astype(int) - tiles[letter]).sum()
            if difference < _LEAST_MARK * tiles[letter].sum():
                found.append(place)
    return found


def _tiles(
    renderer: ChromiumRenderer, codes: npt.NDArray[np.int64], width: float, height: int, style: str, wide: bool = False
) -> Tiles:
    """Draw each code point in an even and in an odd column: (n, height, 2 * width), the two side by side."""
    side = 1280
    grid = Grid(width=side, height=side, cell_width=width, cell_height=height)
    layouts = list(_layouts(codes, grid, style, wide))
    rasters = renderer.draw(layouts, size=(grid.width, grid.height))
    pair = round(2 * width)
    left, out = math.ceil(width), np.zeros((len(codes), height, pair), np.uint8)
    for index in range(len(codes)):
        sheet, row, column = _place(index, grid)
        x, odd = round(column * width), round((column + 2) * width)
        ink = 255 - rasters[sheet][row * height : (row + 1) * height]
        if wide:
            out[index] = ink[:, x : x + pair]
            continue
        out[index, :, :left] = ink[:, x : x + left]
        out[index, :, left:] = ink[:, odd + left : odd + pair]
    return out


def _place(index: int, grid: Grid) -> tuple[int, int, int]:
    """Page, row and even column of a glyph: every second row, every sixth column behind the style's marks."""
    across, down = (grid.columns - 8) // _PITCH, (grid.rows - 1) // 2
    page, rest = divmod(index, across * down)
    return page, rest // across * 2 + 1, 4 + rest % across * _PITCH


def _layouts(codes: npt.NDArray[np.int64], grid: Grid, style: str, wide: bool) -> Iterator[Layout]:
    pages = _place(len(codes) - 1, grid)[0] + 1
    for page in range(pages):
        cells = np.full((grid.rows, grid.columns), ord(" "), np.uint32)
        for index in range(len(codes)):
            at, row, column = _place(index, grid)
            if at != page or (style and chr(codes[index]) in style):
                continue
            cells[row, column] = codes[index]
            cells[row, column + (1 if wide else 3)] = base.WIDE if wide else codes[index]
        _enclose(cells, style)
        span = Span(turn_id="t", role="user", first_row=0, last_row=grid.rows - 1)
        yield Layout(id=f"{page}", grid=grid, cells=cells, text="", spans=(span,))


def _enclose(cells: npt.NDArray[np.uint32], style: str) -> None:
    """Put the style's marks around each row that holds glyphs, and a newline behind it."""
    signs: Sequence[int] = [ord(sign) for sign in style]
    for row in cells[1::2]:
        used = np.flatnonzero(row != ord(" "))
        if len(used) == 0:
            continue
        first, last = 4, int(used[-1])
        if signs:
            row[first - 1 - len(signs) : first - 1] = signs
            row[first - 1] = row[first]  # a style begins at a letter, not at a blank
            row[last + 1] = row[last]
            row[last + 2 : last + 2 + len(signs)] = signs
        row[-1] = ord(visible.NEWLINE_MARK)
