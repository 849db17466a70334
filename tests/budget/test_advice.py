"""What a session costs each way, what is recommended, and when sealing pays."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optical_memory.budget import Price, Profile, get_profile
from optical_memory.budget.advice import (
    Shape,
    advise,
    bill_full_text,
    bill_memory,
    bill_truncation,
    page_rate,
    payback,
    seal_pays,
)

SHAPE = Shape(budget=16_000, high=8_000, low=2_000, rate=0.3)
TURNS = st.lists(st.integers(1, 5_000), min_size=1, max_size=120)


def priced(read: float, written: float = 1.25, **fields: float) -> Profile:
    return replace(get_profile("claude-opus-5-5"), price=Price(fresh=1.0, cached=read, written=written, **fields))


def test_full_text_reads_what_stood_and_writes_what_is_new() -> None:
    bill = bill_full_text([100, 200, 300], 50, Price(fresh=1.0, cached=0.1, written=2.0))
    assert bill.dollars * 1e6 == pytest.approx(150 * 2 + (150 * 0.1 + 200 * 2) + (350 * 0.1 + 300 * 2))
    assert bill.most == 650 and bill.requests == 3 and bill.lost == 0


def test_a_long_request_costs_its_own_price() -> None:
    price = Price(fresh=1.0, cached=0.1, written=1.0, long_from=500, long_factor=5.0)
    bill = bill_full_text([400, 200], 0, price)
    assert bill.dollars * 1e6 == pytest.approx(400 + 5 * (400 * 0.1 + 200))


def test_truncation_drops_the_older_half_and_says_what_is_lost() -> None:
    bill = bill_truncation([1_000] * 30, 100, Price(fresh=1.0, cached=0.1, written=1.25), 10_000)
    assert (bill.most <= 10_100 and bill.lost == 20_000 + 4_000 - 0) or bill.lost in range(18_000, 25_001)


def test_the_memory_keeps_to_its_budget_and_costs_less_than_full_text_where_cached_reads_are_dear() -> None:
    turns = [900] * 200
    for read, recommended in ((0.5, "memory"), (0.1, "memory"), (0.025, "memory")):
        advice = advise(turns, system=1_000, profile=priced(read), shape=SHAPE)
        assert advice.recommended == recommended and advice.memory.most <= 16_000 + 1_000 + 900
        assert advice.memory.dollars < advice.full_text.dollars


def test_full_text_is_recommended_while_it_fits_and_is_cheap() -> None:
    advice = advise([300] * 12, system=1_000, profile=priced(0.025), shape=SHAPE)
    assert advice.recommended == "full text" and "it fits" in advice.explain()
    assert "truncation" in advice.explain() and advice.context_tokens == 1_000_000


def test_the_window_decides_whatever_it_costs() -> None:
    small = replace(priced(0.001), context_tokens=10_000)
    advice = advise([300] * 60, system=0, profile=small, shape=replace(SHAPE, budget=8_000))
    assert advice.recommended == "memory" and "the window holds 10,000" in advice.reason


def test_a_model_that_runs_here_is_advised_by_tokens() -> None:
    advice = advise([300] * 20, system=0, profile=get_profile("mini"), shape=SHAPE)
    assert advice.recommended == "memory" and "no money" in advice.reason


def test_the_rate_of_a_page_is_that_of_the_cheapest_trusted_tier_and_never_above_text() -> None:
    claude = get_profile("claude")
    assert page_rate(claude, 0.3, ["large"]) == pytest.approx((1521 + 40) / (0.3 * 7344))
    assert page_rate(claude, 0.3, ["large", "base"]) < page_rate(claude, 0.3, ["large"])
    assert page_rate(get_profile("gpt-4o-mini"), 0.3, ["large"]) == 1.0 == page_rate(claude, 0.3, [])


@given(TURNS, st.floats(0.01, 1.0), st.integers(0, 20_000))
def test_every_bill_is_bounded_by_paying_fresh_for_everything(turns: list[int], read: float, system: int) -> None:
    price = Price(fresh=1.0, cached=read, written=1.25)
    for bill in (
        bill_full_text(turns, system, price),
        bill_truncation(turns, system, price, SHAPE.budget),
        bill_memory(turns, system, price, SHAPE),
    ):
        assert bill.requests == len(turns) and bill.most <= system + sum(turns)
        assert 0 < bill.dollars <= 1.25 * len(turns) * bill.most / 1e6 + 1e-9
    assert bill_truncation(turns, system, price, sum(turns)).dollars == bill_full_text(turns, system, price).dollars


# -- sealing ---------------------------------------------------------------------------------------------------------


def test_when_sealing_pays() -> None:
    price = Price(fresh=1.0, cached=0.1, written=1.25)
    assert payback(price, sealed=10_000, pages=2_000, rest=1_000) == pytest.approx(3_000 * 1.15 / (8_000 * 0.1) - 1)
    assert not seal_pays(price, sealed=10_000, pages=2_000, rest=1_000, requests=3)
    assert seal_pays(price, sealed=10_000, pages=2_000, rest=1_000, requests=4)
    cheap = replace(price, cached=0.025)
    assert payback(cheap, sealed=10_000, pages=2_000, rest=1_000) > 4 * payback(
        price, sealed=10_000, pages=2_000, rest=1_000
    )


def test_the_window_demands_it_whatever_it_costs() -> None:
    price = Price(fresh=1.0, cached=0.001, written=1.25)
    values = {"sealed": 1_000, "pages": 900, "rest": 50_000, "requests": 1}
    assert not seal_pays(price, **values) and not seal_pays(price, **values, tokens=9_000, window=10_000)
    assert seal_pays(price, **values, tokens=10_001, window=10_000)


def test_pages_that_save_nothing_never_pay_and_free_ones_always_do() -> None:
    price = Price(fresh=1.0, cached=0.1, written=1.25)
    assert payback(price, sealed=1_000, pages=1_000, rest=0) == math.inf
    assert payback(Price(fresh=0.0, cached=0.0, written=0.0), sealed=1_000, pages=100, rest=9_000) == 0.0
    assert payback(replace(price, cached=0.0), sealed=1_000, pages=100, rest=0) == math.inf


@given(st.integers(1, 50_000), st.integers(0, 50_000), st.integers(0, 50_000), st.floats(0.001, 1.0))
def test_the_payback_is_the_break_even(sealed: int, pages: int, rest: int, read: float) -> None:
    price = Price(fresh=1.0, cached=read, written=1.25)
    requests = payback(price, sealed=sealed, pages=pages, rest=rest)
    if requests == math.inf:
        assert pages >= sealed
        return
    without = (sealed + rest) * read * (requests + 1)
    sealing = (pages + rest) * 1.25 + (pages + rest) * read * requests
    assert sealing == pytest.approx(without, rel=1e-6) if requests else sealing <= without * (1 + 1e-9)
