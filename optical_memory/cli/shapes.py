"""``optical-memory profiles NAME --shapes``: the shapes a page could have, and why it has its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from optical_memory.budget import Profile, image_tokens
from optical_memory.budget.formulas.base import ceil_div

HEADS = ("profile", "page", "setting", "tokens", "characters", "legible a token", "against the best", "what it is")
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
SHOWN = 5
"""Shapes shown beside those of the profile."""


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


def rows(profile: Profile, text_rate: float) -> Iterator[tuple[str, ...]]:
    """Yield the table's rows; ``text_rate`` is the characters of text for a token."""
    mine, further = own(profile), others(profile)
    best = max(shape.density for shape in (mine[0], *further[:1]))
    for shape in [*mine, *further[:SHOWN]]:
        yield (
            profile.name,
            f"{shape.width}×{shape.height}",
            shape.detail or "",
            f"{shape.tokens:,}",
            f"{shape.characters:,}",
            f"{shape.density:.2f}",
            f"{shape.density / best:.0%}",
            f"tier {shape.tier}" if shape.tier else "another shape",
        )
    yield (profile.name, "text", "", "1", f"{text_rate:.1f}", f"{text_rate:.2f}", f"{text_rate / best:.0%}", "as text")


def why(profile: Profile) -> str:
    """Say in a sentence why the profile has its shape."""
    mine, further = own(profile)[0], others(profile)
    if profile.formula.is_flat:
        return (
            f"Every image costs {mine.tokens:,} tokens at this setting, whatever its size: the page is the largest "
            "at which these cells are read."
        )
    if not further:
        return "The model sees images of these sizes alone."
    least = mine.density / further[0].density
    return (
        f"{mine.width}×{mine.height} holds {mine.density:.2f} legible characters for a token, {least:.0%} of the "
        f"best of {len(further):,} shapes of up to {DEAREST:,} tokens that are not scaled "
        f"({further[0].width}×{further[0].height}: "
        f"{further[0].density:.2f})."
    )
