"""What a provider's counts say about ours."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optical_memory.budget.calibration import KEPT, LEAST, MOST, Calibration

PAIRS = st.lists(st.tuples(st.integers(1, 200_000), st.floats(0.34, 2.9)), max_size=40).map(
    lambda pairs: [(ours, max(1, round(ours * ratio))) for ours, ratio in pairs]
)


def test_nothing_is_corrected_before_anything_was_seen() -> None:
    fresh = Calibration()
    assert fresh.factor == 1.0 and fresh.beside == 0 and fresh.predict(1_000) == 1_000 and fresh.room(500) == 500


def test_an_estimate_that_is_too_high_is_trusted_only_after_several_requests() -> None:
    once = Calibration().observe(1_000, 800)
    assert once.factor == 1.0
    often = Calibration.of([(1_000, 800), (1_100, 890), (1_200, 960)])
    assert 0.81 <= often.factor <= 0.83 and often.room(8_000) > 9_600


def test_an_estimate_that_is_too_low_is_corrected_at_once() -> None:
    assert Calibration().observe(1_000, 1_200).predict(2_000) >= 2_400


def test_tools_beside_ours_are_told_from_the_factor_by_requests_of_several_sizes() -> None:
    tools = 3_000
    seen = Calibration.of([(ours, round(0.85 * ours) + tools) for ours in (4_000, 6_000, 9_000, 12_000, 16_000)])
    assert seen.factor == pytest.approx(0.85 * 1.02, rel=0.01)
    assert 2_500 <= seen.beside <= tools
    assert seen.predict(10_000) == pytest.approx(8_500 + tools, rel=0.03)


def test_a_request_that_cannot_be_ours_changes_nothing() -> None:
    seen = Calibration.of([(1_000, 900)] * 3)
    assert seen.observe(1_000, 40_000) is seen and seen.observe(1_000, 10) is seen and seen.observe(0, 5) is seen


def test_only_the_newest_requests_count() -> None:
    seen = Calibration.of([(1_000, 1_400)] * 5 + [(1_000, 900)] * KEPT)
    assert len(seen.drifts) == KEPT and seen.factor < 1.0


@given(PAIRS)
def test_no_request_that_was_seen_is_above_the_prediction_and_the_factor_keeps_its_bounds(
    pairs: list[tuple[int, int]],
) -> None:
    seen = Calibration.of(pairs)
    assert LEAST <= seen.factor <= MOST and seen.beside >= 0
    for drift in seen.drifts:
        assert drift.theirs <= seen.predict(drift.ours)
    assert Calibration.of(seen.pairs) == seen
    for budget in (100, 5_000, 100_000):
        if budget >= seen.beside:
            assert seen.predict(seen.room(budget)) <= budget + math.ceil(seen.factor)
