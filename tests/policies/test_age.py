from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_pages import COSTS, GIST, RANK, after, check, fresh, histories, is_monotone, live, page

from optical_memory.errors import BudgetError, InputError
from optical_memory.policies import AgePolicy, PageInfo, Plan

HOUR = 3_600.0


def planned(pages: list[PageInfo], budget: int, policy: AgePolicy, now: float = 0.0) -> Plan:
    return policy.plan(pages, now=now, budget=budget, gist_tokens=GIST)


@given(histories(), st.integers(0, 12_000), st.integers(0, 4_000))
@settings(max_examples=80, deadline=None)
def test_any_history_is_planned_within_the_contract(pages: list[PageInfo], budget: int, now: int) -> None:
    policy = AgePolicy({"gundam": (2, "30m"), "base": 5, "tiny": timedelta(minutes=50), "gist": 40})
    try:
        plan = planned(pages, budget, policy, now)
    except BudgetError:
        return
    check(pages, plan, budget)
    same = [replace(old, importance=0.5) for old in pages]
    assert is_monotone(same, plan)
    for old in pages:
        if old.id in plan.tiers and old.tier is not None and old.floor is None:
            assert RANK[plan.tiers[old.id]] >= RANK[old.tier]


@given(histories(), st.integers(0, 12_000))
@settings(max_examples=80, deadline=None)
def test_planning_the_result_again_changes_nothing(pages: list[PageInfo], budget: int) -> None:
    try:
        plan = planned(pages, budget, AgePolicy())
    except BudgetError:
        return
    result = after(pages, plan)
    again = planned(result, budget, AgePolicy())
    assert again == Plan(tiers={old.id: old.tier for old in result}, tokens=plan.tokens)


def test_tiers_follow_the_age_in_pages() -> None:
    plan = planned(fresh(7), 10_000, AgePolicy({"large": 1, "base": 3, "tiny": 10}))
    assert list(plan.tiers.values()) == ["tiny"] * 4 + ["base"] * 2 + ["large"]


@pytest.mark.parametrize("limit", ["2h", "120m", timedelta(hours=2)])
def test_tiers_follow_the_age_in_hours(limit: str | timedelta) -> None:
    pages = [page(0, last_at=0.0), page(1, last_at=9 * HOUR), page(2, last_at=10 * HOUR)]
    plan = planned(pages, 10_000, AgePolicy({"large": limit, "small": "1d"}), now=10.5 * HOUR)
    assert list(plan.tiers.values()) == ["small", "large", "large"]


def test_a_pair_of_limits_means_both() -> None:
    pages = [page(number, last_at=number * HOUR) for number in range(6)]
    plan = planned(pages, 10_000, AgePolicy({"large": (3, "1.5h"), "small": 10}), now=5 * HOUR)
    assert list(plan.tiers.values()) == ["small"] * 4 + ["large"] * 2


def test_pages_past_the_last_tier_wait_for_neighbours_and_merge() -> None:
    policy = AgePolicy({"base": 2, "tiny": 4})
    waiting = planned(fresh(7), 10_000, policy)
    assert list(waiting.tiers.values()) == ["tiny"] * 5 + ["base"] * 2
    merged = planned(fresh(9), 10_000, policy)
    assert merged.merges == (("p0", "p1", "p2", "p3"),) and len(merged.tiers) == 5


def test_gists_past_their_limit_are_archived() -> None:
    gists = [PageInfo(id=f"g{n}", level=1, costs={"gist": 73}, tier="gist") for n in range(3)]
    plan = planned([*gists, *fresh(4)], 10_000, AgePolicy({"tiny": 10, "gist": 6}))
    assert plan.archived == ("g0",) and [plan.tiers[f"g{n}"] for n in (1, 2)] == ["gist"] * 2


def test_over_the_budget_the_oldest_are_demoted_further() -> None:
    plan = planned(fresh(4), 2 * COSTS["large"] + 2 * COSTS["tiny"], AgePolicy({"large": 10}))
    assert list(plan.tiers.values()) == ["tiny", "tiny", "large", "large"]


def test_a_page_does_not_get_sharper_again() -> None:
    assert planned([page(0, tier="tiny")], 10_000, AgePolicy({"large": 10})).tiers == {"p0": "tiny"}


def test_a_long_life_stays_small() -> None:
    counts = [len(pages) for _, pages, _ in live(AgePolicy(), 10_000, 20, 8_000)]
    assert max(counts[100:]) <= 40 + 4 + 4 * 2 * 4


@pytest.mark.parametrize(
    "tiers", [{}, {"gist": 3}, {"tiny": 1, "large": 4}, {"vast": 1}, {"large": "soon"}, {"large": 1.5}]
)
def test_tiers_and_limits_are_checked(tiers: dict[str, object]) -> None:
    with pytest.raises(InputError):
        AgePolicy(tiers)
