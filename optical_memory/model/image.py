"""From an image to pixels: the published modes, tiling, and how many tokens they cost.

A mode shows the whole image as one square *view*, resized (small modes) or padded with grey (large modes). The
Gundam modes also cut a larger image into square *tiles*. One token stands for 64 x 64 px; behind each row of tokens
comes one newline, behind the view one separator. Source: modeling_deepseekocr.py of deepseek-ai/DeepSeek-OCR
(2025-10-20); the tests hold every number and pixel to its output.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from optical_memory.errors import ImageError

MAX_PIXELS = 89_478_485
"""Largest image accepted, in px: Pillow's own limit for decompression bombs."""
MAX_TILES = 64
"""Largest number of tiles that may be asked for; the published modes stop at 9."""
PX_PER_TOKEN = 64
_GREY = (127, 127, 127)

Grid = tuple[int, int]
"""Tiles across and down; (1, 1) for an image that is not tiled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """How an image is shown: ``size`` px of the view, padded or else resized; ``tile`` px of a tile, None without.

    Images whose sides both fit a tile are not tiled; others are cut into 2 to ``max_tiles`` tiles.
    """

    name: str
    size: int
    padded: bool
    tile: int | None = None
    max_tiles: int = 9

    def __post_init__(self) -> None:
        """Refuse sizes that do not fall into whole tokens."""
        for size in (self.size, self.tile or PX_PER_TOKEN):
            if size < PX_PER_TOKEN or size % PX_PER_TOKEN or size**2 > MAX_PIXELS:
                raise ImageError(f"mode {self.name!r}: {size!r} px is not a positive multiple of {PX_PER_TOKEN}")
        if self.tile is not None and not 2 <= self.max_tiles <= MAX_TILES:
            raise ImageError(f"mode {self.name!r}: max_tiles is {self.max_tiles!r}; use 2 to {MAX_TILES}")

    def grid(self, width: int, height: int) -> Grid:
        """Return the tiles across and down for an image of this size in px."""
        if self.tile is None or (width <= self.tile and height <= self.tile):
            return (1, 1)
        return tile_grid(width, height, max_tiles=self.max_tiles, tile=self.tile)

    def tokens(self, width: int, height: int) -> int:
        """Return the length in the sequence, newlines and separator counted, for an image of this size in px."""
        side = self.size // PX_PER_TOKEN
        across, down = self.grid(width, height)
        if self.tile is None or (across, down) == (1, 1):
            return side * (side + 1) + 1
        part = self.tile // PX_PER_TOKEN
        return side * (side + 1) + 1 + part * down * (part * across + 1)

    def valid_tokens(self, width: int, height: int) -> int:
        """Return how many tokens show the image and not the padding, as the reference reports them."""
        _check_size(width, height)
        count = (self.size // PX_PER_TOKEN) ** 2
        if self.padded:
            # The reference's expression, literally: min / max rounds differently.
            longer, shorter = max(width, height), min(width, height)
            count = int(count * (1 - ((longer - shorter) / longer)))
        across, down = self.grid(width, height)
        if self.tile is None or (across, down) == (1, 1):
            return count
        return count + (self.tile // PX_PER_TOKEN) ** 2 * across * down


MODES: Mapping[str, Mode] = {
    mode.name: mode
    for mode in (
        Mode(name="tiny", size=512, padded=False),
        Mode(name="small", size=640, padded=False),
        Mode(name="base", size=1024, padded=True),
        Mode(name="large", size=1280, padded=True),
        Mode(name="gundam", size=1024, padded=True, tile=640),
        Mode(name="gundam-m", size=1280, padded=True, tile=1024),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pixels:
    """An image ready for the encoder: values in [-1, 1], float32, channels first.

    ``view`` is (3, S, S); ``tiles`` is (n, 3, s, s) in row order, n = across * down of ``grid``, None without.
    """

    view: npt.NDArray[np.float32]
    tiles: npt.NDArray[np.float32] | None = None
    grid: Grid = (1, 1)


def find_mode(mode: str | int | Mode) -> Mode:
    """Return the mode of a name, or of a side in px: up to 640 resized, above padded, as published.

    Raises ImageError for an unknown name or a side that is not a multiple of 64.
    """
    if isinstance(mode, Mode):
        return mode
    if isinstance(mode, int):
        return Mode(name=str(mode), size=mode, padded=mode > 640)
    if mode in MODES:
        return MODES[mode]
    raise ImageError(f"unknown mode {mode!r}; use one of {', '.join(MODES)}, or a side in px")


def tile_grid(width: int, height: int, *, max_tiles: int = 9, tile: int = 640) -> Grid:
    """Return the tiles across and down whose shape is nearest to the image's.

    Among grids that are equally near, a larger one is taken where the image has more than half of its pixels.
    Sides in px; 2 to ``max_tiles`` tiles.
    """
    _check_size(width, height)
    sides = range(1, max_tiles + 1)
    grids = sorted(((a, d) for a in sides for d in sides if 2 <= a * d <= max_tiles), key=lambda g: (g[0] * g[1], g))
    best, least = (1, 1), math.inf
    for across, down in grids:
        distance = abs(width / height - across / down)
        roomy = width * height > 0.5 * tile * tile * across * down
        if distance < least or (distance == least and roomy):
            best, least = (across, down), distance
    return best


def open_image(source: bytes | str | Path) -> Image.Image:
    """Open an image file, or its bytes, upright and in RGB. Raises ImageError, also for a decompression bomb."""
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return upright(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"the image is larger than {MAX_PIXELS:,} px: {error}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"not a readable image: {error}") from error


def upright(image: Image.Image) -> Image.Image:
    """Return the image turned as its EXIF data says, in RGB. Raises ImageError for a size of zero or too many px.

    As published, what is transparent shows the colour stored there. Greys of 16 bits become the nearest of 8 bits,
    where Pillow makes all but the darkest white.
    """
    _check_size(*image.size)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")  # the same colours; Pillow warns of the direct way
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    levels = np.asarray(image)
    if image.mode == "I" and levels.max() <= 255:
        return image
    return Image.fromarray(((levels.clip(0, 65_535).astype(np.uint32) + 128) // 257).astype(np.uint8))


def prepare(image: Image.Image, mode: str | int | Mode = "gundam") -> Pixels:
    """Resize or pad, and tile, an image as the mode says. Raises ImageError."""
    chosen = find_mode(mode)
    view, tiles, grid = cut(upright(image), chosen)
    if not tiles:
        return Pixels(view=normalised(view))
    return Pixels(view=normalised(view), tiles=np.stack([normalised(tile) for tile in tiles]), grid=grid)


def cut(image: Image.Image, mode: Mode) -> tuple[Image.Image, list[Image.Image], Grid]:
    """Return the view, the tiles in row order, and their grid, of an RGB image. Raises ImageError."""
    width, height = image.size
    if mode.padded and min(width, height) * mode.size <= 0.5 * max(width, height):
        raise ImageError(f"an image of {width} x {height} px has no height or width left in mode {mode.name!r}")
    side = (mode.size, mode.size)
    view = ImageOps.pad(image, side, color=_GREY) if mode.padded else image.resize(side)
    across, down = grid = mode.grid(width, height)
    if mode.tile is None or grid == (1, 1):
        return view, [], (1, 1)
    canvas = image.resize((mode.tile * across, mode.tile * down))
    corners = [(x * mode.tile, y * mode.tile) for y in range(down) for x in range(across)]
    return view, [canvas.crop((x, y, x + mode.tile, y + mode.tile)) for x, y in corners], grid


def normalised(image: Image.Image) -> npt.NDArray[np.float32]:
    """Return an RGB image as (3, H, W) float32 with mean 0.5 and deviation 0.5 taken out."""
    levels = np.asarray(image, dtype=np.float32) / np.float32(255)  # (H, W, 3)
    return np.ascontiguousarray(((levels - np.float32(0.5)) / np.float32(0.5)).transpose(2, 0, 1))  # (3, H, W)


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"an image of {width} x {height} px has no pixels")
    if width * height > MAX_PIXELS:
        raise ImageError(f"an image of {width} x {height} px is larger than {MAX_PIXELS:,} px")
