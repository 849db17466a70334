"""What one image costs in a model's sequence, by the rules that each provider publishes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from optical_memory.errors import InputError


class Formula(Protocol):
    """Maps an image's size in px, as it is sent, to tokens; the provider's own downscaling included."""

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return the tokens of one image. ``detail`` is the provider's own setting, where it has one."""


def image_tokens(formula: Formula, width: int, height: int, detail: str | None = None) -> int:
    """Return what an image of ``width`` × ``height`` px costs, in tokens of the sequence.

    ``detail`` is the setting that a provider takes with an image ("low", "gundam", "media_resolution_high"); None
    is the provider's default. Raises InputError for a size below one px or a setting that the model lacks.
    """
    if width < 1 or height < 1:
        raise InputError(f"an image has at least one px a side, not {width!r} × {height!r}")
    return formula.tokens(width, height, detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepSeekViews:
    """DeepSeek-OCR: h · (w + 1) + 1 tokens for h × w patches of 64 px: a newline each row, one separator.

    An image of exactly a mode's size (512², 640², 1024², 1280²) is shown in that mode. Any other is shown in gundam
    mode: a 1024² view, and where a side is over 640 px, two to ``max_tiles`` tiles of 640² in the arrangement
    nearest to the image's shape. ``detail`` "gundam" asks for tiles whatever the size.

    Source: github.com/deepseek-ai/DeepSeek-OCR (dynamic_preprocess, tokenize_with_images) and arXiv:2510.18234,
    2025-10-21.
    """

    max_tiles: int = 9

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return rows and columns of patches with their newlines and the separator."""
        if detail not in (None, "gundam"):
            raise InputError(f"unknown mode {detail!r}; use 'gundam' or None")
        if detail is None and width == height and width in (512, 640, 1024, 1280):
            return _rows_with_newlines(width // 64, height // 64) + 1
        view = _rows_with_newlines(16, 16) + 1
        if width <= 640 and height <= 640:
            return view
        across, down = self._tiling(width, height)
        return view + _rows_with_newlines(10 * across, 10 * down)

    def _tiling(self, width: int, height: int) -> tuple[int, int]:
        sides = range(1, self.max_tiles + 1)
        tilings = sorted(
            ((i, j) for i in sides for j in sides if 2 <= i * j <= self.max_tiles), key=lambda t: (t[0] * t[1], t)
        )
        best, nearest = (1, 1), math.inf
        for across, down in tilings:
            distance = abs(width / height - across / down)
            roomy = width * height > 0.5 * 640 * 640 * across * down
            if distance < nearest or (distance == nearest and roomy):
                best, nearest = (across, down), distance
        return best


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchRows:
    """The bundled mini: h · (w + 1) + 1 tokens for h × w patches of 64 px, whatever the size up to ``side`` px.

    A larger image is scaled to fit; a last patch is padded. Same count as DeepSeek-OCR's (arXiv:2510.18234).
    """

    side: int = 1280

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return rows and columns of patches with their newlines and the separator."""
        _no_setting(detail)
        width, height = _fit(width, height, self.side)
        return _rows_with_newlines(math.ceil(width / 64), math.ceil(height / 64)) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AnthropicPatches:
    """Claude: ⌈w / 28⌉ · ⌈h / 28⌉, after scaling to at most ``side`` px on the long side and ``cap`` tokens.

    Standard models: 1568 px and 1568 tokens; newer ones 2576 px and 4784 tokens.

    Source: platform.claude.com/docs/en/build-with-claude/vision, 2026-11.
    """

    side: int = 1568
    cap: int = 1568

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return the patches of the image as the model sees it."""
        _no_setting(detail)
        width, height = _fit(width, height, self.side)
        patches = math.ceil(width / 28) * math.ceil(height / 28)
        return min(patches, self.cap)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAITiles:
    """OpenAI tile models: ``base`` + ``tile`` for each 512² tile, in a 2048² square with a short side ≤ 768 px.

    ``detail`` "low" costs ``base`` alone. Smaller images are not enlarged.

    Source: platform.openai.com/docs/guides/images-vision (calculating costs), 2026-11.
    """

    base: int
    tile: int

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return base and tiles."""
        if detail == "low":
            return self.base
        if detail not in (None, "auto", "high"):
            raise InputError(f"unknown detail {detail!r}; use 'low', 'high' or 'auto'")
        width, height = _fit(width, height, 2048)
        if min(width, height) > 768:
            scale = 768 / min(width, height)
            width, height = round(width * scale), round(height * scale)
        return self.base + self.tile * math.ceil(width / 512) * math.ceil(height / 512)


def _rows_with_newlines(columns: int, rows: int) -> int:
    return rows * (columns + 1)


def _fit(width: int, height: int, side: int) -> tuple[int, int]:
    """Scale down, shape kept, until the long side is at most ``side`` px."""
    longest = max(width, height)
    if longest <= side:
        return width, height
    return max(1, round(width * side / longest)), max(1, round(height * side / longest))


def _no_setting(detail: str | None) -> None:
    if detail is not None:
        raise InputError(f"this model takes no detail setting, got {detail!r}")
