"""Profiles: what a target model is and what it costs, kept as data with source and date."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from optical_memory.budget.images import (
    AnthropicPatches,
    DeepSeekViews,
    Formula,
    GeminiFlat,
    GeminiTiles,
    OpenAIPatches,
    OpenAITiles,
    PatchRows,
    QwenGrid,
    image_tokens,
)
from optical_memory.errors import NotFoundError
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
    (fewer, larger characters, so that what is kept stays legible). ``formula`` prices images of any size; ``detail``
    maps a tier to the provider's setting that must be sent with its image. ``legibility`` maps a tier to the share
    of characters that the model reads right on a full page, where measured or published.

    Text is counted in ``encoding``. Where the model has another tokenizer the count is an upper estimate: times
    ``text_factor``, with ``single_digits`` each digit as a token of its own, and with ``scripts`` a supplement for
    scripts that other tokenizers split more finely. ``message_tokens`` is what each message and each call adds.

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
    single_digits: bool = False
    scripts: bool = False
    message_tokens: int = 4
    max_images: int
    sides: Mapping[int, int]
    max_request_bytes: int
    context_tokens: int
    price: Price
    source: str
    date: str

    def image_tokens(self, width: int, height: int, detail: str | None = None) -> int:
        """Return what an image of this size, in px, costs: a user's own, of any size. Raises InputError."""
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


FORMULAS: Mapping[str, Callable[..., Formula]] = {
    "anthropic": AnthropicPatches,
    "deepseek": DeepSeekViews,
    "gemini-flat": GeminiFlat,
    "gemini-tiles": GeminiTiles,
    "openai-patches": OpenAIPatches,
    "openai-tiles": OpenAITiles,
    "qwen": QwenGrid,
    "rows": PatchRows,
}
"""The rules that ``formula.kind`` names in profiles.toml."""


@cache
def _table() -> dict[str, dict[str, Any]]:
    import tomllib
    from importlib import resources  # slow to import: not before a profile is asked for

    table = tomllib.loads(resources.files("optical_memory.budget").joinpath("profiles.toml").read_text("utf-8"))
    for name, data in table.items():
        while base := data.pop("like", None):
            data = table[base] | data
        table[name] = data
    return table


@cache
def _load(name: str) -> Profile:
    data = {key: value for key, value in _table()[name].items() if key != "aliases"}
    rule = dict(data["formula"])
    formula = FORMULAS[rule.pop("kind")](**rule)
    rows = [*data["tiers"], {"name": "gist"} | data["gist"]]
    tiers = tuple(_tier(row, formula) for row in rows)
    return Profile(
        name=name,
        **data
        | {
            "formula": formula,
            "tiers": tiers[:-1],
            "gist": tiers[-1],
            "detail": {row["name"]: row["detail"] for row in rows if "detail" in row},
            "legibility": {row["name"]: row["legibility"] for row in rows if "legibility" in row},
            "grid": Grid(**data["grid"]),
            "gist_grid": Grid(**data["gist_grid"]),
            "price": Price(**data["price"]),
            "sides": dict(data["sides"]),
        },
    )


def _tier(row: Mapping[str, Any], formula: Formula) -> Tier:
    width, height = row["size"]
    tokens = image_tokens(formula, width, height, row.get("detail"))
    return Tier(name=row["name"], width=width, height=height, tokens=tokens)
