"""The default policy: the sharpest plan that fits in the budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from optical_memory.errors import InputError
from optical_memory.policies.base import PageInfo, Plan
from optical_memory.policies.compaction import Compaction
from optical_memory.policies.ladder import LADDER, VALUE, Option, options, rank


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetedPolicy:
    """Spends the budget where it is worth most: on pages that are recent and important.

    A page is worth ``0.5 ** (age / half_life) × (0.2 + importance) × value of its tier``, its age in pages and the
    value concave in sharpness. All pages start at their least tier. The step up that is worth most for a token is taken
    next, until none fits. An older page is never sharper than a newer one that is at least as important and could be as
    sharp; a demoted page is not promoted again.

    The levels of gists share half of the budget; level 0 holds as many pages as the rest would pay for at twice the
    price of a gist, but at least ``4 · fan_in``. Where a level holds more, its oldest ``fan_in`` pages merge into one
    gist of the next level; at ``max_level`` the oldest join into one. Pages are archived only where not one gist fits.
    So N pages leave O(log N) in the context, and a bounded number for ever.
    """

    half_life: float = 8.0
    fan_in: int = 4
    max_level: int = 4

    def __post_init__(self) -> None:
        """Refuse settings that are out of range."""
        if self.half_life <= 0 or self.fan_in < 2 or self.max_level < 1:
            raise InputError(f"half_life > 0, fan_in ≥ 2 and max_level ≥ 1 are needed, not {self!r}")

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
        least = 4 * self.fan_in
        compaction.settle(lambda level: compaction.gists() if level else max(least, compaction.leaves(2 * gist_tokens)))
        ranks, tokens = sharpen(compaction.kept(), compaction.room, self.half_life)
        return compaction.plan(ranks, tokens)


def sharpen(pages: Sequence[PageInfo], room: int, half_life: float) -> tuple[list[int], int]:
    """Return the rank of each page (oldest first) in the sharpest plan within ``room`` tokens, and its cost."""
    choices = [options(page) for page in pages]
    newest = len(pages) - 1
    steps: list[tuple[float, int, int]] = []
    for place, page in enumerate(pages):
        weight = 0.5 ** ((newest - place) / half_life) * (0.2 + page.importance)
        steps += ((-worth, -place, -index) for index, worth in _steps(choices[place], weight))
    steps.sort()
    bounds = _bounds(pages, choices, [tops[0][0] for tops in choices])
    while True:
        ranks, tokens = _climb(choices, steps, bounds, room)
        tighter = _bounds(pages, choices, ranks)
        if all(has >= bound for has, bound in zip(ranks, tighter, strict=True)):
            return ranks, tokens
        bounds = [max(pair) for pair in zip(bounds, tighter, strict=True)]


def _steps(choices: Sequence[Option], weight: float) -> Iterator[tuple[int, float]]:
    """Yield each step up from the least, as the index it leads to and its worth for a token, never rising."""
    worth = float("inf")
    for index in range(len(choices) - 2, -1, -1):
        (to, dearer), (since, cheaper) = choices[index], choices[index + 1]
        worth = min(worth, weight * (VALUE[to] - VALUE[since]) / (dearer - cheaper))
        yield index, worth


def _climb(
    choices: Sequence[Sequence[Option]], steps: Sequence[tuple[float, int, int]], bounds: Sequence[int], room: int
) -> tuple[list[int], int]:
    """Take the steps in order, each if it fits, is not sharper than its page's bound, and the one before was taken."""
    at = [len(tiers) - 1 for tiers in choices]
    tokens = sum(tiers[-1][1] for tiers in choices)
    for _, place, index in steps:
        place, index = -place, -index
        tier, dearer = choices[place][index]
        if at[place] == index + 1 and tier >= bounds[place]:
            more = tokens + dearer - choices[place][index + 1][1]
            if more <= room:
                at[place], tokens = index, more
    return [tiers[index][0] for tiers, index in zip(choices, at, strict=True)], tokens


def _bounds(pages: Sequence[PageInfo], choices: Sequence[Sequence[Option]], ranks: Sequence[int]) -> list[int]:
    """Return for each page the sharpest rank that the newer pages, at ``ranks``, leave to it.

    A page binds the older ones that are at most as important, unless it is as sharp as it could ever be. Pinned
    pages bind nothing and are not bound; nor is a page that has no choice.
    """
    bounds = [0] * len(pages)
    most_important = [-1.0] * len(LADDER)  # of the binding pages at each rank
    for place in range(len(pages) - 1, -1, -1):
        page = pages[place]
        if page.floor is not None:
            continue
        bound = next((at for at in range(len(LADDER) - 1, 0, -1) if most_important[at] >= page.importance), 0)
        bounds[place] = min(bound, choices[place][-1][0])
        if ranks[place] > min(map(rank, page.costs)):
            most_important[ranks[place]] = max(most_important[ranks[place]], page.importance)
    return bounds
