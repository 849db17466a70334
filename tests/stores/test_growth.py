"""What a turn costs does not depend on how many came before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_cost_of_a_turn_does_not_grow_with_the_session() -> None:
    """A fifth of the benchmark's length and twice its limit: what grows at all grows by far more than that."""
    options = ["--kinds", "memory", "sqlite", "--turns", "20000", "--rounds", "41", "--processor", "--json"]
    command = [sys.executable, "-m", "benchmarks.stores", *options]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    report = json.loads(told.stdout)
    for kind in ("memory", "sqlite"):
        for method in ("append", "tail", "middle", "load_state", "get", "count", "head"):
            assert report[kind][method]["ratio"] < 3, (kind, method, report[kind][method])
        assert report[kind]["search"]["ratio"] > 3  # the measure would notice
