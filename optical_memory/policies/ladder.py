"""The ladder: the order of tiers, and which of them a model can be shown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from optical_memory.budget import Profile
from optical_memory.errors import InputError
from optical_memory.policies.base import PageInfo
from optical_memory.renderers.base import Tier

LADDER = ("text", "gundam", "large", "base", "small", "tiny", "micro", "nano", "gist")
"""All tiers, sharpest first. What is below the last one is archived."""

SHARPNESS = {
    "text": 1.6,
    "gundam": 1.25,
    "large": 1.0,
    "base": 0.8,
    "small": 0.5,
    "tiny": 0.4,
    "micro": 0.3,
    "nano": 0.2,
    "gist": 0.1,
}
"""Side of a tier's raster over that of "large"; beyond the rasters a step of the same kind."""

VALUE = tuple(math.sqrt(SHARPNESS[name]) for name in LADDER)
"""What a page is worth to its reader at each rank: concave, each further step of sharpness is worth less."""

_RANKS = {name: rank for rank, name in enumerate(LADDER)}


def rank(tier: str) -> int:
    """Return the place of a tier in the ladder, 0 the sharpest. Raises InputError for a name that is not in it."""
    try:
        return _RANKS[tier]
    except KeyError:
        raise InputError(f"unknown tier {tier!r}; use one of {', '.join(LADDER)}") from None


def legible_tiers(profile: Profile) -> tuple[Tier, ...]:
    """Return the tiers that the profile's model can be trusted to read, sharpest first.

    A tier is trusted where it is known to be read at ``profile.legible_from`` or better, or where it is sharper than
    such a tier. Where there is no such tier, the sharpest alone is trusted, unless it is known to be read worse.
    """
    known = profile.legibility
    trusted = [place for place, tier in enumerate(profile.tiers) if known.get(tier.name, 0.0) >= profile.legible_from]
    last = max(trusted, default=0)
    return tuple(tier for tier in profile.tiers[: last + 1] if known.get(tier.name, 1.0) >= profile.legible_from)


def tier_costs(tiers: Iterable[Tier], text_tokens: int, overhead: int = 0) -> dict[str, int]:
    """Return what a page costs at each tier that is cheaper than its text, sharpest first.

    ``overhead`` tokens travel beside the image. An image never costs more than its text: where no tier is cheaper,
    nothing is returned and the page stays text.
    """
    costs = {tier.name: tier.tokens + overhead for tier in tiers}
    return {name: tokens for name, tokens in costs.items() if tokens < text_tokens}


Option = tuple[int, int]
"""A tier that a page may be shown at: its rank, and its tokens."""


def options(page: PageInfo, *, promote: bool = False) -> list[Option]:
    """Return what a page may be shown at, sharpest first, each dearer than the next.

    Not sharper than it is now (unless ``promote``) and, for a pinned page, not below its floor; the floor wins. A
    pinned page whose model has nothing as sharp as the floor is shown at the sharpest there is. Raises InputError
    for a page with no tier at all.
    """
    every = sorted((rank(tier), tokens) for tier, tokens in page.costs.items())
    if not every:
        raise InputError(f"page {page.id!r} has no tier that it may be shown at")
    if page.floor is not None:
        floor = rank(page.floor)
        every = [option for option in every if option[0] <= floor] or every[:1]
    if page.tier is not None and not promote:
        now = rank(page.tier)
        every = [option for option in every if option[0] >= now] or every[-1:]
    kept: list[Option] = []
    for option in every:
        if not kept or option[1] < kept[-1][1]:
            kept.append(option)
    return kept


def nearest(choices: Sequence[Option], wanted: int) -> Option:
    """Return the option of rank ``wanted``, else the sharpest below it, else the least sharp."""
    return next((option for option in choices if option[0] >= wanted), choices[-1])
