"""The ladder: the order of tiers, and which of them a model can be shown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from optical_memory.budget import Profile
from optical_memory.errors import InputError
from optical_memory.policies.base import PageInfo
from optical_memory.renderers.base import Grid, Tier

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


SCRIPTS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "chinese": ((0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF)),
    "japanese": ((0x3040, 0x30FF),),
    "korean": ((0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7A3)),
    "russian": ((0x0400, 0x052F),),
    "greek": ((0x0370, 0x03FF), (0x1F00, 0x1FFF)),
}
"""Code points of the scripts that ``Profile.reads`` may tell of, first and last. Kanji and hanja count as Chinese."""
SCRIPT_SHARE = 0.1
"""A page is in each script that at least this share of its letters belongs to."""
WIDE_PX = 12
"""Least height, in px, of a wide character that a model is trusted to read where nobody measured it: bitmap fonts for
Chinese, such as WenQuanYi's, begin at 12 px, because with fewer rows the strokes of many characters run together."""
_WIDE = frozenset({"chinese", "japanese", "korean"})


def scripts_of(text: str) -> tuple[str, ...]:
    """Return the scripts of :data:`SCRIPTS` that a text is in, in that order. Latin letters are none of them."""
    if text.isascii():
        return ()
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    letters = sum(map(str.isalpha, text))
    counts = {
        script: sum(int(((codes >= first) & (codes <= last)).sum()) for first, last in ranges)
        for script, ranges in SCRIPTS.items()
    }
    return tuple(script for script, count in counts.items() if count and count >= SCRIPT_SHARE * letters)


def is_read(profile: Profile, tier: Tier, grid: Grid, scripts: Iterable[str]) -> bool:
    """Return whether the profile's model reads each of these scripts on a page of ``grid``, seen at a tier.

    It does at ``profile.legible_from`` or better, by what ``profile.reads`` says of the script in the profile's own
    cells. Where that says nothing, or the cells are larger, wide characters must be at least ``WIDE_PX`` px high; other
    scripts are taken to be read as Latin.
    """
    own = profile.gist_grid if tier.name == profile.gist.name else profile.grid
    measured = profile.reads if (grid.cell_width, grid.cell_height) == (own.cell_width, own.cell_height) else {}
    height = min(grid.cell_height, 2 * grid.cell_width) * tier.width / grid.width
    return all(
        measured[script][tier.name] >= profile.legible_from
        if tier.name in measured.get(script, {})
        else script not in _WIDE or height >= WIDE_PX
        for script in scripts
    )


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
