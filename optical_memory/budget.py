"""What text and images cost a target model: profiles, kept as data with source and date, and token counting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from optical_memory.renderers.base import Grid, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars for a million input tokens: fresh, read from the prompt cache, written to it."""

    fresh: float
    cached: float
    written: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A target model: its page grid, its ladder of tiers, its accounting and its limits.

    ``tiers`` are image tiers, sharpest first. ``gist`` is the tier of excerpt pages and ``gist_grid`` their grid
    (fewer, larger characters, so that what is kept stays legible). ``legibility`` maps a tier to the share of
    characters that the model reads right on a full page, where measured or published. ``text_factor`` multiplies
    the count of ``encoding`` where the model's own tokenizer is not public: an upper estimate, never below.
    ``source`` and ``date`` say where the figures come from.
    """

    name: str
    grid: Grid
    tiers: tuple[Tier, ...]
    gist: Tier
    gist_grid: Grid
    legibility: Mapping[str, float] = field(default_factory=dict)
    legible_from: float = 0.85
    encoding: str = "o200k_base"
    text_factor: float = 1.0
    message_tokens: int = 4
    max_images: int
    max_request_bytes: int
    context_tokens: int
    price: Price
    source: str
    date: str
