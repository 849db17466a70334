"""How the benchmark's pages are drawn and damaged, and the list of all kinds of page that are measured."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.mini.text import LATIN, SCRIPTS
from optical_memory.model.mini.cells import Cells, filling
from optical_memory.renderers import atlas, base, png, visible
from optical_memory.renderers.base import Grid, Layout, Raster
from optical_memory.training import config
from optical_memory.training.fonts import draw_tiles

MINI = Grid(width=1280, height=1280, cell_width=12.5, cell_height=20)
TIERS = {"large": 1280, "base": 1024, "small": 640, "tiny": 512, "micro": 384, "nano": 256}
SIZES = (320, 448, 576, 768, 896, 1152)
"""Further squares that are multiples of 64 px."""

Damage = Callable[[Raster], bytes]
Draw = Callable[[Layout, int], Raster]


def cell(width: float, height: int, side: int = 512) -> Grid:
    """Return the grid of a page of ``side`` px."""
    return Grid(width=side, height=side, cell_width=width, cell_height=height)


def shifted(pixels: int) -> Damage:
    """Return a shift to the right and down."""

    def shift(raster: Raster) -> bytes:
        out = np.full_like(raster, 255)
        out[pixels:, pixels:] = raster[:-pixels, :-pixels]
        return png.encode(out)

    return shift


def noised(sigma: float) -> Damage:
    """Return Gaussian noise."""

    def noise(raster: Raster) -> bytes:
        grain = np.random.default_rng(0).normal(0, sigma * 255, raster.shape)
        return _pillow(np.clip(raster + grain, 0, 255).astype(np.uint8), "PNG")

    return noise


def weakened(share: float) -> Damage:
    """Return less contrast: ink of a share of its strength."""
    return lambda raster: png.encode((255 - (255 - raster) * share).astype(np.uint8))


def blurred(sigma: float) -> Damage:
    """Return a Gaussian blur, px."""
    return lambda raster: _pillow(np.asarray(Image.fromarray(raster).filter(ImageFilter.GaussianBlur(sigma))), "PNG")


def compressed(quality: int) -> Damage:
    """Return JPEG."""
    return lambda raster: _pillow(raster, "JPEG", quality=quality)


def darkened(raster: Raster) -> bytes:
    """Return light text on a dark ground, in the colours of a dark theme."""
    share = (raster if raster.ndim == 3 else raster[:, :, None]).astype(np.float32) / 255  # Chromium's may have colours
    ground, text = np.array([30, 30, 30]), np.array([212, 212, 212])
    return _pillow((ground * share + text * (1 - share)).astype(np.uint8), "PNG")


def _pillow(raster: Raster, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(raster).save(file, kind, **options)
    return file.getvalue()


def in_font(path: Path, hinted: bool) -> Draw:
    """Return a drawer of layouts in another font at the grid's own size; what it lacks is the dense renderer's."""
    cache: dict[str, Raster] = {}

    def draw(layout: Layout, side: int) -> Raster:
        width, height = int(layout.grid.cell_width), layout.grid.cell_height
        page = np.zeros((side, side), np.uint8)
        for row, column in np.argwhere((layout.cells > 32) & (layout.cells < base.WIDE)):
            letter = chr(layout.cells[row, column])
            if letter not in cache:
                drawn = draw_tiles(path, letter, width, height, hinted=hinted)[0]
                cache[letter] = drawn if drawn.any() else _own(letter, width, height)
            tile = cache[letter]
            page[row * height : (row + 1) * height, column * width : column * width + tile.shape[1]] = tile
        return 255 - page

    return draw


def _own(letter: str, width: int, height: int) -> Raster:
    """Return the ink of the dense renderer's tile: of one cell, or of two for a wide character."""
    ink = 255 - atlas.tiles(np.array([ord(letter)], np.uint32), width, height)[0]  # (height, 2 * width)
    is_wide = visible.bmp_classes()[ord(letter)] == visible.WIDE
    return ink if is_wide else ink[:, :width]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of page: where it belongs in the plots, its grid and size, who draws it and what befalls it."""

    group: str
    name: str
    grid: Grid
    side: int
    kinds: tuple[str, ...] = LATIN
    damage: Damage = png.encode
    draw: Draw | None = None
    shift: int = 0
    chromium: bool = False
    quick: bool = False

    @property
    def cells(self) -> Cells:
        """Where the grid lies on the image."""
        scale = self.side / self.grid.width
        cells = filling(self.side, self.grid.cell_width * scale, self.grid.cell_height * scale)
        return replace(cells, left=float(self.shift), top=float(self.shift))


def cases(fonts: list[Path]) -> Iterator[Case]:
    """Yield everything that is measured; held-out fonts as far as they lie under ``fonts``."""
    for tier, side in TIERS.items():
        yield Case(group="tier", name=f"tier {tier}", grid=MINI, side=side, quick=True)
    for side in SIZES:
        yield Case(group="size", name=f"mini's grid at {side}²", grid=MINI, side=side, kinds=("natural", "random"))
    for width, height in ((10, 16), (8, 12), (6, 10), (4, 6)):
        name, is_quick = f"cell {width}x{height}", (width, height) in ((8, 12), (4, 6))
        yield Case(group="cell", name=name, grid=cell(width, height), side=512, quick=is_quick)
    yield from _damaged()
    for name, path in held_out(fonts):
        for how in ("", ", hinted"):
            draw = in_font(path, bool(how))
            yield Case(group="font", name=f"8x12, {name}{how}", grid=cell(8, 12), side=512, draw=draw)
    for script in SCRIPTS:
        for size, grid in (("16 px", cell(8, 16)), ("12.8 px", cell(8, 16, 640))):
            is_quick = script == "chinese"
            yield Case(group="script", name=f"{script} {size}", grid=grid, side=512, kinds=(script,), quick=is_quick)
    for name, grid, side in (("8x12", cell(8, 12), 512), ("tiny", MINI, 512), ("base", MINI, 1024)):
        yield Case(group="chromium", name=f"chromium {name}", grid=grid, side=side, chromium=True, quick=name != "base")
        yield Case(
            group="chromium", name=f"chromium {name}, dark", grid=grid, side=side, chromium=True, damage=darkened
        )
    for script in SCRIPTS:
        grid = cell(8, 16)
        yield Case(group="chromium", name=f"chromium {script}", grid=grid, side=512, kinds=(script,), chromium=True)


def _damaged() -> Iterator[Case]:
    for name, grid in (("8x12", cell(8, 12)), ("tiny", MINI)):
        for pixels in (1, 2, 3):
            yield Case(
                group="damage",
                name=f"{name}, shift {pixels}",
                grid=grid,
                side=512,
                damage=shifted(pixels),
                shift=pixels,
            )
        for what, damage in (("noise 0.1", noised(0.1)), ("JPEG 50", compressed(50)), ("dark", darkened)):
            is_quick = what == "noise 0.1"
            yield Case(group="damage", name=f"{name}, {what}", grid=grid, side=512, damage=damage, quick=is_quick)


def calibrated(fonts: list[Path]) -> Iterator[Case]:
    """Yield the pages of identifiers that the confidence mark is set by: all that are measured, and some more."""
    yield from (case for case in cases(fonts) if "hex" in case.kinds)
    for side in SIZES:
        yield Case(group="size", name=f"mini's grid at {side}²", grid=MINI, side=side)
    for width, height in ((7, 11), (12, 20)):
        yield Case(group="cell", name=f"cell {width}x{height}", grid=cell(width, height), side=512)
    for name, grid in (("8x12", cell(8, 12)), ("6x10", cell(6, 10)), ("tiny", MINI)):
        for what, damage in (
            ("noise 0.06", noised(0.06)),
            ("noise 0.14", noised(0.14)),
            ("JPEG 30", compressed(30)),
            ("weak", weakened(0.45)),
            ("blurred", blurred(0.6)),
        ):
            yield Case(group="damage", name=f"{name}, {what}", grid=grid, side=512, damage=damage)


def held_out(folders: list[Path]) -> Iterator[tuple[str, Path]]:
    """Yield the fonts held out of training that lie under some folders."""
    for font in config.load().fonts:
        found = next((path for folder in folders for path in sorted(folder.glob(font.pattern))), None)
        if font.held_out and found is not None:
            yield font.name, found
