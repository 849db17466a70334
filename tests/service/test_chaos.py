"""Small versions of what ``python -m benchmarks.service`` does under load: nothing acknowledged is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.service import chaos


def sound(found: chaos.Report) -> chaos.Report:
    assert found["append"] and found["follow"] and found["read"]
    wrong = {name: found[name] for name in ("lost", "doubled", "disordered", "violations", "503_without_retry_after")}
    assert wrong == {"lost": 0, "doubled": 0, "disordered": 0, "violations": [], "503_without_retry_after": 0}
    statuses = found["statuses"]
    assert isinstance(statuses, dict) and set(statuses) <= {"201", "503", "no answer"}
    return found


def test_one_of_two_replicas_is_killed(tmp_path: Path) -> None:
    sound(chaos.crash_replicas(tmp_path, kills=2, writers=3))


def test_redis_is_killed(tmp_path: Path) -> None:
    sound(chaos.crash_redis(tmp_path, kills=4, writers=3))


def test_redis_pauses_and_is_full(tmp_path: Path) -> None:
    sound(chaos.pause(tmp_path / "pause", seconds=5, writers=3))
    found = sound(chaos.full(tmp_path / "full", seconds=2, writers=3))
    assert "503" in str(found["statuses"])


@pytest.mark.slow
def test_sentinels_name_another_master(tmp_path: Path) -> None:
    sound(chaos.failover(tmp_path, writers=3))


def test_slots_move_from_node_to_node(tmp_path: Path) -> None:
    found = sound(chaos.move_slots(tmp_path, moves=3, writers=3))
    assert found["keys_moved"]
    assert "503" in str(found["statuses"]), "while the node to which a slot was moved does not answer"
