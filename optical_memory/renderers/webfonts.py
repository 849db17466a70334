"""The fonts that Chromium draws with, and which of them draws which character.

They ship with the package (scripts/build_web_fonts.py makes them): no installed font is ever used, except a colour font
for emoji where one is named. Each character belongs to one font. All glyphs are fitted into cells of
0.6 × 0.96 em, so one font size sets all scripts on one grid.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import math
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from optical_memory.errors import InputError, MissingExtraError
from optical_memory.renderers.base import Grid, Layout
from optical_memory.renderers.visible import ESCAPED, WIDE, Repertoire, bmp_classes

TEXT, CJK, LAST, EMOJI = 1, 2, 3, 4
"""Numbers of the fonts: text and symbols, East Asian, GNU Unifont for the rest, the colour font."""
PRIVATE = 0xF0000
"""Characters of the font LAST are drawn by their twins in a private-use plane, so that nothing reshapes them."""
_CELL_WIDTH, _CELL_HEIGHT = 0.6, 0.96  # em
_FONT_STEPS = 64
"""Sizes per px that a font engine knows: it draws a size between two of them as the smaller."""
_IGNORABLE = (
    0x034F,
    0x115F,
    0x1160,
    0x17B4,
    0x17B5,
    0x180B,
    0x180C,
    0x180D,
    0x180F,
    0x3164,
    *range(0xFE00, 0xFE10),
    0xFFA0,
    0xFFE3,  # the font's glyph lies above its cell
    0xFFFC,  # the font's glyph is empty
)
_FILES = {TEXT: ("text", "bold", "italic"), CJK: ("cjk",), LAST: ("last",), EMOJI: ()}
_STYLE = """
.p{{position:absolute;left:0;top:0;width:{width}px;height:{height}px;overflow:hidden;mix-blend-mode:plus-lighter}}
.t{{width:{text_width}px;transform-origin:0 0;transform:{transform};color:#000;white-space:pre;
font:{size}px/{line}px om-text,om-cjk,om-last;
font-synthesis:none;font-kerning:none;font-variant-ligatures:none;text-rendering:geometricPrecision;
letter-spacing:0;tab-size:1;text-size-adjust:none;direction:ltr;text-align:left}}
.p0{{background:#f00}}.p1{{background:#0f0}}.p2{{background:#00f}}.all{{background:#fff}}
.i{{font-family:om-italic,om-text,om-cjk,om-last}}.b{{font-family:om-bold,om-text,om-cjk,om-last}}
.r,.e{{display:inline-block;height:{line}px;overflow:hidden;vertical-align:top}}
.r{{direction:rtl;unicode-bidi:isolate;text-align:right}}
.e{{font:{emoji}px/{line}px om-emoji;text-align:center}}
"""


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """What can be drawn: ``table`` holds the number of the font of every code point, 0 for none."""

    table: npt.NDArray[np.uint8]
    repertoire: Repertoire
    emoji_font: Path | None = None
    emoji_digest: str = ""

    def has_emoji(self, layout: Layout) -> bool:
        """Whether anything on a page is drawn by the colour font."""
        if self.emoji_font is None:
            return False
        codes = layout.cells[layout.cells < len(self.table)]
        return bool((self.table[codes] == EMOJI).any())


@functools.cache
def load_faces(emoji_font: Path | None = None) -> Faces:
    """Load the table of fonts; ``emoji_font`` is a colour font for emoji.

    Errors: InputError for a font that cannot be read, MissingExtraError without fontTools.
    """
    packed = files("optical_memory.renderers").joinpath("fonts", "faces.bin").read_bytes()
    classes = bmp_classes().copy()
    classes[list(_IGNORABLE)] = ESCAPED
    table = np.zeros(len(classes), np.uint8)
    table[:0x10000] = np.frombuffer(zlib.decompress(packed), np.uint8)
    if emoji_font is not None:
        emoji = _emoji(emoji_font)
        table[emoji] = EMOJI
        classes[emoji] = WIDE
    table.flags.writeable = False
    digest = hashlib.sha256(emoji_font.read_bytes()).hexdigest() if emoji_font is not None else ""
    return Faces(table, Repertoire(classes), emoji_font, digest)


def _emoji(path: Path) -> list[int]:
    """Return the characters of a colour font that are shown in colour by default."""
    try:
        from fontTools.ttLib import TTFont, TTLibError
    except ImportError as error:
        raise MissingExtraError("fonttools", "chromium") from error
    try:
        with TTFont(path, lazy=True) as font:
            codes = font.getBestCmap()
    except (OSError, TTLibError) as error:
        raise InputError(f"{str(path)!r} is not a font: {error}") from error
    return [code for code in codes if 0x1F000 <= code < 0x20000 or (0x2300 <= code < 0x2C00 and _is_wide(code))]


def _is_wide(code: int) -> bool:
    return unicodedata.east_asian_width(chr(code)) == "W"


def style(grid: Grid, numbers: int, emoji_font: Path | None) -> str:
    """Return the style of pages on a grid, with the fonts whose numbers are bits of ``numbers``.

    Cells are 0.6 × 0.96 em; where a grid's are lower, its rows are drawn at that shape and pressed together. Fonts come
    in steps of 1/64 px, so text is set in the step below and stretched to the pitch: otherwise the letters of a long
    row would drift out of their cells. Only the text is scaled: the page around it keeps whole pixels, so that it ends
    where the stamp below it begins.
    """
    size = math.floor(grid.cell_width / _CELL_WIDTH * _FONT_STEPS)
    pitch = size / _FONT_STEPS * _CELL_WIDTH
    natural = grid.cell_width / _CELL_WIDTH * _CELL_HEIGHT
    line = max(math.ceil(natural), grid.cell_height)  # whole px: all rows lie alike on them
    rules = _STYLE.format(
        width=grid.width,
        height=grid.height,
        text_width=grid.columns * pitch,
        transform=_scaling(grid.cell_width / pitch, grid.cell_height / line),
        size=(size + 0.25) / _FONT_STEPS,  # safely within the step
        line=line,
        emoji=min(2 * pitch / 1.3, line / 1.2),
    )
    widths = "".join(f".w{cells}{{width:{cells * pitch}px}}" for cells in range(1, grid.columns + 1))
    return "".join(_font_faces(numbers, emoji_font)) + rules + widths


def _scaling(across: float, down: float) -> str:
    return "none" if across == down == 1 else f"scale({across},{down})"


def _font_faces(numbers: int, emoji_font: Path | None) -> Iterator[str]:
    folder = files("optical_memory.renderers").joinpath("fonts")
    names = [name for number, names in _FILES.items() if numbers >> number & 1 for name in names]
    for name in names:
        yield _font_face(name, folder.joinpath(f"{name}.woff2").read_bytes())
    if emoji_font is not None and numbers >> EMOJI & 1:
        yield _font_face("emoji", emoji_font.read_bytes())


def _font_face(name: str, data: bytes) -> str:
    return f"@font-face{{font-family:om-{name};src:url(data:font/sfnt;base64,{base64.b64encode(data).decode()})}}"
