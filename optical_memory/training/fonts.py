"""Glyphs of other fonts, drawn while preparing training data; none of them ship with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Tiles = npt.NDArray[np.uint8]
"""(glyphs, height, width), 0 paper to 255 ink."""

_OVERSAMPLE = 8


def fitted(path: Path, width: float, height: float, tightness: float = 1.08) -> ImageFont.FreeTypeFont:
    """Return the largest size whose advance fits ``width`` and whose line, over ``tightness``, fits ``height`` (px)."""
    size = 4
    while True:
        font = ImageFont.truetype(str(path), size + 1)
        if font.getlength("M") > width or sum(font.getmetrics()) > height * tightness:
            return ImageFont.truetype(str(path), size)
        size += 1


def has_glyph(font: ImageFont.FreeTypeFont, character: str) -> bool:
    """Whether the font draws a character as something other than its missing-glyph box."""
    missing = font.getmask("\U0010fffe")
    drawn = font.getmask(character)
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)


def draw_tiles(
    path: Path, characters: str, width: int, height: int, *, tightness: float = 1.08, hinted: bool = False
) -> Tiles:
    """Tiles of one font in cells of ``width`` × ``height`` px; glyphs the font lacks stay empty.

    ``hinted`` draws at the cell's own size, as a program with a font library does; otherwise glyphs are drawn eight
    times larger and averaged down, as a tier is.
    """
    scale = 1 if hinted else _OVERSAMPLE
    font = fitted(path, width * scale, height * scale, tightness)
    ascent, descent = font.getmetrics()
    top = (height * scale - ascent - descent) / 2
    tiles = np.zeros((len(characters), height, width), np.uint8)
    for index, character in enumerate(characters):
        if not has_glyph(font, character):
            continue
        image = Image.new("L", (width * scale, height * scale), 0)
        left = (width * scale - font.getlength(character)) / 2
        ImageDraw.Draw(image).text((round(left) if hinted else left, round(top)), character, font=font, fill=255)
        tiles[index] = np.asarray(image if hinted else image.resize((width, height), Image.Resampling.BOX))
    return tiles
