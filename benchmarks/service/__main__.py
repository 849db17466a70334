"""The service: appends a second (`load`), reads, a soak, and what it survives (`crash`, `redis`, `abuse`, …)."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.service import chaos
from benchmarks.service.abuse import abuse
from benchmarks.service.dashboard import dashboard
from benchmarks.service.load import load
from benchmarks.service.proxy import agent, proxy
from benchmarks.service.reads import reads
from benchmarks.service.soak import soak

WHAT: dict[str, tuple[str, Callable[[Path, argparse.Namespace], Any]]] = {
    "load": (
        "appends a second, beside OpenAI's RedisSession",
        lambda folder, given: load(folder, seconds=given.seconds, workers=given.workers, store=given.store),
    ),
    "dashboard": (
        "seconds until a long session is opened, and replayed",
        lambda folder, given: dashboard(given.store or f"sqlite:///{folder}/memory.db", turns=given.turns),
    ),
    "reads": (
        "a warm session of 10,000 turns; reads while pages are drawn",
        lambda folder, given: reads(folder, seconds=given.seconds, renderer=given.renderer, workers=given.workers),
    ),
    "soak": (
        "a third of the load for minutes: memory and file handles",
        lambda folder, given: soak(folder, minutes=given.minutes, workers=given.workers),
    ),
    "abuse": (
        "a body of 1 GB, many tiny requests, 2,000 slow clients",
        lambda folder, given: abuse(folder, requests=given.requests, clients=2_000, minutes=given.minutes),
    ),
    "proxy": (
        "what the proxy adds to the time of a request",
        lambda folder, given: proxy(folder),
    ),
    "agent": (
        "what 100 turns of a coding agent cost with the proxy and without",
        lambda folder, given: agent(folder),
    ),
    "crash": (
        "kill -9 of the service, by default on SQLite",
        lambda folder, given: chaos.crash(
            given.store or f"sqlite:///{folder}/memory.db", kills=given.kills, writers=given.writers
        ),
    ),
    "replicas": (
        "kill -9 of one of two replicas",
        lambda folder, given: chaos.crash_replicas(
            folder, kills=given.kills, writers=given.writers, seed=given.seed, count=True, minutes=given.minutes
        ),
    ),
    "redis": (
        "kill -9 of Redis, appendfsync always",
        lambda folder, given: chaos.crash_redis(folder, kills=given.kills, writers=given.writers, seed=given.seed),
    ),
    "pause": (
        "Redis stops for 5 seconds",
        lambda folder, given: chaos.pause(folder, seconds=5, writers=given.writers),
    ),
    "full": (
        "Redis is full for 5 seconds, noeviction",
        lambda folder, given: chaos.full(folder, seconds=5, writers=given.writers),
    ),
    "failover": (
        "the master dies, Sentinels name another",
        lambda folder, given: chaos.failover(folder, writers=given.writers),
    ),
    "slots": (
        "slots of a cluster move from node to node",
        lambda folder, given: chaos.move_slots(folder, moves=10, writers=given.writers),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="\n".join(f"{name:<10}{line}" for name, (line, _) in WHAT.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("--store", help="load, crash and dashboard: a store that is there, instead of one of its own")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--turns", type=int, default=10_000, help="of the session that the dashboard opens")
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2, help="processes of the service")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to measure")
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="of a soak; at most, of the tiny requests of abuse and of replicas"
    )
    parser.add_argument("--requests", type=int, default=1_000_000, help="tiny ones of abuse")
    parser.add_argument("--renderer", default="dense", help="of reads: dense or chromium")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = WHAT[arguments.what][1](Path(folder), arguments)
        print(found if isinstance(found, str) else json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
