"""OpenAI's images: tiles of 512 px for older models, patches of 32 px for newer ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

from optical_memory.budget.formulas.base import Formula, ceil_div, check_detail, fit


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAITiles(Formula):
    """OpenAI's tile models: ``base`` + ``tile`` for each 512² tile, in a 2048² square with a short side ≤ 768 px.

    Smaller images are not enlarged. ``detail`` "low" costs ``base`` alone. 85 + 170 for gpt-4o and gpt-4.1, 70 + 140
    for gpt-5, 75 + 150 for o1 and o3, 2833 + 5667 for gpt-4o-mini.

    Source: developers.openai.com/api/docs/guides/images-vision (calculating costs), 2026-09.
    """

    base: int
    tile: int

    @property
    def unit(self) -> int:
        """A tile."""
        return 512

    def is_whole(self, width: int, height: int) -> bool:
        """Return whether it fits in the square and the short side."""
        return max(width, height) <= 2048 and min(width, height) <= 768

    @property
    def settings(self) -> tuple[str, ...]:
        """Without any, and with "auto", an image is seen as with "high"."""
        return ("low", "auto", "high")

    @property
    def most(self) -> int:
        """Four tiles by two."""
        return self.base + self.tile * 8

    def most_for(self, detail: str | None) -> int:
        """Return the base alone for "low"."""
        return self.base if detail == "low" else self.most

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return base and tiles."""
        check_detail(self, detail)
        if detail == "low":
            return self.base
        width, height = fit(width, height, 2048)
        if min(width, height) > 768:
            width, height = fit(width, height, max(width, height) * 768 // min(width, height))
        return self.base + self.tile * ceil_div(width, 512) * ceil_div(height, 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIPatches(Formula):
    """OpenAI's patch models: ⌈w / 32⌉ · ⌈h / 32⌉ patches, at most ``cap``, times ``factor``, rounded up.

    More patches than ``cap`` are scaled down first. gpt-5-mini: cap 1536, factor 1.62 in the page of 2025-08 and 1.2 in
    that of 2026-09; the higher is taken. gpt-5.4 and later at "high": 2500, 1.2.

    Models with ``original`` (the most patches of that setting) take it where no setting or "auto" is sent: an image is
    seen as it is. gpt-5.4 and 5.5 scale down past 10,000 patches or 6000 px; gpt-5.6 and later refuse more than 30,000.
    The guide says that "high" fits an image in 2048² px first; 2560 × 1440 was measured to cost 2,931, which is
    without that step, and the higher is taken.

    Source: developers.openai.com/api/docs/guides/images-vision (calculating costs), 2026-09; the model sizing table of
    that page as quoted in github.com/Prism-Shadow/agenthub/pull/194, 2026-09-02; measured:
    huggingface.co/datasets/JOHNISKING/image-token-cost, 2026-11-28.
    """

    cap: int
    factor: float
    original: int = 0
    original_side: int = 65_535

    @property
    def unit(self) -> int:
        """A patch."""
        return 32

    @property
    def settings(self) -> tuple[str, ...]:
        """With "original" for models that have it."""
        return ("low", "high", "auto", "original") if self.original else ("low", "auto", "high")

    @property
    def most(self) -> int:
        """The cap of the default setting."""
        return self.most_for(None)

    def most_for(self, detail: str | None) -> int:
        """Return the cap of the setting."""
        cap = self.original if self.original and detail in (None, "auto", "original") else self.cap
        return math.ceil(round(cap * self.factor, 6))

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return the patches after scaling, times the factor. "low" counts as "high": no figure is published."""
        check_detail(self, detail)
        if self.original and detail in (None, "auto", "original"):
            patches = _patches(*fit(width, height, self.original_side), self.original)
        else:
            patches = _patches(width, height, self.cap)
        return math.ceil(round(patches * self.factor, 6))


def _patches(width: int, height: int, cap: int) -> int:
    """Return the patches of an image that is scaled down, shape kept, until they are at most ``cap``."""
    if ceil_div(width, 32) * ceil_div(height, 32) > cap:
        shrink = math.sqrt(32 * 32 * cap / (width * height))
        columns, lines = width * shrink / 32, height * shrink / 32
        shrink *= min(max(1, int(columns)) / columns, max(1, int(lines)) / lines, 1.0)
        width, height = max(1, int(width * shrink)), max(1, int(height * shrink))
    return min(ceil_div(width, 32) * ceil_div(height, 32), cap)
