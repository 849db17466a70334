"""Every page at one tier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optical_memory.policies.base import PageInfo, Plan
from optical_memory.policies.compaction import Compaction
from optical_memory.policies.ladder import Option, nearest, options, rank


@dataclass(frozen=True, slots=True)
class FixedTier:
    """Shows every sealed page at ``tier``. Over the budget the oldest pages merge.

    A page that may not be shown at ``tier`` takes the sharpest below it, else its least sharp. Pinned pages are not
    below their floor.
    """

    tier: str
    fan_in: int = 4
    max_level: int = 4

    def __post_init__(self) -> None:
        """Refuse a tier that is not in the ladder."""
        rank(self.tier)

    def plan(self, pages: Sequence[PageInfo], *, now: float, budget: int, gist_tokens: int) -> Plan:
        """Plan ``pages`` (oldest first) in ``budget`` tokens. Raises BudgetError for pins that do not fit."""
        compaction = Compaction(
            pages,
            cost=lambda page: self._option(page)[1],
            budget=budget,
            gist_tokens=gist_tokens,
            fan_in=self.fan_in,
            max_level=self.max_level,
        )
        if compaction.tokens > budget:
            dearest = max(self._option(page)[1] for page in pages)
            compaction.settle(lambda level: compaction.gists() if level else max(1, compaction.leaves(dearest)))
        chosen = [self._option(page) for page in compaction.kept()]
        return compaction.plan([tier for tier, _ in chosen], sum(tokens for _, tokens in chosen))

    def _option(self, page: PageInfo) -> Option:
        return nearest(options(page, promote=True), rank(self.tier))
