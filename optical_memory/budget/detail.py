"""Which setting of a provider to send with an image. Sizes in px, costs in tokens."""

from __future__ import annotations

from dataclasses import replace

from optical_memory.budget.images import image_tokens
from optical_memory.budget.profile import Profile
from optical_memory.turns import Part, Turn


def known_detail(profile: Profile, detail: object) -> str | None:
    """Return the setting as this profile's provider has it, or None where it has none of that name.

    "high" is Gemini's "media_resolution_high" and the other way round, whatever the case.
    """
    name = str(detail).lower()
    for known in (name, f"media_resolution_{name}", name.removeprefix("media_resolution_")):
        if known in profile.formula.settings:
            return known
    return None


def detail_for(profile: Profile, width: int | None, height: int | None, *, most: int | None = None) -> str | None:
    """Return the setting to send with a user's image whose caller left it open; None: send none.

    ``width`` and ``height`` are in px, None where they are not known (then the dearest size is assumed). The
    provider's default stays where it costs at most ``most`` tokens (default: what it costs with the dearest setting
    that pages are sent with). Otherwise the sharpest setting that costs no more is named, or the cheapest there is.
    """
    formula = profile.formula

    def cost(detail: str | None) -> int:
        if width is None or height is None:
            return formula.most_for(detail)
        return image_tokens(formula, width, height, detail)

    if most is None:
        most = max((cost(detail) for detail in set(profile.detail.values())), default=cost(None))
    if cost(None) <= most or not formula.settings:
        return None
    costs = {detail: cost(detail) for detail in formula.settings}
    cheaper = [detail for detail, tokens in costs.items() if tokens < cost(None)]
    if not cheaper:
        return None
    fitting = [detail for detail in cheaper if costs[detail] <= most]
    return max(reversed(fitting), key=costs.__getitem__) if fitting else min(cheaper, key=costs.__getitem__)


def with_detail(turn: Turn, profile: Profile) -> Turn:
    """Return the turn with the setting of :func:`detail_for` in each image whose caller left it open and it matters.

    The turn itself where there is none. "auto" is left open too. What the provider's own message held beside its
    content is not kept.
    """
    parts = tuple(_bounded(part, profile) for part in turn.parts)
    if all(new is old for new, old in zip(parts, turn.parts, strict=True)):
        return turn
    return replace(turn, parts=parts, raw=None, raw_format=None)


def _bounded(part: Part, profile: Profile) -> Part:
    asked = (part.raw or {}).get("detail")
    if part.kind != "image" or known_detail(profile, asked) not in (None, "auto"):
        return part
    if not (detail := detail_for(profile, part.width, part.height)):
        return part
    return replace(part, raw={**(part.raw or {}), "detail": detail})
