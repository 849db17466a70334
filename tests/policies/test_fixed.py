from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_pages import COSTS, GIST, after, check, fresh, histories, live, page

from optical_memory.errors import BudgetError, InputError
from optical_memory.policies import FixedTier, PageInfo, Plan


def planned(pages: list[PageInfo], budget: int, tier: str = "tiny") -> Plan:
    return FixedTier(tier).plan(pages, now=0.0, budget=budget, gist_tokens=GIST)


@given(histories(), st.integers(0, 12_000), st.sampled_from(["text", "large", "tiny", "nano"]))
@settings(max_examples=80, deadline=None)
def test_any_history_is_planned_within_the_contract(pages: list[PageInfo], budget: int, tier: str) -> None:
    try:
        plan = planned(pages, budget, tier)
    except BudgetError:
        return
    check(pages, plan, budget)
    result = after(pages, plan)
    again = planned(result, budget, tier)
    assert again == Plan(tiers={old.id: old.tier for old in result}, tokens=plan.tokens)


@pytest.mark.parametrize("tier", list(COSTS))
def test_every_page_is_at_the_tier(tier: str) -> None:
    pages = [*fresh(3), page(3, tier="tiny"), page(4, tier="gundam")]
    plan = planned(pages, 5 * COSTS[tier], tier)
    assert plan == Plan(tiers=dict.fromkeys(plan.tiers, tier), tokens=5 * COSTS[tier])


def test_over_the_budget_the_oldest_merge_and_the_newest_keep_their_tier() -> None:
    pages = fresh(10)
    plan = planned(pages, 8 * COSTS["large"], "large")
    assert plan.merges == (("p0", "p1", "p2", "p3"),)
    assert set(plan.tiers.values()) == {"large"} and list(plan.tiers) == [f"p{n}" for n in range(4, 10)]


def test_where_merging_saves_nothing_the_oldest_are_archived() -> None:
    pages = fresh(4, costs={"nano": 10})
    assert planned(pages, 20, "nano") == Plan(tiers={"p2": "nano", "p3": "nano"}, archived=("p0", "p1"), tokens=20)


def test_a_page_without_the_tier_takes_the_next_below_or_its_least() -> None:
    pages = [page(0, costs={"base": 273, "tiny": 73}), page(1, costs={"large": 421})]
    assert planned(pages, 1_000, "small").tiers == {"p0": "tiny", "p1": "large"}


def test_a_pin_is_not_shown_below_its_floor() -> None:
    assert planned(fresh(1, floor="base"), 300).tiers == {"p0": "base"}
    with pytest.raises(BudgetError):
        planned(fresh(2, floor="base"), 300)


def test_a_long_life_stays_within_the_budget() -> None:
    counts = [len(pages) for _, pages, _ in live(FixedTier("small"), 10_000, 20, 8_000)]
    assert max(counts) <= 8_000 // GIST and counts[-1] <= 1.1 * max(counts[: len(counts) // 2])


def test_an_unknown_tier_is_refused() -> None:
    with pytest.raises(InputError, match="'minute'"):
        FixedTier("minute")
