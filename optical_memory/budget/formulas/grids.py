"""Images of models with a plain grid of patches or tiles: Qwen-VL, GLM-V, Kimi, Mistral, Llama 4, Grok."""

from __future__ import annotations

import math
from dataclasses import dataclass

from optical_memory.budget.formulas.base import Formula, ceil_div, check_detail, fit, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class QwenGrid(Formula):
    """Qwen-VL: sides rounded to multiples of ``patch`` px, one token a patch, and two that enclose the image.

    Fewer than ``least`` or more than ``cap`` patches are scaled up or down. Qwen2.5-VL: patch 28, 4 to 16,384;
    Qwen3-VL: patch 32, 64 to 16,384. GLM-4.1V to 4.5V have a grid of 28 px too, up to 15,000 patches; so has Kimi K2.5,
    up to 4,096, which does not round sides but pads them (``pad``).

    Source: github.com/huggingface/transformers (smart_resize of qwen2_vl; preprocessor_config.json of
    Qwen2.5-VL-7B-Instruct and Qwen3-VL-8B-Instruct), 2025-10; the same repository (glm4v, kimi_k25), 2026-11-28.
    """

    patch: int
    least: int
    cap: int = 16_384
    pad: bool = False

    @property
    def unit(self) -> int:
        """A patch."""
        return self.patch

    @property
    def most(self) -> int:
        """The cap."""
        return self.cap + 2

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return the patches of the resized image and the two tokens around them."""
        check_detail(self, detail)
        whole = math.ceil if self.pad else round
        columns, lines = max(1, whole(width / self.patch)), max(1, whole(height / self.patch))
        area = width * height / self.patch**2
        if columns * lines > self.cap:
            scale = math.sqrt(self.cap / area) / self.patch
            columns, lines = max(1, int(width * scale)), max(1, int(height * scale))
        elif columns * lines < self.least:
            scale = math.sqrt(self.least / area) / self.patch
            columns, lines = math.ceil(width * scale), math.ceil(height * scale)
        return min(columns * lines, self.cap) + 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MistralRows(Formula):
    """Mistral: h · (w + 1) tokens for h × w cells of ``patch`` px, a break each row, the last one an end.

    A longer side than ``side`` px is scaled to it. Mistral Small 3.1 and later: patches of 14 px, two by two; 1540 px.

    Source: github.com/mistralai/mistral-common (tokens/tokenizers/image.py), 2025-06; Mistral Medium 3.5 is assumed
    to be alike.
    """

    patch: int = 28
    side: int = 1540

    @property
    def unit(self) -> int:
        """A cell."""
        return self.patch

    @property
    def most(self) -> int:
        """A full square."""
        return self.tokens(self.side, self.side)

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return cells and breaks."""
        check_detail(self, detail)
        width, height = fit(width, height, self.side)
        return rows(ceil_div(width, self.patch), ceil_div(height, self.patch))


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaTiles(Formula):
    """Llama 4: 144 tokens for each tile of 336², up to ``max_tiles``, and a view of the whole beside several.

    Tiles are arranged as near to the image's shape as possible; one token follows each, two enclose the image.

    Source: github.com/huggingface/transformers (llama4: processing_llama4.py, get_best_fit), 2025-04; the count here
    is that of the largest arrangement that the image can fill, an upper bound.
    """

    max_tiles: int = 16

    @property
    def unit(self) -> int:
        """A tile."""
        return 336

    @property
    def most(self) -> int:
        """All tiles, and the view."""
        return 145 * (self.max_tiles + 1) + 3

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return tiles, view and separators."""
        check_detail(self, detail)
        tiles = min(ceil_div(width, 336) * ceil_div(height, 336), self.max_tiles)
        return 145 * (tiles + (tiles > 1)) + 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Megapixels(Formula):
    """Grok: ``rate`` tokens for a million pixels, at most ``cap``. Measured by others; xAI publishes no rule.

    Source: github.com/teamchong/pxpipe (src/core/gpt-model-profiles.ts: about 1,000 a megapixel for Grok), 2026-08.
    """

    rate: float
    cap: int

    @property
    def unit(self) -> int:
        """Some px: a page is cropped to about its text."""
        return 32

    @property
    def most(self) -> int:
        """The cap."""
        return self.cap

    def is_whole(self, width: int, height: int) -> bool:
        """Return whether it costs no more than the cap: a larger one is taken to be scaled."""
        return width * height * self.rate <= self.cap * 1_000_000

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return the pixels at the rate."""
        check_detail(self, detail)
        return min(self.cap, max(1, math.ceil(width * height * self.rate / 1_000_000)))
