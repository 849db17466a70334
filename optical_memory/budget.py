"""What text and images cost a target model: profiles, kept as data with source and date, and token counting."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from optical_memory.errors import NotFoundError
from optical_memory.image_cost import (
    AnthropicPatches,
    DeepSeekViews,
    Formula,
    OpenAITiles,
    PatchRows,
    image_tokens,
)
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
    ``formula`` prices images of any size; ``detail`` maps a tier to the setting that must be sent with its image.
    ``sides`` maps a number of images in a request to the longest side, in px, allowed from that number on.
    ``source`` and ``date`` say where the figures come from.
    """

    name: str
    grid: Grid
    tiers: tuple[Tier, ...]
    gist: Tier
    gist_grid: Grid
    formula: Formula
    detail: Mapping[str, str] = field(default_factory=dict)
    legibility: Mapping[str, float] = field(default_factory=dict)
    legible_from: float = 0.85
    encoding: str = "o200k_base"
    text_factor: float = 1.0
    message_tokens: int = 4
    max_images: int
    sides: Mapping[int, int]
    max_request_bytes: int
    context_tokens: int
    price: Price
    source: str
    date: str

    def image_tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return what a user's own image of this size, in px, costs in tokens."""
        return image_tokens(self.formula, width, height, detail)

    def max_side(self, images: int = 1) -> int:
        """Return the longest side, in px, that an image may have in a request with ``images`` of them."""
        return min(side for count, side in self.sides.items() if count <= max(images, 1))

    def tier(self, name: str) -> Tier:
        """Return the tier of this name, the gist's included. Raises NotFoundError with the names there are."""
        ladder = {tier.name: tier for tier in (*self.tiers, self.gist)}
        if name not in ladder:
            raise NotFoundError(f"profile {self.name!r} has no tier {name!r}; it has {', '.join(ladder)}")
        return ladder[name]


FORMULAS: Mapping[str, Callable[..., Formula]] = {
    "deepseek": DeepSeekViews,
    "rows": PatchRows,
    "anthropic": AnthropicPatches,
    "openai-tiles": OpenAITiles,
}


def profiles() -> tuple[str, ...]:
    """Return the names of all profiles, sorted; aliases are left out."""
    return tuple(sorted(_table()))


def get_profile(name: str | Profile) -> Profile:
    """Return the profile of this name or alias; a Profile is returned as it is.

    Raises NotFoundError, with the names there are, for any other.
    """
    if isinstance(name, Profile):
        return name
    for key, data in _table().items():
        if name == key or name in data["aliases"]:
            return _load(key)
    raise NotFoundError(f"no profile {name!r}; there are {', '.join(profiles())}")


@cache
def _table() -> dict[str, dict[str, Any]]:
    return tomllib.loads(resources.files("optical_memory").joinpath("profiles.toml").read_text("utf-8"))


@cache
def _load(name: str) -> Profile:
    data = dict(_table()[name])
    del data["aliases"]
    rule = dict(data["formula"])
    formula: Formula = FORMULAS[rule.pop("kind")](**rule)
    rows = data.pop("tiers")
    data["detail"] = {row["name"]: row["detail"] for row in rows if "detail" in row}
    data["legibility"] = {row["name"]: row["legibility"] for row in rows if "legibility" in row}
    data["tiers"] = tuple(_tier(row["name"], row["size"], formula, row.get("detail")) for row in rows)
    data["gist"] = _tier("gist", data["gist"], formula, None)
    data["grid"], data["gist_grid"] = Grid(**data["grid"]), Grid(**data["gist_grid"])
    data["price"] = Price(**data["price"])
    data["sides"] = dict(data["sides"])
    return Profile(name=name, **(data | {"formula": formula}))


def _tier(name: str, size: list[int], formula: Formula, detail: str | None) -> Tier:
    width, height = size
    return Tier(name=name, width=width, height=height, tokens=image_tokens(formula, width, height, detail))
