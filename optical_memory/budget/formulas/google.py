"""Google's images: tiles for Gemini 2, a flat price for each setting for Gemini 3 and later and for Gemma 4."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from optical_memory.budget.formulas.base import Formula, ceil_div, check_detail, fit


@dataclass(frozen=True, slots=True, kw_only=True)
class GeminiTiles(Formula):
    """Gemini 2.x: 258 tokens where both sides are at most 384 px, else 258 for each tile of 768², in 3072 px.

    Google's page on image understanding also gives a rougher rule with smaller tiles (960 × 540: 6 tiles). Pages are
    1536² or 768² so that a tile is never cut; a user's image may be billed by the rougher rule.

    Source: ai.google.dev/gemini-api/docs/tokens (multimodal tokens), 2026-05.
    """

    @property
    def unit(self) -> int:
        """A tile."""
        return 768

    @property
    def most(self) -> int:
        """Four tiles by four."""
        return 258 * 16

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return the tiles of the image."""
        check_detail(self, detail)
        width, height = fit(width, height, 3072)
        if width <= 384 and height <= 384:
            return 258
        return 258 * ceil_div(width, 768) * ceil_div(height, 768)


GEMINI = {
    "media_resolution_low": 280,
    "media_resolution_medium": 560,
    "media_resolution_high": 1120,
    "media_resolution_ultra_high": 2240,
}
"""Tokens of an image at each ``media_resolution``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeminiFlat(Formula):
    """Gemini 3 and later: a flat cost for each ``media_resolution`` whatever the size; the default is "high".

    The figures are maxima; 1,034 to 1,113 were billed at "high" for sizes from 100² to 4096 × 512
    (github.com/teamchong/pxpipe, eval/gemini-profile, 2026-07), 1,065 to 1,101 with the prompt from 256² to 12 MP
    (huggingface.co/datasets/JOHNISKING/image-token-cost, 2026-11-28). Gemini 4 takes the setting for each part as
    Gemini 3 does; its counts are assumed to be the same.

    Gemma 4 costs 70 to 1120, as its server was started (ai.google.dev/gemma/docs/capabilities/vision, 2026-11-28).

    Source: ai.google.dev/gemini-api/docs/media-resolution (token counts), 2026-08.
    """

    costs: Mapping[str, int] = field(default_factory=lambda: GEMINI)
    default: str = "media_resolution_high"

    @property
    def is_flat(self) -> bool:
        """It is."""
        return True

    @property
    def settings(self) -> tuple[str, ...]:
        """The names of the costs."""
        return tuple(self.costs)

    @property
    def most(self) -> int:
        """The default's cost: no image has another unless it says so."""
        return self.costs[self.default]

    def most_for(self, detail: str | None) -> int:
        """Return the cost of the setting."""
        return self.tokens(1, 1, detail)

    def tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return the cost of the setting."""
        check_detail(self, detail)
        return self.costs[detail or self.default]
