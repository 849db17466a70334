"""What a provider allows in one request, beside tokens: a number of images and a number of bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from optical_memory.policies.base import PageInfo, Plan

PIXEL_BYTES = 0.26
"""Most bytes that a pixel of a page costs as PNG in base64: 0.15 at 1280² to 0.257 at 640² (measured, 2026-11-25)."""


def within_limits(
    plan: Plan, pages: Sequence[PageInfo], *, images: int, size: int, bytes_of: Mapping[str, int], gist_tokens: int
) -> Plan:
    """Return the plan with the oldest images archived until ``images`` of together ``size`` bytes are left.

    ``bytes_of`` maps a tier to the bytes of one image; tiers that are not in it are text. Pinned pages stay.
    """
    merged = {ids[0]: ids for ids in plan.merges}
    shown = [(page, "gist" if page.id in merged else plan.tiers.get(page.id, "")) for page in pages]
    shown = [(page, tier) for page, tier in shown if tier in bytes_of]
    gone: set[str] = set()
    for page, tier in sorted(reversed(shown), key=lambda pair: pair[0].floor is None):  # pinned first, then the newest
        images, size = images - 1, size - bytes_of[tier]
        if page.floor is None and (images < 0 or size < 0):
            gone.add(page.id)
    if not gone:
        return plan
    costs = {page.id: gist_tokens if page.id in merged else page.costs[tier] for page, tier in shown}
    archived = {page_id for first in gone for page_id in merged.get(first, (first,))}
    return replace(
        plan,
        tiers={page_id: tier for page_id, tier in plan.tiers.items() if page_id not in archived},
        merges=tuple(ids for ids in plan.merges if ids[0] not in gone),
        archived=(*plan.archived, *(page.id for page in pages if page.id in archived)),
        tokens=plan.tokens - sum(costs[page_id] for page_id in gone),
    )
