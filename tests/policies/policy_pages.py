"""What the tests of policies share: made-up pages, and the life of a session under a policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hypothesis import strategies as st

from optical_memory.policies import LADDER, PageInfo, Plan, Policy
from optical_memory.policies.ladder import options

COSTS = {"gundam": 693, "large": 421, "base": 273, "small": 111, "tiny": 73}
GIST = 73
RANK = {name: place for place, name in enumerate(LADDER)}


def page(number: int, **changes: object) -> PageInfo:
    return replace(PageInfo(id=f"p{number}", level=0, costs=COSTS), **changes)


def fresh(count: int, **changes: object) -> list[PageInfo]:
    return [page(number, **changes) for number in range(count)]


@st.composite
def histories(draw: st.DrawFn, *, pins: bool = True) -> list[PageInfo]:
    """Pages as they may come from anywhere: any ladder, any level, any tier now, oldest first."""
    out = []
    for number in range(draw(st.integers(0, 40))):
        level = draw(st.sampled_from([0, 0, 0, 1, 2, 5]))
        if level:
            out.append(PageInfo(id=f"p{number}", level=level, costs={"gist": draw(st.integers(50, 80))}, tier="gist"))
            continue
        names = draw(st.sets(st.sampled_from(LADDER[:-1]), min_size=1))
        costs = {name: 20 + 90 * (len(LADDER) - RANK[name]) + draw(st.integers(0, 40)) for name in names}
        costs = {name: costs[name] for name in LADDER if name in costs}
        out.append(
            PageInfo(
                id=f"p{number}",
                level=0,
                costs=costs,
                tier=draw(st.sampled_from([None, *costs])),
                floor=draw(st.sampled_from([None] * 6 + list(costs))) if pins else None,
                importance=draw(st.sampled_from([0.0, 0.3, 0.5, 0.5, 0.5, 1.0])),
                last_at=float(number * 60),
            )
        )
    return out


def after(pages: Sequence[PageInfo], plan: Plan, gist_tokens: int = GIST) -> list[PageInfo]:
    """Return the pages as the next epoch finds them: tiers as planned, each merge a gist in its oldest page's place."""
    first = {run[0]: run for run in plan.merges}
    gone = {page_id for run in plan.merges for page_id in run} | set(plan.archived)
    level_of = {old.id: old.level for old in pages}
    out = []
    for old in pages:
        if old.id in first:
            out.append(
                PageInfo(
                    id=f"g{old.id}",
                    level=1 + max(level_of[i] for i in first[old.id]),
                    costs={"gist": gist_tokens},
                    tier="gist",
                )
            )
        elif old.id not in gone:
            out.append(replace(old, tier=plan.tiers[old.id]))
    return out


def live(policy: Policy, total: int, batch: int, budget: int) -> Iterator[tuple[int, list[PageInfo], Plan]]:
    """Seal ``total`` pages, ``batch`` an epoch; yield after each how many were sealed, what stands, and the plan."""
    pages: list[PageInfo] = []
    for sealed in range(batch, total + 1, batch):
        pages += [page(number, last_at=float(number)) for number in range(sealed - batch, sealed)]
        plan = policy.plan(pages, now=float(sealed), budget=budget, gist_tokens=GIST)
        check(pages, plan, budget)
        pages = after(pages, plan)
        yield sealed, pages, plan


def check(pages: Sequence[PageInfo], plan: Plan, budget: int, gist_tokens: int = GIST) -> None:
    """Hold a plan to the contract."""
    by_id = {old.id: old for old in pages}
    named = [*plan.tiers, *(page_id for run in plan.merges for page_id in run), *plan.archived]
    assert sorted(named) == sorted(by_id), "each page exactly once"
    cost = sum(by_id[page_id].costs[tier] for page_id, tier in plan.tiers.items()) + gist_tokens * len(plan.merges)
    assert plan.tokens == cost <= budget
    order = {old.id: place for place, old in enumerate(pages)}
    for run in plan.merges:
        places = [order[page_id] for page_id in run]
        assert places and places == sorted(places)
    if gist_tokens <= budget - sum(pinned_cost(old) for old in pages if old.floor is not None):
        assert not plan.archived, "nothing is archived while a gist fits"
    for old in pages:
        if old.floor is not None:
            assert RANK[plan.tiers[old.id]] <= RANK[old.floor]


def pinned_cost(old: PageInfo) -> int:
    """Return the least that a pinned page may cost."""
    return options(old)[-1][1]


def is_monotone(pages: Sequence[PageInfo], plan: Plan) -> bool:
    """Whether no older page is sharper than a newer one that is as important and could be as sharp."""
    kept = [old for old in pages if old.id in plan.tiers and old.floor is None]
    for place, older in enumerate(kept):
        for newer in kept[place + 1 :]:
            if older.importance <= newer.importance and RANK[plan.tiers[older.id]] < RANK[plan.tiers[newer.id]]:
                could = RANK[plan.tiers[newer.id]] > min(RANK[tier] for tier in newer.costs)
                least = max(RANK[tier] for tier in older.costs)
                if could and RANK[plan.tiers[older.id]] < least:
                    return False
    return True
