"""What `bench keep` says of epochs and of entries of the ledger."""

from __future__ import annotations

import pytest

from benchmarks.keep.junk import rule_of
from benchmarks.keep.replay import fewest_epochs, replay
from benchmarks.keep.sessions import load


def test_the_fewest_epochs_are_those_of_the_greedy_division() -> None:
    assert fewest_epochs([], 100, 20) == 0
    assert fewest_epochs([50, 50], 100, 20) == 0
    assert fewest_epochs([50, 50, 10, 70, 10], 100, 20) == 2  # 50 50 | 10 70 | 10
    assert fewest_epochs([90, 90, 90], 100, 20) == 2


@pytest.mark.parametrize(("profile", "budget"), [("claude-4.7", 4_000), ("gpt-5", 3_500)])
def test_no_session_has_fewer_epochs_than_any_plan_needs(profile: str, budget: int) -> None:
    fewest = 0
    for session in load(0, 4, 0, samples=True):
        measured = replay(session, profile, budget)
        assert measured.epochs >= measured.fewest
        fewest += measured.fewest
    assert fewest


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        (r"\nplaceholder", "escape"),
        ("--max-count", "option"),
        ("line 120", "line number"),
        ("src/a/b.py-347", "line number"),
        ("***", "marks"),
        ("TODO", "placeholder"),
        ("file_path", "name of an argument"),
        ("QX9", "in no turn"),
        ("src/a/b.py", ""),
        ("$42.10", ""),
        ("member: QX7TT2", ""),
    ],
)
def test_junk_is_told_from_values(entry: str, rule: str) -> None:
    said = r"src/a/b.py-347 \nplaceholder --max-count line 120 *** TODO $42.10 my member number is QX7TT2"
    assert rule_of(entry, said, said + '{"file_path": 1}', {"file_path"}) == rule
