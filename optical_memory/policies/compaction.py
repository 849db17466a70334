"""Compaction: how pages leave the ladder at its end. Old pages merge level by level; the oldest are archived."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import islice

from optical_memory.errors import BudgetError
from optical_memory.policies.base import PageInfo, Plan
from optical_memory.policies.ladder import LADDER

Cost = Callable[[PageInfo], int]
"""What a page costs, in tokens, at the least that it may be shown at."""


class Compaction:
    """The pages of a plan in the making, as in a log-structured merge tree.

    The oldest pages of a level merge, ``fan_in`` at a time, into one gist of the next level. Pinned pages stay; a
    page that stands alone between them has nothing to merge with and is archived instead. The newest page is not
    merged. A page costs ``cost(page)``, a gist to come ``gist_tokens``.
    """

    def __init__(
        self, pages: Sequence[PageInfo], *, cost: Cost, budget: int, gist_tokens: int, fan_in: int, max_level: int
    ) -> None:
        """Raise BudgetError where the pinned pages alone cost more than ``budget``."""
        self.pages = pages
        self.budget = budget
        self.gist_tokens = gist_tokens
        self.fan_in = fan_in
        self.max_level = max_level
        self._costs = [cost(page) for page in pages]
        self._stays = [True] * len(pages)
        self._levels: dict[int, deque[int]] = {}
        self._merges: list[list[int]] = []
        self._archived: list[int] = []
        self._incoming: Counter[int] = Counter()
        for place, page in enumerate(pages):
            if page.floor is None:
                self._levels.setdefault(min(page.level, max_level), deque()).append(place)
        pinned = sum(cost for cost, page in zip(self._costs, pages, strict=True) if page.floor is not None)
        self.tokens = sum(self._costs)
        self.free = budget - pinned
        if self.free < 0:
            raise BudgetError(
                f"pinned pages need {pinned:,} tokens at their floors, more than the {budget:,} there are; "
                f"unpin some or raise the budget",
                needed=pinned,
                budget=budget,
            )

    def kept(self) -> list[PageInfo]:
        """Return the pages that stay, oldest first."""
        return [page for page, stays in zip(self.pages, self._stays, strict=True) if stays]

    def plan(self, tiers: Sequence[int], tokens: int) -> Plan:
        """Return the plan; ``tiers`` are the ranks of the pages that stay, in order, and cost ``tokens``."""
        names = {page.id: LADDER[rank] for page, rank in zip(self.kept(), tiers, strict=True)}
        merges = tuple(tuple(self.pages[place].id for place in run) for run in sorted(self._merges))
        archived = tuple(self.pages[place].id for place in sorted(self._archived))
        return Plan(tiers=names, merges=merges, archived=archived, tokens=tokens + self.gist_tokens * len(merges))

    @property
    def room(self) -> int:
        """Tokens for the pages that stay: the budget less the gists to come."""
        return self.budget - self.gist_tokens * len(self._merges)

    def leaves(self, tokens: int) -> int:
        """Return how many pages of ``tokens`` fit at level 0 beside the pins and all gists, those to come included."""
        gists = sum(len(places) for level, places in self._levels.items() if level) + len(self._merges)
        return max(self.free - gists * self.gist_tokens, 0) // max(tokens, 1)

    def gists(self) -> int:
        """Return how many gists each level may hold so that all together take half of the budget; at least one."""
        return max(1, self.free // (2 * max(self.gist_tokens, 1) * self.max_level))

    def settle(self, most: Callable[[int], int]) -> None:
        """Let each level hold at most ``most(level)`` pages, and their least cost be at most the budget."""
        while any(self._count(level) > most(level) for level in range(self.max_level + 1)) or self.tokens > self.budget:
            self._limit(most)
            self._fit()

    def expire(self, past: Callable[[PageInfo], bool]) -> None:
        """Archive the oldest pages of each level for as long as ``past`` says so."""
        for places in self._levels.values():
            while places and past(self.pages[places[0]]):
                self._archive(places[0])

    def _limit(self, most: Callable[[int], int]) -> None:
        """Merge what is over, lowest level first; at the last level archive the oldest."""
        for level in range(self.max_level + 1):
            while (over := self._count(level) - most(level)) > 0:
                if not self._levels.get(level):
                    self._unmerge(next(run for run in sorted(self._merges) if self.pages[run[0]].level == level - 1))
                elif level == self.max_level:
                    self._archive(self._levels[level][0])
                else:
                    slots = most(level + 1) - self._incoming[level + 1] - 1
                    self._shed(level, _length(over, max(slots, 1), self.fan_in))

    def _fit(self) -> None:
        """Merge where that saves tokens, lowest level first, else archive the oldest, until all fits."""
        while self.tokens > self.budget:
            levels = range(self.max_level)
            level = next((level for level in levels if self._saves(self._run(level, self.fan_in))), None)
            if level is not None:
                self._shed(level, self.fan_in)
            else:
                self._archive_oldest()

    def _shed(self, level: int, length: int) -> None:
        """Merge the oldest ``length`` neighbours of a level, or archive the oldest where that would save nothing."""
        run = self._run(level, length)
        if not self._saves(run):
            self._archive(self._levels[level][0])
            return
        for place in run:
            self._remove(place)
        self._merges.append(run)
        self._incoming[level + 1] += 1
        self.tokens += self.gist_tokens

    def _count(self, level: int) -> int:
        return len(self._levels.get(level, ())) + self._incoming[level]

    def _run(self, level: int, length: int) -> list[int]:
        """Return the oldest ``length`` neighbours of a level; one more where a pin would leave the next page alone."""
        run: list[int] = []
        for place in islice(self._levels.get(level, ()), length + 1):
            apart = run and (place != run[-1] + 1 or self.pages[place].level != self.pages[run[0]].level)
            if apart or place == len(self.pages) - 1:
                break
            run.append(place)
        alone = len(run) > length and self.pages[run[-1] + 1].floor is not None
        return run if alone else run[:length]

    def _saves(self, run: Sequence[int]) -> bool:
        return len(run) > 1 and sum(self._costs[place] for place in run) > self.gist_tokens

    def _archive_oldest(self) -> None:
        first = min((places[0] for places in self._levels.values() if places), default=len(self.pages))
        if self._merges and min(self._merges)[0] < first:
            self._unmerge(min(self._merges))
        else:
            self._archive(first)

    def _archive(self, place: int) -> None:
        self._remove(place)
        self._archived.append(place)

    def _unmerge(self, run: list[int]) -> None:
        """Archive the pages of a planned merge instead."""
        self._merges.remove(run)
        self._archived += run
        self._incoming[self.pages[run[0]].level + 1] -= 1
        self.tokens -= self.gist_tokens

    def _remove(self, place: int) -> None:
        level = min(self.pages[place].level, self.max_level)
        assert self._levels[level].popleft() == place, "pages leave a level oldest first"
        self._stays[place] = False
        self.tokens -= self._costs[place]


def _length(over: int, slots: int, fan_in: int) -> int:
    """Return how long the oldest run should be when ``over`` pages are to go into at most ``slots`` gists.

    It is ``fan_in`` where that suffices. Else runs grow towards the past: a long history that comes in at once is
    thinned out as it would have been over time.
    """
    if slots == 1:
        return max(over, fan_in)
    if over <= fan_in * slots:
        return fan_in
    growth = 1.0
    lengths: list[int] = []
    while sum(lengths) < over:
        growth += 0.05
        lengths = [int(fan_in * growth**step) for step in range(slots)]
    while sum(lengths[:-1]) >= over:
        lengths.pop()
    return max(over - sum(lengths[:-1]), fan_in)
