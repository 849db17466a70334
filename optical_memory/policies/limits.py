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
    """Return the plan with the oldest images merged into one until ``images`` of together ``size`` bytes are left.

    ``bytes_of`` maps a tier to the bytes of one image; tiers that are not in it are text. Pinned pages stay. Where they
    leave no room for one gist, all others are archived.
    """
    runs = {ids[0]: ids for ids in plan.merges}
    shown = [(page, "gist" if page.id in runs else plan.tiers.get(page.id, "")) for page in pages]
    shown = [(page, tier) for page, tier in shown if tier in bytes_of]
    images, size = images - len(shown), size - sum(bytes_of[tier] for _, tier in shown)
    if images >= 0 and size >= 0:
        return plan
    images, size = images - 1, size - bytes_of.get("gist", 0)  # the gist that is made of them
    taken: list[str] = []
    freed = 0
    for page, tier in shown:
        if images >= 0 and size >= 0 and freed >= gist_tokens:
            break
        if page.floor is None:
            images, size = images + 1, size + bytes_of[tier]
            freed += gist_tokens if page.id in runs else page.costs[tier]
            taken += runs.get(page.id, (page.id,))
    fits = images >= 0 and size >= 0 and freed >= gist_tokens
    order = {page.id: place for place, page in enumerate(pages)}
    gone = tuple(sorted(taken, key=order.__getitem__))
    merges = [ids for ids in plan.merges if ids[0] not in gone]
    return replace(
        plan,
        tiers={page_id: tier for page_id, tier in plan.tiers.items() if page_id not in set(gone)},
        merges=tuple(sorted([*merges, *([gone] if fits else [])], key=lambda ids: order[ids[0]])),
        archived=plan.archived if fits else (*plan.archived, *gone),
        tokens=plan.tokens - freed + (gist_tokens if fits else 0),
    )
