"""Tiers by age."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from optical_memory.errors import InputError
from optical_memory.policies.base import PageInfo, Plan
from optical_memory.policies.compaction import Compaction
from optical_memory.policies.ladder import Option, nearest, options, rank

Limit = int | str | timedelta | tuple[int, str | timedelta]
"""How long a tier lasts: pages that are newer, a time (``timedelta`` or text such as "6h"), or both."""


@dataclass(frozen=True, slots=True)
class AgePolicy:
    """Shows a page at the first tier whose limit it is within, then merges, then archives.

    ``tiers`` maps tiers, sharpest first, to how long they last: a number of pages (a page with fewer newer ones is
    within it), a time since the page's last turn (``timedelta``, "90m", "6h", "3d"), or a pair of both (within means
    within both). Pages past the last tier wait there for ``fan_in`` neighbours and merge; gists merge likewise, and
    those at ``max_level`` join into one, and those past a limit given for "gist" are archived.

    Over the budget, the oldest are demoted further, then merged; they are archived only where not one gist fits. No
    page gets sharper again.
    """

    tiers: Mapping[str, Limit] = field(default_factory=lambda: {"large": 1, "base": 4, "small": 12, "tiny": 40})
    fan_in: int = 4
    max_level: int = 4

    def __post_init__(self) -> None:
        """Refuse tiers that are unknown or out of order, and limits that are not ages."""
        ranks = [rank(tier) for tier in self.tiers]
        if not ranks or ranks != sorted(ranks) or ranks[0] == rank("gist"):
            raise InputError(f"the tiers of an age policy go from sharp to less sharp, not {', '.join(self.tiers)!r}")
        for limit in self.tiers.values():
            _within(limit, 0, 0.0)

    def plan(self, pages: Sequence[PageInfo], *, now: float, budget: int, gist_tokens: int) -> Plan:
        """Plan ``pages`` (oldest first) in ``budget`` tokens. Raises BudgetError for pins that do not fit."""
        compaction = Compaction(
            pages,
            cost=lambda page: options(page)[-1][1],
            budget=budget,
            gist_tokens=gist_tokens,
            fan_in=self.fan_in,
            max_level=self.max_level,
        )
        wanted = {page.id: self._rank(page, len(pages) - 1 - place, now) for place, page in enumerate(pages)}
        compaction.expire(lambda page: page.level > 0 and wanted[page.id] is None)
        loose = [page for page in pages if page.floor is None and page.level == 0]
        expired = sum(wanted[page.id] is None for page in loose)
        least = len(loose) - expired // self.fan_in * self.fan_in
        compaction.settle(lambda level: 2 * self.fan_in if level else least)
        last = rank(next(reversed([tier for tier in self.tiers if tier != "gist"])))
        kept = [(page, wanted[page.id]) for page in compaction.kept()]
        chosen = _choose([(page, last if at is None else at) for page, at in kept], compaction.room)
        return compaction.plan([at for at, _ in chosen], sum(tokens for _, tokens in chosen))

    def _rank(self, page: PageInfo, newer: int, now: float) -> int | None:
        """Return the rank that a page has by its age; None where it is past all of them."""
        if page.level > 0:
            limit = self.tiers.get("gist")
            return rank("gist") if limit is None or _within(limit, newer, now - page.last_at) else None
        names = [tier for tier in self.tiers if tier != "gist"]
        return next((rank(tier) for tier in names if _within(self.tiers[tier], newer, now - page.last_at)), None)


def _choose(wanted: Sequence[tuple[PageInfo, int]], room: int) -> list[Option]:
    """Return an option for each page (oldest first): near the rank that is wanted, in ``room`` tokens in all."""
    chosen: list[Option] = []
    bound = 0
    for page, at in reversed(wanted):
        option = nearest(options(page), at if page.floor else max(at, bound))
        if page.floor is None and option[0] > min(map(rank, page.costs)):
            bound = max(bound, option[0])
        chosen.insert(0, option)
    over = sum(tokens for _, tokens in chosen) - room
    for place, (page, _) in enumerate(wanted):
        if over <= 0:
            break
        least = options(page)[-1]
        over -= chosen[place][1] - least[1]
        chosen[place] = least
    return chosen


_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0}


def _within(limit: Limit, newer: int, age_seconds: float) -> bool:
    if isinstance(limit, tuple):
        return all(_within(part, newer, age_seconds) for part in limit)
    if isinstance(limit, int):
        return newer < limit
    if isinstance(limit, timedelta):
        return age_seconds < limit.total_seconds()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", limit) if isinstance(limit, str) else None
    if match is None:
        raise InputError(f"not an age: {limit!r}; use a number of pages, a timedelta, or text such as '6h'")
    return age_seconds < float(match[1]) * _UNITS[match[2]]
