"""SIGKILL while a memory stores, seals, plans, draws and saves: nothing acknowledged is lost, nothing is half done."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from remember_forever import SETTINGS

from optical_memory import OpticalMemory
from optical_memory.turns import groups, open_calls

SCRIPT = Path(__file__).with_name("remember_forever.py")


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_memory_killed_at_any_point_goes_on_as_if_it_had_not_been(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}" if kind == "sqlite" else request.getfixturevalue("redis_url")
    chance = random.Random(7)
    acknowledged: list[str] = []
    epochs = []
    for attempt in range(5):
        command = [sys.executable, str(SCRIPT), url, f"run{attempt}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            told = "".join(process.stdout.readline() for _ in range(chance.randint(10, 40)))
            time.sleep(chance.uniform(0, 0.03))
            process.send_signal(signal.SIGKILL)
            whole = (told + process.stdout.read()).rpartition("\n")[0]
            acknowledged += whole.split()
        with OpticalMemory("remembered", store=url, **SETTINGS) as memory:  # type: ignore[arg-type]
            stored = memory.store.turns("remembered")
            assert [turn.seq for turn in stored] == list(range(len(stored)))
            assert {*acknowledged} <= {turn.id for turn in stored}
            assert not any(open_calls(group) for group in groups(stored)), "a call is stored with its result"
            before = memory.messages()
            context = memory.context()
            assert context.tokens <= 2_000
            epochs.append(context.epoch)
            for page in context.pages:
                assert page.png.startswith(b"\x89PNG")
                assert [turn.id for turn in memory.recall(page=page)] == list(page.turn_ids)
        with OpticalMemory("remembered", store=url, **SETTINGS) as memory:  # type: ignore[arg-type]
            assert memory.messages() == before, "another process sees the same to the byte"
    assert len(acknowledged) > 50
    assert context.pages
    assert epochs == sorted(epochs) and epochs[-1] > 3
