"""Compaction: how pages leave the ladder at its end. Old pages merge; nothing is archived while a gist of it fits."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from optical_memory.errors import BudgetError
from optical_memory.policies.base import PageInfo, Plan
from optical_memory.policies.ladder import LADDER

Cost = Callable[[PageInfo], int]
"""What a page costs, in tokens, at the least that it may be shown at."""


@dataclass(slots=True)
class _Run:
    """Pages, by their places, that become one gist of ``level``."""

    level: int
    places: list[int]


class Compaction:
    """The pages of a plan in the making, as in a log-structured merge tree.

    The oldest pages of a level merge, ``fan_in`` at a time, into one gist of the next level; at the last level the
    oldest join into one. Where even that is over the budget, all that is oldest, whatever its level, becomes one gist.
    Only where not one gist fits are pages archived. Pinned pages stay, and a gist may cover pages on both sides of
    one. The newest page merges last. A page costs ``cost(page)``, a gist to come ``gist_tokens``.
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
        self._runs: list[_Run] = []
        self._archived: list[int] = []
        self._incoming: Counter[int] = Counter()
        for place, page in enumerate(pages):
            if page.floor is None:
                self._levels.setdefault(min(page.level, max_level), deque()).append(place)
        self._pinned = sum(cost for cost, page in zip(self._costs, pages, strict=True) if page.floor is not None)
        self.tokens = sum(self._costs)
        self.free = budget - self._pinned
        if self.free < 0:
            raise BudgetError(
                f"pinned pages need {self._pinned:,} tokens at their floors, more than the {budget:,} there are; "
                f"unpin some or raise the budget",
                needed=self._pinned,
                budget=budget,
            )

    def kept(self) -> list[PageInfo]:
        """Return the pages that stay, oldest first."""
        return [page for page, stays in zip(self.pages, self._stays, strict=True) if stays]

    def plan(self, tiers: Sequence[int], tokens: int) -> Plan:
        """Return the plan; ``tiers`` are the ranks of the pages that stay, in order, and cost ``tokens``."""
        names = {page.id: LADDER[rank] for page, rank in zip(self.kept(), tiers, strict=True)}
        runs = sorted(run.places for run in self._runs)
        merges = tuple(tuple(self.pages[place].id for place in run) for run in runs)
        archived = tuple(self.pages[place].id for place in sorted(self._archived))
        return Plan(tiers=names, merges=merges, archived=archived, tokens=tokens + self.gist_tokens * len(merges))

    @property
    def room(self) -> int:
        """Tokens for the pages that stay: the budget less the gists to come."""
        return self.budget - self.gist_tokens * len(self._runs)

    def leaves(self, tokens: int) -> int:
        """Return how many pages of ``tokens`` fit at level 0 beside the pins and all gists, those to come included."""
        gists = sum(len(places) for level, places in self._levels.items() if level) + len(self._runs)
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
        """Merge what is over, lowest level first; at the last level, and of gists to come, join the oldest."""
        for level in range(self.max_level + 1):
            while (over := self._count(level) - most(level)) > 0:
                if self.gist_tokens > self.free and self._levels.get(level):
                    self._archive(self._levels[level][0])
                elif level == self.max_level or not self._levels.get(level):
                    self._join(level, over + 1)
                else:
                    slots = most(level + 1) - self._incoming[level + 1] - 1
                    self._merge(self._oldest(level, _length(over, max(slots, 1), self.fan_in)), level + 1)

    def _fit(self) -> None:
        """Merge where that saves tokens, lowest level first, until all fits; where none does, the oldest become one."""
        while self.tokens > self.budget:
            for level in range(self.max_level):
                if run := self._saving(self._oldest(level, self.fan_in)):
                    self._merge(run, level + 1)
                    break
            else:
                self._collapse()

    def _saving(self, run: Sequence[int]) -> Sequence[int]:
        """Return as much of a run as suffices for all to fit, all of it where that does not; nothing if none saves."""
        saved = -self.gist_tokens
        for length, place in enumerate(run, 1):
            saved += self._costs[place]
            if length > 1 and saved > 0 and self.tokens - saved <= self.budget:
                return run[:length]
        return run if len(run) > 1 and saved > 0 else ()

    def _count(self, level: int) -> int:
        return len(self._levels.get(level, ())) + self._incoming[level]

    def _oldest(self, level: int, length: int) -> list[int]:
        """Return the oldest ``length`` pages of a level; not the newest page of all, unless it stands alone."""
        run = list(islice(self._levels.get(level, ()), length))
        return run[:-1] if len(run) > 1 and run[-1] == len(self.pages) - 1 else run

    def _merge(self, places: Sequence[int], level: int) -> None:
        for place in places:
            self._take(place)
        self._add(_Run(level, list(places)))

    def _join(self, level: int, count: int) -> None:
        """Let the oldest ``count`` pages and gists to come of one level be one gist."""
        units = sorted(self._units(level), key=_first)[:count]
        runs = [run for _, run in units if run is not None]
        self._absorb(runs, [places[0] for places, run in units if run is None], level)

    def _collapse(self) -> None:
        """Let as few as suffice of the oldest pages and gists to come be one gist, or leave where none fits."""
        held = [unit for level in {*self._levels, *self._incoming} for unit in self._units(level)]
        fits = self.gist_tokens <= self.free
        over = self.tokens - self.budget + (self.gist_tokens if fits else 0)
        taken: list[tuple[list[int], _Run | None]] = []
        for unit in sorted(held, key=_first):
            if over <= 0:
                break
            taken.append(unit)
            over -= self._costs[unit[0][0]] if unit[1] is None else self.gist_tokens
        runs = [run for _, run in taken if run is not None]
        places = [places[0] for places, run in taken if run is None]
        if fits:
            level = max(self.pages[place].level for unit, _ in taken for place in unit)
            self._absorb(runs, places, min(level + 1, self.max_level))
            return
        for run in runs:
            self._drop(run)
            self._archived += run.places
        for place in places:
            self._archive(place)

    def _units(self, level: int) -> list[tuple[list[int], _Run | None]]:
        """Return what a level holds: each page by its place, and each gist to come."""
        pages: list[tuple[list[int], _Run | None]] = [([place], None) for place in self._levels.get(level, ())]
        return pages + [(run.places, run) for run in self._runs if run.level == level]

    def _absorb(self, runs: Sequence[_Run], places: Sequence[int], level: int) -> None:
        made = list(places)
        for run in runs:
            self._drop(run)
            made += run.places
        for place in places:
            self._take(place)
        self._add(_Run(level, sorted(made)))

    def _add(self, run: _Run) -> None:
        self._runs.append(run)
        self._incoming[run.level] += 1
        self.tokens += self.gist_tokens

    def _drop(self, run: _Run) -> None:
        self._runs.remove(run)
        self._incoming[run.level] -= 1
        self.tokens -= self.gist_tokens

    def _archive(self, place: int) -> None:
        self._take(place)
        self._archived.append(place)

    def _take(self, place: int) -> None:
        """Take a page out of its level."""
        level = min(self.pages[place].level, self.max_level)
        if self._levels[level][0] == place:
            self._levels[level].popleft()
        else:
            self._levels[level].remove(place)
        self._stays[place] = False
        self.tokens -= self._costs[place]


def _first(unit: tuple[list[int], _Run | None]) -> int:
    return unit[0][0]


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
