"""What one image costs in a model's sequence, by the rule that its provider publishes. Sizes in px, costs in tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from optical_memory.errors import InputError


class Formula(Protocol):
    """Prices images of any size as they are sent, the provider's own downscaling included."""

    @property
    def most(self) -> int:
        """The dearest that any image can be: what an image of unknown size is counted as."""

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return the tokens of one image. ``detail`` is the provider's setting, where it has one."""


def image_tokens(formula: Formula, width: int, height: int, detail: str | None = None) -> int:
    """Return what an image of ``width`` × ``height`` px costs, in tokens of the sequence.

    ``detail`` is the setting that a provider takes with an image ("low", "gundam", "media_resolution_high"); None
    is the provider's default. Raises InputError for a side below 1 px or a setting that the model does not have.
    """
    if width < 1 or height < 1:
        raise InputError(f"an image has at least 1 px a side, not {width!r} × {height!r}")
    return formula.tokens(width, height, detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepSeekViews:
    """DeepSeek-OCR: h · (w + 1) + 1 tokens for h × w patches of 64 px: a newline each row, one separator.

    An image of exactly a mode's size (512², 640², 1024², 1280²) is shown in that mode. Any other is shown in gundam
    mode: a 1024² view and, where a side is over 640 px, two to ``max_tiles`` tiles of 640² in the arrangement
    nearest to the image's shape. ``detail`` "gundam" asks for that whatever the size.

    Source: github.com/deepseek-ai/DeepSeek-OCR (dynamic_preprocess and infer of the released model), 2025-10-21.
    """

    max_tiles: int = 9

    @property
    def most(self) -> int:
        """The view and the longest strip of tiles, one below another."""
        return _rows(16, 16) + 1 + _rows(10, 10 * self.max_tiles)

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return rows and columns of patches with their newlines and the separator."""
        _check_detail(detail, "gundam")
        if detail is None and width == height and width in (512, 640, 1024, 1280):
            return _rows(width // 64, height // 64) + 1
        view = _rows(16, 16) + 1
        if width <= 640 and height <= 640:
            return view
        across, down = self._tiling(width, height)
        return view + _rows(10 * across, 10 * down)

    def _tiling(self, width: int, height: int) -> tuple[int, int]:
        sides = range(1, self.max_tiles + 1)
        tilings = [(across, down) for across in sides for down in sides if 2 <= across * down <= self.max_tiles]
        best, nearest = (1, 1), math.inf
        for across, down in sorted(tilings, key=lambda tiling: tiling[0] * tiling[1]):
            distance = abs(width / height - across / down)
            fills = width * height > 0.5 * 640 * 640 * across * down
            if distance < nearest or (distance == nearest and fills):
                best, nearest = (across, down), distance
        return best


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchRows:
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
        _check_detail(detail)
        width, height = _fit(width, height, self.side)
        return _rows(_ceil(width, 64), _ceil(height, 64)) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AnthropicPatches:
    """Claude: ⌈w / 28⌉ · ⌈h / 28⌉ of the largest size that fits in ``side`` px and ``cap`` tokens, shape kept.

    Standard models have 1568 px and 1568 tokens, Claude 4.7 and later 2576 px and 4784 tokens.

    Source: platform.claude.com/docs/en/build-with-claude/vision, 2026-08.
    """

    side: int = 1568
    cap: int = 1568

    @property
    def most(self) -> int:
        """The cap."""
        return self.cap

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return the patches of the image as the model sees it."""
        _check_detail(detail)
        long, short = max(width, height), min(width, height)
        for edge in range(min(long, self.side), 0, -1):
            patches = _ceil(edge, 28) * _ceil(max(1, round(short * edge / long)), 28)
            if patches <= self.cap:
                return patches
        raise AssertionError("one patch always fits")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAITiles:
    """OpenAI's tile models: ``base`` + ``tile`` for each 512² tile, in a 2048² square with a short side ≤ 768 px.

    Smaller images are not enlarged. ``detail`` "low" costs ``base`` alone. 85 + 170 for gpt-4o and gpt-4.1, 70 + 140
    for gpt-5.

    Source: developers.openai.com/api/docs/guides/images-vision (calculating costs), 2026-09.
    """

    base: int
    tile: int

    @property
    def most(self) -> int:
        """Four tiles by two."""
        return self.base + self.tile * 8

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return base and tiles."""
        _check_detail(detail, "low", "high", "auto")
        if detail == "low":
            return self.base
        width, height = _fit(width, height, 2048)
        if min(width, height) > 768:
            width, height = _fit(width, height, max(width, height) * 768 // min(width, height))
        return self.base + self.tile * _ceil(width, 512) * _ceil(height, 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIPatches:
    """OpenAI's patch models: ⌈w / 32⌉ · ⌈h / 32⌉ patches, at most ``cap``, times ``factor``, rounded up.

    A longer side than 2048 px, or more patches than ``cap``, is scaled down first. gpt-5-mini: cap 1536, factor 1.62
    in the page of 2025-08 and 1.2 in that of 2026-09; the higher is taken. gpt-5.4 and later at "high": 2500, 1.2.

    Source: developers.openai.com/api/docs/guides/images-vision (calculating costs), 2026-09.
    """

    cap: int
    factor: float

    @property
    def most(self) -> int:
        """The cap."""
        return math.ceil(self.cap * self.factor)

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return the patches after scaling, times the factor."""
        _check_detail(detail, "low", "high", "auto")
        width, height = _fit(width, height, 2048)
        if _ceil(width, 32) * _ceil(height, 32) > self.cap:
            shrink = math.sqrt(32 * 32 * self.cap / (width * height))
            columns, rows = width * shrink / 32, height * shrink / 32
            shrink *= min(max(1, int(columns)) / columns, max(1, int(rows)) / rows, 1.0)
            width, height = max(1, int(width * shrink)), max(1, int(height * shrink))
        patches = min(_ceil(width, 32) * _ceil(height, 32), self.cap)
        return math.ceil(round(patches * self.factor, 6))


@dataclass(frozen=True, slots=True, kw_only=True)
class GeminiTiles:
    """Gemini 2.x: 258 tokens where both sides are at most 384 px, else 258 for each tile of 768², in 3072 px.

    Google's page on image understanding also gives a rougher rule with smaller tiles (960 × 540: 6 tiles). Pages are
    1536² or 768² so that a tile is never cut; a user's image may be billed by the rougher rule.

    Source: ai.google.dev/gemini-api/docs/tokens (multimodal tokens), 2026-05.
    """

    @property
    def most(self) -> int:
        """Four tiles by four."""
        return 258 * 16

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return the tiles of the image."""
        _check_detail(detail)
        width, height = _fit(width, height, 3072)
        if width <= 384 and height <= 384:
            return 258
        return 258 * _ceil(width, 768) * _ceil(height, 768)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeminiFlat:
    """Gemini 3: a flat cost for each ``media_resolution`` whatever the size; the default for images is "high".

    The figures are maxima; 1,034 to 1,113 were billed at "high" for sizes from 100² to 4096 × 512
    (github.com/teamchong/pxpipe, eval/gemini-profile, 2026-07).

    Source: ai.google.dev/gemini-api/docs/media-resolution (token counts), 2026-08.
    """

    costs: Mapping[str, int] = field(
        default_factory=lambda: {
            "media_resolution_low": 280,
            "media_resolution_medium": 560,
            "media_resolution_high": 1120,
            "media_resolution_ultra_high": 2240,
        }
    )

    @property
    def most(self) -> int:
        """The default's cost: no image has another unless it says so."""
        return self.costs["media_resolution_high"]

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return the cost of the setting."""
        _check_detail(detail, *self.costs)
        return self.costs[detail or "media_resolution_high"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QwenGrid:
    """Qwen-VL: sides rounded to multiples of ``patch`` px, one token a patch, and two that enclose the image.

    Fewer than ``least`` or more than ``cap`` patches are scaled up or down. Qwen2.5-VL: patch 28, 4 to 16,384;
    Qwen3-VL: patch 32, 64 to 16,384.

    Source: github.com/huggingface/transformers (smart_resize of qwen2_vl; preprocessor_config.json of
    Qwen2.5-VL-7B-Instruct and Qwen3-VL-8B-Instruct), 2025-10.
    """

    patch: int
    least: int
    cap: int = 16_384

    @property
    def most(self) -> int:
        """The cap."""
        return self.cap + 2

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return the patches of the resized image and the two tokens around them."""
        _check_detail(detail)
        columns, rows = max(1, round(width / self.patch)), max(1, round(height / self.patch))
        area = width * height / self.patch**2
        if columns * rows > self.cap:
            scale = math.sqrt(self.cap / area) / self.patch
            columns, rows = max(1, int(width * scale)), max(1, int(height * scale))
        elif columns * rows < self.least:
            scale = math.sqrt(self.least / area) / self.patch
            columns, rows = math.ceil(width * scale), math.ceil(height * scale)
        return min(columns * rows, self.cap) + 2


def _rows(columns: int, rows: int) -> int:
    """Patches with a newline at the end of each row."""
    return rows * (columns + 1)


def _ceil(size: int, unit: int) -> int:
    return -(-size // unit)


def _fit(width: int, height: int, side: int) -> tuple[int, int]:
    """Scale down, shape kept, until the long side is at most ``side`` px."""
    longest = max(width, height)
    if longest <= side:
        return width, height
    return max(1, round(width * side / longest)), max(1, round(height * side / longest))


def _check_detail(detail: str | None, *known: str) -> None:
    if detail is not None and detail not in known:
        have = ", ".join(repr(name) for name in known) or "none"
        raise InputError(f"unknown image setting {detail!r}; this model has {have}")
