from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_pages import COSTS, GIST, RANK, after, check, fresh, histories, is_monotone, live, page

from optical_memory.errors import BudgetError, InputError
from optical_memory.policies import BudgetedPolicy, PageInfo, Plan


def planned(pages: list[PageInfo], budget: int, policy: BudgetedPolicy | None = None) -> Plan:
    return (policy or BudgetedPolicy()).plan(pages, now=0.0, budget=budget, gist_tokens=GIST)


@given(histories(), st.integers(0, 12_000), st.integers(20, 150))
@settings(max_examples=100, deadline=None)
def test_any_history_is_planned_within_the_contract(pages: list[PageInfo], budget: int, gist_tokens: int) -> None:
    try:
        plan = BudgetedPolicy().plan(pages, now=0.0, budget=budget, gist_tokens=gist_tokens)
    except BudgetError as error:
        assert error.needed > budget == error.budget
        return
    check(pages, plan, budget, gist_tokens)
    assert is_monotone(pages, plan)
    assert plan == BudgetedPolicy().plan(list(pages), now=1e9, budget=budget, gist_tokens=gist_tokens)


@given(histories(), st.integers(0, 12_000))
@settings(max_examples=100, deadline=None)
def test_planning_the_result_again_changes_nothing(pages: list[PageInfo], budget: int) -> None:
    try:
        plan = planned(pages, budget)
    except BudgetError:
        return
    result = after(pages, plan)
    again = planned(result, budget)
    assert again == Plan(tiers={old.id: old.tier for old in result}, tokens=plan.tokens)


@given(histories(), st.integers(0, 12_000))
@settings(max_examples=100, deadline=None)
def test_a_demoted_page_is_never_promoted(pages: list[PageInfo], budget: int) -> None:
    try:
        plan = planned(pages, budget)
    except BudgetError:
        return
    for old in pages:
        if old.id in plan.tiers and old.tier is not None and old.floor is None:
            assert RANK[plan.tiers[old.id]] >= RANK[old.tier]


def test_everything_is_sharp_while_it_fits() -> None:
    plan = planned(fresh(5), 5 * COSTS["gundam"])
    assert set(plan.tiers.values()) == {"gundam"} and not plan.merges and not plan.archived


def test_pages_that_fit_at_their_least_are_neither_merged_nor_archived() -> None:
    plan = planned(fresh(10), 10 * COSTS["tiny"])
    assert set(plan.tiers.values()) == {"tiny"} and plan.tokens == 730


def test_newer_pages_are_sharper_and_no_step_that_fits_is_left() -> None:
    pages = fresh(12)
    plan = planned(pages, 3_000)
    ranks = [RANK[plan.tiers[old.id]] for old in pages]
    assert ranks == sorted(ranks, reverse=True) and ranks[0] > ranks[-1]
    left = 3_000 - plan.tokens
    newest_not_sharpest = next(old for old in reversed(pages) if plan.tiers[old.id] != "gundam")
    tiers = list(COSTS)
    up = tiers[tiers.index(plan.tiers[newest_not_sharpest.id]) - 1]
    assert COSTS[up] - COSTS[plan.tiers[newest_not_sharpest.id]] > left


def test_importance_buys_sharpness() -> None:
    pages = [replace(old, importance=1.0 if old.id == "p2" else 0.2) for old in fresh(12)]
    plan = planned(pages, 2_500)
    assert RANK[plan.tiers["p2"]] < RANK[plan.tiers["p3"]]


def test_a_short_page_that_has_no_sharper_tier_does_not_hold_older_ones_back() -> None:
    pages = [*fresh(4), page(4, costs={"tiny": 73})]
    plan = planned(pages, 4 * COSTS["large"] + 73)
    assert [plan.tiers[old.id] for old in pages] == ["large"] * 4 + ["tiny"]


def test_a_page_that_was_demoted_holds_older_ones_back() -> None:
    pages = [page(0), page(1, tier="tiny"), page(2)]
    assert planned(pages, 5_000).tiers == {"p0": "tiny", "p1": "tiny", "p2": "gundam"}


def test_pins_keep_their_floor_and_the_rest_makes_room() -> None:
    pages = [replace(old, floor="large") if old.id in ("p0", "p7") else old for old in fresh(30)]
    plan = planned(pages, 2_000)
    assert plan.tiers["p0"] == plan.tiers["p7"] == "large"


def test_pins_that_do_not_fit_say_how_much_is_needed() -> None:
    with pytest.raises(BudgetError, match="pinned") as caught:
        planned(fresh(5, floor="base"), 1_000)
    assert caught.value.needed == 5 * COSTS["base"] and caught.value.budget == 1_000


def test_a_pin_above_the_ladder_gets_the_sharpest_there_is() -> None:
    assert planned(fresh(1, floor="text"), 1_000).tiers == {"p0": "gundam"}


def test_a_page_without_tiers_is_refused() -> None:
    with pytest.raises(InputError, match="no tier"):
        planned(fresh(1, costs={}), 100)
    with pytest.raises(InputError, match="unknown tier 'huge'"):
        planned(fresh(1, costs={"huge": 1}), 100)


def test_no_room_archives_everything() -> None:
    plan = planned(fresh(3), 0)
    assert plan == Plan(archived=("p0", "p1", "p2"))


@pytest.mark.parametrize(("total", "budget"), [(10_000, 2_000), (100_000, 8_000), (20_000, 30_000)])
def test_a_long_life_stays_small(total: int, budget: int) -> None:
    policy = BudgetedPolicy()
    counts = []
    for _, pages, _ in live(policy, total, 50, budget):
        counts.append(len(pages))
        assert len(pages) <= 16 + budget // GIST
    levels = Counter(min(old.level, policy.max_level) for old in pages)
    assert max(levels) == policy.max_level
    assert all(count <= max(1, budget // (2 * GIST * policy.max_level)) for level, count in levels.items() if level)
    assert counts[-1] <= 1.1 * max(counts[: len(counts) // 2]), "no growth once all levels are full"


def test_pages_grow_with_the_logarithm_of_the_history_until_the_floor() -> None:
    counts = [len(pages) for _, pages, _ in live(BudgetedPolicy(max_level=12), 16_384, 16, 8_000)]
    doublings = [counts[sealed // 16 - 1] for sealed in (256, 512, 1_024, 2_048, 4_096, 8_192, 16_384)]
    assert max(late - early for early, late in pairwise(doublings)) <= 8, doublings


def test_a_long_history_at_once_is_thinned_out_towards_the_past() -> None:
    pages = fresh(5_000)
    plan = planned(pages, 12_000)
    check(pages, plan, 12_000)
    lengths = [len(run) for run in plan.merges]
    assert not plan.archived and lengths[0] > 4 * lengths[-1]
    assert planned(after(pages, plan), 12_000).tokens == plan.tokens


def test_settings_are_checked() -> None:
    for wrong in ({"half_life": 0}, {"fan_in": 1}, {"max_level": 0}):
        with pytest.raises(InputError):
            BudgetedPolicy(**wrong)
