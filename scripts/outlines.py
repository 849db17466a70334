"""Drawing outline fonts and the page's own marks as master glyphs: 160 px high, 100 px wide for a narrow cell, 1 bit.

The bitmap is the whole cell. Its baseline lies 122 px below the top; letters are as wide as their advance and a
little lower than in the font, so that a row needs no leading.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

Bits = npt.NDArray[np.uint8]

HEIGHT, WIDTH, BASELINE = 160, 100, 122
_SIZE = 800  # px per em of the drawing that is averaged down
_ASCENT, _DESCENT = 0.78, 0.243  # em of the font that fill the cell above and below the baseline
_MARGIN = 400  # px around the advance, for what sticks out
_LINE_DRAWING = range(0x2500, 0x25A0)  # box drawing and blocks: fill the cell so that they join


class Outlines:
    """A font, drawn into cells."""

    def __init__(self, path: Path) -> None:
        self.codes = frozenset(TTFont(path).getBestCmap())
        self._font = ImageFont.truetype(str(path), _SIZE, layout_engine=ImageFont.Layout.BASIC)

    def draw(self, code: int, cells: int) -> Bits:
        """Draw one character into a cell, or into two, as (160, 100 * cells) of 0 and 1."""
        char = chr(code)
        advance = self._font.getlength(char)
        left, top, right, bottom = self._font.getbbox(char, anchor="ls")
        size = (round(advance) + 2 * _MARGIN, 4 * _MARGIN)
        image = Image.new("L", size)
        ImageDraw.Draw(image).text((_MARGIN, 2 * _MARGIN), char, font=self._font, fill=255, anchor="ls")
        if code in _LINE_DRAWING:
            return self._line_drawing(image, advance, cells)
        # Narrow glyphs fill their advance; what is wider than the place for it is squeezed.
        place = cells * self._font.getlength("0")
        x0, x1 = min(0.0, left), max(advance, right)
        spare = max(0.0, place - (x1 - x0)) / 2
        x0, x1 = x0 - spare + _MARGIN, x1 + spare + _MARGIN
        up = max(_ASCENT * _SIZE, -float(top))
        down = max(_DESCENT * _SIZE, float(bottom))
        base = 2.0 * _MARGIN
        above = _average(image, (x0, base - up, x1, base), WIDTH * cells, BASELINE)
        below = _average(image, (x0, base, x1, base + down), WIDTH * cells, HEIGHT - BASELINE)
        return np.concatenate((above, below))

    def _line_drawing(self, image: Image.Image, advance: float, cells: int) -> Bits:
        _, top, _, bottom = self._font.getbbox("\u2588", anchor="ls")
        box = (_MARGIN, 2 * _MARGIN + top, _MARGIN + advance, 2 * _MARGIN + bottom)
        return _average(image, box, WIDTH * cells, HEIGHT)


def _average(image: Image.Image, box: tuple[float, float, float, float], width: int, height: int) -> Bits:
    """Average a part of a drawing down and keep what is at least half black."""
    x0, y0, x1, y1 = (round(edge) for edge in box)
    part = image.crop((x0, y0, x1, y1))
    return (np.asarray(part.resize((width, height), Image.Resampling.BOX)) >= 128).astype(np.uint8)


def repainted(mono: Outlines) -> dict[int, Bits]:
    """Redraw what small cells confuse: a narrow 0 with a bar, a 1 with a long flag, a narrow 8, a tall ^."""

    def with_line(bits: Bits, ends: list[tuple[int, int]]) -> Bits:
        image = Image.fromarray(bits * 255)
        ImageDraw.Draw(image).line(ends, fill=255, width=13, joint="curve")
        return (np.asarray(image) > 0).astype(np.uint8)

    zero, one, eight = (mono.draw(ord(digit), 1) for digit in "018")
    return {
        ord("0"): with_line(_squeezed(zero, 0.84), [(33, 100), (67, 28)]),
        ord("1"): with_line(one, [(12, 58), (52, 14)]),
        ord("8"): _squeezed(eight, 0.86),
        ord("^"): with_line(np.zeros_like(one), [(10, 92), (50, 22), (90, 92)]),
    }


def _squeezed(bits: Bits, share: float) -> Bits:
    """Make a glyph narrower about its middle, its strokes as well."""
    middle = (WIDTH - 1) / 2
    columns = np.rint(middle + (np.arange(WIDTH) - middle) / share).astype(int)
    inside = (columns >= 0) & (columns < WIDTH)
    return np.where(inside, bits[:, np.clip(columns, 0, WIDTH - 1)], 0).astype(np.uint8)


def marks() -> dict[int, Bits]:
    """Draw the marks of the page and the visible blanks."""
    polygons = {
        0x21B5: (1, [[(70, 32), (84, 32), (84, 98), (40, 98), (40, 118), (8, 90), (40, 62), (40, 84), (70, 84)]]),
        0x21E5: (
            1,
            [
                [(80, 22), (93, 22), (93, 144), (80, 144)],
                [(4, 76), (34, 76), (34, 54), (66, 83), (34, 112), (34, 90), (4, 90)],
            ],
        ),
        0x25AE: (1, [[(6, 4), (86, 4), (86, 154), (6, 154)]]),
        0x25B9: (1, [[(18, 48), (74, 83), (18, 118)]]),
        0x00A0: (1, [[(16, 104), (28, 104), (28, 126), (72, 126), (72, 104), (84, 104), (84, 138), (16, 138)]]),
        0x3000: (
            2,
            [
                [(34, 104), (46, 104), (46, 126), (78, 126), (78, 138), (34, 138)],
                [(166, 104), (154, 104), (154, 126), (122, 126), (122, 138), (166, 138)],
            ],
        ),
    }
    out = {}
    for code, (cells, shapes) in polygons.items():
        image = Image.new("1", (WIDTH * cells, HEIGHT))
        for shape in shapes:
            ImageDraw.Draw(image).polygon(shape, fill=1)
        out[code] = np.asarray(image).astype(np.uint8)
    return out
