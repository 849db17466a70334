"""``optical-memory profiles NAME --shapes``: the shapes a page could have, and why it has its own."""

from __future__ import annotations

from collections.abc import Iterator

from optical_memory.budget import Profile
from optical_memory.budget.shapes import DEAREST, others, own

HEADS = ("profile", "page", "setting", "tokens", "characters", "legible a token", "against the best", "what it is")
SHOWN = 5
"""Shapes shown beside those of the profile."""


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
