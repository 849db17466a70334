"""The gate, by hand: when compressing begins, and what a request saves or loses, with the cache's writes counted."""

from __future__ import annotations

import pytest

from optical_memory.budget import Price
from optical_memory.service.proxy.gate import Course, Sizes, pays, saved_dollars, uncached

PRICE = Price(fresh=10.0, cached=1.0, written=12.5)
LONG = Sizes(beside=1_000, text=100_000, shown=10_000)
SHORT = Sizes(beside=1_000, text=20_000, shown=10_000)


def test_it_begins_once_what_is_read_less_pays_for_what_is_written() -> None:
    # 10,000 tokens written at 11.50 above their reading cost 115,000; each request reads 90,000 less: 1.28 requests
    assert not pays(PRICE, LONG, requests=0, window=200_000)
    assert pays(PRICE, LONG, requests=1, window=200_000)
    # of the short one each request reads 10,000 less: 11.5 requests
    assert not pays(PRICE, SHORT, requests=10, window=200_000)
    assert pays(PRICE, SHORT, requests=11, window=200_000)


def test_a_full_window_demands_it_and_pages_that_cost_more_never_leave() -> None:
    assert pays(PRICE, LONG, requests=0, window=100_999) and not pays(PRICE, LONG, requests=0, window=101_000)
    dear = Sizes(beside=1_000, text=10_000, shown=10_000)
    assert not pays(PRICE, dear, requests=1_000, window=5_000)


def test_who_asks_for_no_cache_pays_for_fresh_input() -> None:
    assert uncached(PRICE) == Price(fresh=10.0, cached=10.0, written=10.0)
    assert pays(uncached(PRICE), SHORT, requests=0, window=200_000)


def test_a_loss_is_said_like_a_gain() -> None:
    before = Course(text=20_500)
    # full text: 20,500 read and 500 written, 26,750; compressed: 1,000 read and 10,000 written, 126,000
    sent = ((1, 6_000), (2, 4_000))
    lost = saved_dollars(PRICE, SHORT, before, sent)
    assert lost == pytest.approx(-0.09925)
    after = before.goes(SHORT, sent, lost)
    # then: 21,000 read and 1,000 written, 33,500; against 11,000 read and 1,000 written, 23,500
    grown = Sizes(beside=1_000, text=21_000, shown=11_000)
    gained = saved_dollars(PRICE, grown, after, (*sent, (3, 1_000)))
    assert gained == pytest.approx(0.01)
    assert after.goes(grown, sent, gained).saved == pytest.approx(-0.08925)


def test_a_past_that_changed_is_written_anew() -> None:
    course = Course(begun=True, text=21_000, sent=((1, 6_000), (2, 4_000)))
    grown = Sizes(beside=1_000, text=21_000, shown=10_000)
    # 21,000 read and 1,000 written, 33,500; against 1,000 read and 10,000 written, 126,000
    assert saved_dollars(PRICE, grown, course, ((9, 6_000), (2, 4_000))) == pytest.approx(-0.0925)
