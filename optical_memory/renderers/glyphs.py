"""Glyphs of Chromium: each character is drawn once, alone on a sheet, and cut out as the tiles of its cells.

Most pages hold nothing but characters that look the same wherever they stand; such a page is put together from tiles
and costs no picture. Right-to-left text, which is shaped, characters with combining marks and emoji in colour need
their neighbours: pages with any of them are drawn whole.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from optical_memory.renderers.base import Grid, Layout, Raster
from optical_memory.renderers.markup import CLASSES, Decoration, fonts_of, right_to_left
from optical_memory.renderers.tab import Pixels
from optical_memory.renderers.tiles import Keys, Tiles, characters
from optical_memory.renderers.visible import FILLER_MARK, HEADER_MARK, NEWLINE_MARK, TAB_MARK, WIDE
from optical_memory.renderers.webfonts import LAST, PRIVATE, TEXT, Faces

CHANNELS = 3
"""Pages in one picture: one in its red, one in its green, one in its blue channel."""
_SHEET = 1280  # px a side
_ROOM = 2
"""Each glyph has the room of so many pairs across and rows down, and stands in its middle."""
_COMMON = [*range(0x20, 0x7F), *map(ord, f"{HEADER_MARK}{NEWLINE_MARK}{TAB_MARK}{FILLER_MARK}–—‘’“”…•·→×✓│─├└")]


def is_whole(layout: Layout, faces: Faces) -> bool:
    """Whether a page has characters that depend on their neighbours, or cells that do not end at half pixels."""
    has_tiles = 2 * layout.grid.cell_width % 1 == 0
    return bool(not has_tiles or layout.marks or faces.has_emoji(layout) or right_to_left(layout.cells).any())


def keys_of(layout: Layout, decoration: Decoration, faces: Faces) -> Keys:
    """Return the keys of a page's tiles. Errors: InputError for a character that no shipped font draws."""
    codes = characters(layout.cells)
    codes = np.where(codes == 0, np.uint32(ord(" ")), codes)
    fonts_of(codes, faces)
    return _keys(codes, np.where(faces.table[codes] == TEXT, decoration.ways, 0))


def _keys(codes: npt.NDArray[np.uint32], ways: npt.NDArray[np.uint8]) -> Keys:
    return codes * np.uint32(len(CLASSES)) + ways


@functools.cache
def common(faces: Faces) -> Keys:
    """Return the keys of what nearly every page holds: all ways to draw ASCII and some signs."""
    codes = np.array([code for code in _COMMON if faces.table[code] == TEXT], np.uint32)
    return np.concatenate([_keys(codes, np.full_like(codes, way)) for way in range(len(CLASSES))])


def blank(grid: Grid) -> Tiles:
    """Return tiles of a grid's cells, none known yet."""
    return Tiles((grid.cell_width, grid.cell_height), _over(grid))


def _over(grid: Grid) -> tuple[int, int]:
    """Return how far glyphs may reach over their cells, across and down, in px: one, and an eighth of the height."""
    return 1, -(-grid.cell_height // 8)


class Sheets:
    """Pictures that show glyphs, three sheets in each, and what to cut out of them."""

    def __init__(self, keys: Keys, cell: Grid, faces: Faces) -> None:
        """Take the glyphs and a grid with their cells."""
        self._faces, self._height = faces, cell.cell_height
        self._pair = round(2 * cell.cell_width)
        self._over = _over(cell)
        self._block = (_ROOM * self._pair, _ROOM * cell.cell_height)
        self._inset = (self._pair // 2, cell.cell_height // 2)
        width, height = (max(_SHEET // side * side, side) for side in self._block)
        self.grid = Grid(width=width, height=height, cell_width=cell.cell_width, cell_height=cell.cell_height)
        self._columns, self._rows = width // self._block[0], height // self._block[1]
        self._glyphs = [self._glyph(*divmod(key, len(CLASSES))) for key in keys.tolist()]
        self.fonts = fonts_of(keys // np.uint32(len(CLASSES)), faces) | 1 << TEXT  # rows stand on its baseline

    def _glyph(self, code: int, way: int) -> tuple[str, ...]:
        """Return a glyph as markup, where it stands at the left of a pair and, unless it fills it, at the right."""
        text = escape(chr(code + PRIVATE if self._faces.table[code] == LAST else code), quote=False)
        text = f'<span class="{CLASSES[way]}">{text}</span>' if way else text
        return (text,) if self._faces.repertoire.classes[code] == WIDE else (text, f" {text}")

    @property
    def style(self) -> str:
        """Return the rules that say where glyphs stand. Each is drawn at a whole px, so that none depends on others.

        They are moved there as the rows of a page are, by a transform: what is placed by its box is rounded otherwise.
        """
        across = "".join(f".x{x}{{--x:{x * self._block[0] + self._inset[0]}px}}" for x in range(self._columns))
        down = "".join(f".y{y}{{--y:{y * self._block[1] + self._inset[1]}px}}" for y in range(self._rows))
        return f".g{{position:absolute;left:0;top:0;transform:translate(var(--x),var(--y))}}{across}{down}"

    def pictures(self) -> list[str]:
        """Return the body of each picture."""
        glyphs = [text for texts in self._glyphs for text in texts]
        size = self._columns * self._rows
        sheets = [self._sheet(glyphs[first : first + size]) for first in range(0, len(glyphs), size)]
        return [
            "".join(f'<div class="p p{n}">{sheet}</div>' for n, sheet in enumerate(sheets[first : first + CHANNELS]))
            for first in range(0, len(sheets), CHANNELS)
        ]

    def _sheet(self, glyphs: Sequence[str]) -> str:
        return "".join(
            f'<div class="g x{place % self._columns} y{place // self._columns}"><div class=t>{text}</div></div>'
            for place, text in enumerate(glyphs)
        )

    def cut(self, pictures: Sequence[Pixels]) -> Raster:
        """Return the glyphs' tiles, as :meth:`optical_memory.renderers.tiles.Tiles.learn` takes them."""
        across, down = self._over
        shape = (self._height + 2 * down, self._pair + 2 * across)
        sheets = [pixels[:, :, channel] for pixels in pictures for channel in range(CHANNELS)]
        out = np.empty((len(self._glyphs), 2, *shape), np.uint8)
        place = 0
        for glyph, texts in enumerate(self._glyphs):
            for half in (0, 1):
                sheet, at = divmod(place + min(half, len(texts) - 1), self._columns * self._rows)
                y = at // self._columns * self._block[1] + self._inset[1] - down
                x = at % self._columns * self._block[0] + self._inset[0] - across
                out[glyph, half] = sheets[sheet][y : y + shape[0], x : x + shape[1]]
            place += len(texts)
        return out
