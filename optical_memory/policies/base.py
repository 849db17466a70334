"""Policies: pure functions from (pages, now, budget) to a plan. No clock, no I/O, no images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class PageInfo:
    """What a policy knows of a sealed page.

    ``level`` is 0 for a page of whole turns and n for a gist of level n - 1 pages. ``costs`` maps each tier that
    this page may be shown at (legible to the target model, no dearer than its text) to its tokens, sharpest
    first. ``tier`` is where it stands now (None: just sealed). ``floor`` is a pinned tier, or None.
    ``importance`` runs from 0 to 1. ``last_at`` is when its last turn was added, in seconds since 1970.
    """

    id: str
    level: int
    costs: Mapping[str, int]
    tier: str | None = None
    floor: str | None = None
    importance: float = 0.5
    last_at: float = 0.0
    text_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an epoch does: a tier for each page that stays, pages to merge into gists, pages to archive.

    ``merges`` lists runs of pages, oldest first, each to become one gist page at tier "gist", one level above the
    highest of them. Every page is in exactly one of the three. ``tokens`` is the plan's cost, gists included.
    """

    tiers: Mapping[str, str] = field(default_factory=dict)
    merges: tuple[tuple[str, ...], ...] = ()
    archived: tuple[str, ...] = ()
    tokens: int = 0


class Policy(Protocol):
    """Decides how sharp each page is."""

    def plan(self, pages: Sequence[PageInfo], *, now: float, budget: int, gist_tokens: int) -> Plan:
        """Plan ``pages`` (oldest first) so that their cost is at most ``budget`` tokens.

        ``gist_tokens`` is the cost of one gist page. A pinned page is never merged, archived or shown below its floor.
        Raises BudgetError where the pinned pages alone do not fit.
        """
