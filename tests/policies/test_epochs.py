from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optical_memory.budget import Price, get_profile
from optical_memory.errors import InputError
from optical_memory.policies import Watermarks, choose_watermarks
from optical_memory.policies.epochs import best_turns, tail_room

CLAUDE = Price(fresh=3.0, cached=0.3, written=3.75)
GPT = Price(fresh=1.25, cached=0.125, written=1.25)


def simulated(price: Price, *, growth: int, low: int, archive: int, turns: int, epochs: int = 40) -> float:
    """Dollars for a million turns, request by request: each reads what stood before and writes the rest."""
    dollars, requests = 0.0, 0
    for _ in range(epochs):
        tail = low
        dollars += archive * price.written + tail * price.written  # the prefix broke at the first page of the past
        for _ in range(turns):
            dollars += (archive + tail) * price.cached + growth * price.written
            tail += growth
            requests += 1
        dollars -= (archive + low) * price.cached  # the first request of an epoch wrote these instead of reading them
    return dollars / requests


@pytest.mark.parametrize("price", [CLAUDE, GPT, Price(fresh=2.0, cached=0.5, written=2.0)])
@pytest.mark.parametrize("growth", [100, 200, 780])
@pytest.mark.parametrize("archive", [2_000, 8_000, 30_000])
def test_the_epoch_costs_least_in_a_simulation(price: Price, growth: int, archive: int) -> None:
    low = 1_000
    costs = {turns: simulated(price, growth=growth, low=low, archive=archive, turns=turns) for turns in range(1, 401)}
    chosen = round(best_turns(price, growth=growth, rewritten=archive + low))
    assert costs[chosen] <= 1.001 * min(costs.values())
    assert abs(chosen - min(costs, key=costs.__getitem__)) <= 1


def test_moving_the_border_every_turn_costs_far_more() -> None:
    costs = [simulated(CLAUDE, growth=200, low=1_000, archive=8_000, turns=turns) for turns in (1, 32)]
    assert costs[0] > 6 * costs[1]


def test_free_cache_reads_make_epochs_as_long_as_there_is_room() -> None:
    assert best_turns(Price(fresh=0, cached=0, written=0), growth=200, rewritten=9_000) == math.inf
    marks = choose_watermarks(16_000, get_profile("mini").price, 200)
    assert marks.high == 8_000


@pytest.mark.parametrize("name", ["claude", "gpt-5", "gemini-3", "mini", "deepseek-ocr"])
@pytest.mark.parametrize("growth", [50, 200, 400])
def test_there_is_room_for_more_than_20_turns_at_16_000(name: str, growth: int) -> None:
    marks = choose_watermarks(16_000, get_profile(name).price, growth)
    assert (marks.high - marks.low) / growth >= 20
    assert 16_000 - marks.high >= 16_000 // 5, "the past has room"


@given(st.integers(2, 1_000_000), st.floats(0.1, 1e6), st.integers(0, 2_000_000), st.sampled_from([CLAUDE, GPT]))
def test_the_marks_are_always_in_order_and_in_the_budget(
    budget: int, growth: float, archive: int, price: Price
) -> None:
    marks = choose_watermarks(budget, price, growth, archive)
    assert 0 <= marks.low < marks.high <= budget


def test_impossible_marks_budgets_and_growth_are_refused() -> None:
    with pytest.raises(InputError):
        Watermarks(high=10, low=10)
    with pytest.raises(InputError):
        choose_watermarks(1, CLAUDE, 200)
    with pytest.raises(InputError):
        choose_watermarks(16_000, CLAUDE, 0)


def test_the_past_gives_way_for_22_turns_or_16_where_pages_are_cheap() -> None:
    marks = Watermarks(high=13_000, low=1_000)
    for growth, room in ((200, 8_000), (400, 9_800), (900, 12_000)):
        assert tail_room(marks, 16_000, growth=growth, gist_tokens=460) == room
    for growth, room in ((200, 8_000), (400, 8_000), (600, 10_600), (900, 12_000)):
        assert tail_room(marks, 16_000, growth=growth, gist_tokens=133) == room
    assert tail_room(marks, 16_000, growth=900, gist_tokens=1_200) == 16_000 - 4 * 1_200
    assert tail_room(marks, 4_000, growth=900, gist_tokens=600) == 2_000, "four gists would not fit"
    marks = Watermarks(high=3_500, low=250)
    for budget, room in ((2_000, 1_000), (4_000, 4_000 - 18 * 105), (8_000, 3_500)):
        assert tail_room(marks, budget, growth=200, gist_tokens=105) == room, "eighteen cheap gists stay"
    assert tail_room(Watermarks(high=3_000, low=1_000), 16_000, growth=400, gist_tokens=460) == 3_000
