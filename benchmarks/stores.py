"""How the cost of a store's methods grows with the length of a session.

    python -m benchmarks.stores [--json] [--turns 100000] [--kinds memory sqlite redis] [--processor]

Each kind of store is filled twice, with 1,000 turns and with many; then each method is called on both by turns, and
the medians are compared. What a turn of an agent costs (append, the last twenty turns or any twenty, state, get,
count) should stay flat: the exit status is 1 where a ratio is above 1.5. Searching looks at every turn that has a
word of the query, and forgetting rewrites the file, so both grow. Redis is a redis-server of the benchmark's own,
with appendfsync always. With --processor, what is counted is the processor's time for the call: not that of disks and
servers, nor that of other programs on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.service.ports import free_port
from optical_memory.errors import StoreUnavailableError
from optical_memory.stores import Store, open_store
from optical_memory.turns import Turn

SHORT = 1_000
LIMIT = 1.5
FLAT = ("append", "tail", "middle", "load_state", "get", "count", "head")
_BATCH = 500
_WORDS = [f"{start}{end}" for start in "ba ke li mo nu pra ste tri vo zu".split() for end in "n r st lo mi da".split()]


Clock = Callable[[], float]
"""Seconds since some moment."""


def measure(kinds: list[str], turns: int, rounds: int, clock: Clock) -> dict[str, dict[str, dict[str, float]]]:
    """Return, for each kind and method: milliseconds (median) on a short and a long session, and their ratio."""
    report: dict[str, dict[str, dict[str, float]]] = {}
    for kind in kinds:
        with ExitStack() as stack:
            lengths = (SHORT, turns)
            stores = [stack.enter_context(_store(kind)) for _ in lengths]
            for store, length in zip(stores, lengths, strict=True):
                _fill(store, length, f"{kind}, {length:,} turns")
            calls = [_calls(store, length) for store, length in zip(stores, lengths, strict=True)]
            report[kind] = {name: _compare([of[name] for of in calls], rounds, clock) for name in calls[0]}
            report[kind] |= {"forget": _compare([_forget(store) for store in stores], 3, clock)}
    return report


def _compare(calls: list[Callable[[], object]], rounds: int, clock: Clock) -> dict[str, float]:
    seconds: list[list[float]] = [[], []]
    for _ in range(rounds):
        for call, own in zip(calls, seconds, strict=True):
            started = clock()
            call()
            own.append(clock() - started)
    short, long = (1000 * statistics.median(own) for own in seconds)
    return {"short_ms": short, "long_ms": long, "ratio": long / short}


def _calls(store: Store, length: int) -> dict[str, Callable[[], object]]:
    new = count(length)
    store.search("s", _text(0), 1)  # the Redis store reads the session now
    return {
        "append": lambda: store.append("s", [_turn(next(new))]),
        "tail": lambda: store.turns("s", after=store.count("s") - 21),
        "middle": lambda: store.turns("s", after=length // 2, limit=20),
        "load_state": lambda: store.load_state("s"),
        "get": lambda: store.get("s", [f"turn {length // 3}", f"turn {length - 1}"]),
        "count": lambda: store.count("s"),
        "head": lambda: store.head("s"),
        "search": lambda: store.search("s", "confirmation code of zumi and kelo", 5),
    }


def _forget(store: Store) -> Callable[[], object]:
    places = count()
    return lambda: store.delete_turns("s", [f"turn {next(places)}"])


def _fill(store: Store, length: int, label: str) -> None:
    for start in track(range(0, length, _BATCH), label, console=Console(stderr=True)):
        store.append("s", [_turn(number) for number in range(start, min(start + _BATCH, length))])
    store.save_state("s", bytes(20_000), expected=0)


def _turn(number: int) -> Turn:
    return Turn(id=f"turn {number}", role="user", text=_text(number), created_at=float(number))


def _text(number: int) -> str:
    """Return some 400 characters, common words and rare ones."""
    chance = random.Random(number)
    return " ".join([*chance.choices(_WORDS, weights=range(len(_WORDS), 0, -1), k=80), f"id{number:x}"])


@contextmanager
def _store(kind: str) -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        url = {"memory": "memory://", "sqlite": f"sqlite:///{folder}/store.db"}.get(kind)
        store = open_store(url) if url else stack.enter_context(_redis(folder))
        yield store
        store.close()


@contextmanager
def _redis(folder: str) -> Iterator[Store]:
    port = free_port()
    options = ["--port", str(port), "--dir", folder, "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    with subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL) as server:
        try:
            yield _patiently(f"redis://127.0.0.1:{port}/0")
        finally:
            server.terminate()


def _patiently(url: str) -> Store:
    for _ in range(20):
        try:
            return open_store(url)
        except StoreUnavailableError:
            time.sleep(0.1)
    return open_store(url)


def _print(report: dict[str, Any], turns: int) -> None:
    table = Table("store", "method", f"{SHORT:,} turns, ms", f"{turns:,} turns, ms", "ratio")
    for kind, methods in report.items():
        for name, row in methods.items():
            flat = "" if name in FLAT else " (grows)"
            table.add_row(kind, name + flat, f"{row['short_ms']:.3f}", f"{row['long_ms']:.3f}", f"{row['ratio']:.2f}")
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = ["memory", "sqlite", "redis"] if shutil.which("redis-server") else ["memory", "sqlite"]
    parser.add_argument("--kinds", nargs="+", choices=["memory", "sqlite", "redis"], default=kinds)
    parser.add_argument("--turns", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--processor", action="store_true", help="count the processor's time, not the clock's")
    options = parser.parse_args()
    clock = time.thread_time if options.processor else time.perf_counter
    report = measure(options.kinds, options.turns, options.rounds, clock)
    if options.json:
        print(json.dumps(report))
    else:
        _print(report, options.turns)
    return int(any(report[kind][name]["ratio"] > LIMIT for kind in report for name in FLAT))


if __name__ == "__main__":
    sys.exit(main())
