"""DeepSeek's images: the views of DeepSeek-OCR, the grid of V4.1, and the rows of the bundled mini."""

from __future__ import annotations

import math
from dataclasses import dataclass

from optical_memory.budget.formulas.base import Formula, ceil_div, check_detail, fit, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepSeekViews(Formula):
    """DeepSeek-OCR: h · (w + 1) + 1 tokens for h × w patches of 64 px: a newline each row, one separator.

    An image of exactly a mode's size (512², 640², 1024², 1280²) is shown in that mode. Any other is shown in gundam
    mode: a 1024² view and, where a side is over 640 px, two to ``max_tiles`` tiles of 640² in the arrangement
    nearest to the image's shape. ``detail`` "gundam" asks for that whatever the size.

    Source: github.com/deepseek-ai/DeepSeek-OCR (dynamic_preprocess and infer of the released model), 2025-10-21.
    """

    max_tiles: int = 9

    @property
    def settings(self) -> tuple[str, ...]:
        """Tiles and a view, asked for by name."""
        return ("gundam",)

    @property
    def most(self) -> int:
        """The view and the longest strip of tiles, one below another."""
        return rows(16, 16) + 1 + rows(10, 10 * self.max_tiles)

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return rows and columns of patches with their newlines and the separator."""
        check_detail(self, detail)
        if detail is None and width == height and width in (512, 640, 1024, 1280):
            return rows(width // 64, height // 64) + 1
        view = rows(16, 16) + 1
        if width <= 640 and height <= 640:
            return view
        across, down = _tiling(width, height, 640, self.max_tiles)
        return view + rows(10 * across, 10 * down)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepSeekQueries(Formula):
    """DeepSeek-OCR 2: 257 tokens for a view of 1024², and 144 for each of two to ``max_tiles`` tiles of 768².

    There are tiles where a side is over 768 px, in the arrangement nearest to the image's shape.

    Source: github.com/huggingface/transformers (deepseek_ocr2: processing and image_processing), 2026-11-28.
    """

    max_tiles: int = 6

    @property
    def most(self) -> int:
        """The view and all tiles."""
        return 257 + 144 * self.max_tiles

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return the queries of view and tiles."""
        check_detail(self, detail)
        if width <= 768 and height <= 768:
            return 257
        across, down = _tiling(width, height, 768, self.max_tiles)
        return 257 + 144 * across * down


def _tiling(width: int, height: int, side: int, most: int) -> tuple[int, int]:
    """Return columns and rows of two to ``most`` tiles, as near to the image's shape as can be."""
    sides = range(1, most + 1)
    tilings = [(across, down) for across in sides for down in sides if 2 <= across * down <= most]
    best, nearest = (1, 1), math.inf
    for across, down in sorted(tilings, key=lambda tiling: tiling[0] * tiling[1]):
        distance = abs(width / height - across / down)
        fills = width * height > 0.5 * side * side * across * down
        if distance < nearest or (distance == nearest and fills):
            best, nearest = (across, down), distance
    return best


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepSeekGrid(Formula):
    """DeepSeek V4.1: h · (w + 1) + 2 tokens for h × w cells of 42 px (patches of 14 px, three by three).

    An image of fewer than ``least_pixels`` is enlarged; one of more than ``cap`` tokens is scaled down until it fits.

    Source: github.com/vllm-project/vllm (models/deepseek_v41/common/mm_preprocess.py, "token counts bit-match the
    reference"; transformers_utils/configs/deepseek_v41.py: max_image_tokens 1024, min_pixels 295936), 2026-11-28.
    """

    cap: int = 1024
    least_pixels: int = 295_936

    @property
    def unit(self) -> int:
        """A cell."""
        return 42

    @property
    def most(self) -> int:
        """The cap."""
        return self.cap

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return the cells of the image as the model sees it, a newline each row and two that enclose it."""
        check_detail(self, detail)
        if width * height < self.least_pixels:
            ratio = math.sqrt(self.least_pixels / (width * height))
            width, height = max(1, int(width * ratio)), max(1, int(height * ratio))
        across, down = _cells(width), _cells(height)
        if rows(across, down) + 2 > self.cap:
            across, down = self._shrunk(width, height)
        return rows(across, down) + 2

    def _shrunk(self, width: int, height: int) -> tuple[int, int]:
        """Return columns and rows of the largest size, shape kept, that fits the cap."""
        shape = height / width
        columns = math.sqrt((self.cap - 2) / shape + 0.25) - 0.5
        lines = columns * shape
        if columns < 1:
            return 1, (self.cap - 2) // 2
        if lines < 1:
            return self.cap - 3, 1
        scale = min(int(columns) * 42 / width, int(lines) * 42 / height)
        return ceil_div(int(width * scale / 14), 3), ceil_div(int(height * scale / 14), 3)


def _cells(size: int) -> int:
    return ceil_div(ceil_div(size, 14), 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchRows(Formula):
    """The bundled mini: h · (w + 1) + 1 tokens for h × w patches of 64 px, for any size up to ``side`` px.

    A larger image is scaled to fit and the last patches are padded. The count is DeepSeek-OCR's (arXiv:2510.18234,
    2025-10-21), so that figures of the two compare.
    """

    side: int = 1280

    @property
    def most(self) -> int:
        """A full square."""
        return self.tokens(self.side, self.side)

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return rows and columns of patches with their newlines and the separator."""
        check_detail(self, detail)
        width, height = fit(width, height, self.side)
        return rows(ceil_div(width, 64), ceil_div(height, 64)) + 1
