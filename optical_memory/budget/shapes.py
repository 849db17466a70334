"""The shapes that a page could have for a target model, and the best of them by the provider's own price."""

from __future__ import annotations

from dataclasses import dataclass, replace

from optical_memory.budget.formulas.base import ceil_div
from optical_memory.budget.images import image_tokens
from optical_memory.budget.profile import Profile

LEAST_SIDE, MOST_SIDE = 256, 3_072
"""Sides, in px, of the shapes that are tried."""
STEPS = 24
"""Most widths, and heights, that are tried: more are skipped evenly."""
SMALL_UNIT = 64
"""A unit of a price up to which prices grow with each patch; larger ones are tiles."""
UNSCALED = 0.97
"""Share of what a whole image would cost, by the price of one unit, below which the provider must have scaled it."""
LABEL = 16
"""Tokens of the label that stands beside each page: what makes small pages dear."""
DEAREST = 2_000
"""Most tokens of a page that is tried: of a dearer one a budget of 8,000 does not hold four."""
SLACK = 0.98
"""Share of the best shape's characters a token from which a shape is good enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A page of ``width`` × ``height`` px in the profile's cells: its price in tokens, the characters read of it.

    ``tier`` is the profile's tier of this shape, empty for one that it does not have.
    """

    width: int
    height: int
    detail: str | None
    tokens: int
    characters: int
    legible: float
    tier: str = ""

    @property
    def density(self) -> float:
        """Legible characters for a token, the page's label counted."""
        return self.legible / (self.tokens + LABEL)


def own(profile: Profile) -> list[Shape]:
    """Return the shapes of the profile's tiers, sharpest first. A tier that nobody measured is taken to be read."""
    grid, details = profile.grid, profile.detail
    return [
        Shape(
            width=tier.width,
            height=tier.height,
            detail=details.get(tier.name),
            tokens=tier.tokens,
            characters=grid.capacity,
            legible=grid.capacity * profile.legibility.get(tier.name, 1.0),
            tier=tier.name,
        )
        for tier in profile.tiers
    ]


def others(profile: Profile) -> list[Shape]:
    """Return further shapes at full size that the provider would not scale, densest first.

    Of two that are as dense the one nearest to a square. Empty where an image must have one of a few sizes, or costs
    the same whatever its size.
    """
    first, unit = own(profile)[0], profile.formula.unit
    if not unit or profile.formula.is_flat:
        return []
    share = first.legible / first.characters
    most = min(MOST_SIDE, *profile.sides.values())
    sides = [*range(ceil_div(LEAST_SIDE, unit) * unit, most + 1, unit)]
    sides = [side for at, side in enumerate(sides) if at % ceil_div(len(sides), STEPS) == 0]
    found = []
    for width in sides:
        for height in sides:
            tokens = image_tokens(profile.formula, width, height, first.detail)
            grid = replace(profile.grid, width=width, height=height)
            expected = UNSCALED * _whole(profile, width, height, first)
            is_whole = profile.formula.is_whole(width, height) and tokens >= expected
            if tokens <= DEAREST and is_whole:
                size = grid.capacity
                shape = Shape(
                    width=width,
                    height=height,
                    detail=first.detail,
                    tokens=tokens,
                    characters=size,
                    legible=size * share,
                )
                found.append(shape)
    return sorted(found, key=lambda shape: (-shape.density, abs(shape.width - shape.height), shape.width))


def _whole(profile: Profile, width: int, height: int, first: Shape) -> float:
    """Return what an image would cost if each unit of it cost the same."""
    unit, detail = profile.formula.unit, first.detail
    across = 8 if unit <= SMALL_UNIT else 1
    least = image_tokens(profile.formula, across * unit, across * unit, detail)
    more = image_tokens(profile.formula, across * unit, (across + 1) * unit, detail)
    units = ceil_div(width, unit) * ceil_div(height, unit)
    return least + (more - least) / across * (units - across**2)


def shaped(profile: Profile) -> Profile:
    """Return the profile with the page that has the most legible characters for a token, by its price formula.

    A profile whose page has at least ``SLACK`` of that keeps it; so does one whose images must have one of a few sizes
    or cost the same whatever their size. The cells stay; every tier is scaled like the page.
    """
    mine, further = own(profile)[0], others(profile)
    if not further or mine.density >= SLACK * further[0].density:
        return profile
    best, unit = further[0], max(profile.formula.unit, 1)
    tiers = []
    for tier in profile.tiers:
        width = max(round(tier.width * best.width / (mine.width * unit)), 1) * unit
        height = max(round(tier.height * best.height / (mine.height * unit)), 1) * unit
        tokens = profile.image_tokens(width, height, profile.detail.get(tier.name))
        tiers.append(replace(tier, width=width, height=height, tokens=tokens))
    return replace(profile, grid=replace(profile.grid, width=best.width, height=best.height), tiers=tuple(tiers))
