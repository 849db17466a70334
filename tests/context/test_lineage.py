"""Lineages: the visible path, held against a tree of parents that is kept in the plain way."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optical_memory.context.lineage import MOST_HIDDEN, Lineage, clipped, common, ranges_of, within

ACTIONS = st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=40)


def walked(actions: list[tuple[bool, int]]) -> tuple[Lineage, int, list[int], dict[int, int]]:
    """Append turns, or go back to a turn; return lineage, length, the path, and each turn's parent."""
    lineage, parents, tip = Lineage(), dict[int, int](), -1
    for append, number in actions:
        if append:
            parents[len(parents)] = tip
            tip = len(parents) - 1
        else:
            tip = number % (len(parents) + 1) - 1
            lineage = lineage.forked(len(parents), tip)
    path = []
    while tip >= 0:
        path.append(tip)
        tip = parents[tip]
    return lineage, len(parents), path[::-1], parents


@settings(deadline=None)
@given(ACTIONS)
def test_the_path_leads_from_the_tip_to_the_first_turn(actions: list[tuple[bool, int]]) -> None:
    lineage, length, path, parents = walked(actions)
    assert lineage.path(length) == ranges_of(path)
    for place in range(-1, length):
        children = sorted(lineage.children(place, length))
        assert children == [child for child, parent in parents.items() if parent == place]


@settings(deadline=None)
@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)), st.integers(0, 20), st.integers(0, 20))
def test_ranges_are_sets_of_places(one: set[int], other: set[int], first: int, last: int) -> None:
    ranges = ranges_of(sorted(one))
    assert {place for place in range(25) if within(ranges, place)} == one
    assert clipped(ranges, first, last) == ranges_of(sorted(place for place in one if first <= place <= last))
    agreed = common(ranges, ranges_of(sorted(other)))
    assert {place for place in one if place <= agreed} == {place for place in other if place <= agreed}
    differing = sorted(one ^ other)
    assert agreed < (differing[0] if differing else 21)
    if not differing and one:
        assert agreed == max(one)


def test_forks_off_the_path_are_bounded_and_the_path_stays() -> None:
    lineage, length = Lineage(), 1
    for _ in range(2 * MOST_HIDDEN):
        lineage = lineage.forked(length, 0)  # a regenerated answer, again and again
        length += 1
    assert len(lineage.forks) <= MOST_HIDDEN + 2
    assert lineage.path(length) == ((0, 0), (length - 1, length - 1))


def test_a_fork_that_nothing_follows_is_replaced() -> None:
    lineage = Lineage().forked(5, 1).forked(5, 3)
    assert lineage.forks == ((5, 3),)
    assert lineage.path(5) == ((0, 3),)
    assert lineage.forked(5, 4).forks == ()


@pytest.mark.parametrize("length", [0, 1])
def test_a_session_without_forks_is_its_own_path(length: int) -> None:
    assert Lineage().path(length) == (((0, length - 1),) if length else ())
