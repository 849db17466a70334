"""A soak: a third of the load for minutes, while memory and file handles are noted."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.service import wire
from benchmarks.service.load import SESSIONS, TEXT, figures, make_key
from benchmarks.service.process import Service
from benchmarks.service.redis_process import RedisProcess

RATE = 500.0
"""A third of 1,500 requests a second."""
_DRAWN = 20
"""Every so many requests one reads the context of one of a few sessions."""


def soak(folder: Path, *, minutes: float, workers: int) -> dict[str, Any]:
    """Load a service for so many minutes; return its memory and handles at each tenth of that time.

    Each tenth is printed as it ends, and the seconds that the service takes to end are a figure as well.
    """
    redis = RedisProcess(folder)
    key = make_key(redis.url, "soak")
    service = Service(redis.url, workers=str(workers))
    samples, total = [], wire.Load()
    try:
        for tenth in range(10):
            part = asyncio.run(wire.paced(service.port, _mixed(key, tenth), rate=RATE, seconds=minutes * 6))
            total.times += part.times
            total.statuses += part.statuses
            total.seconds += part.seconds
            samples.append(_sample(service, part))
            print(json.dumps(samples[-1]), file=sys.stderr, flush=True)
        began = time.monotonic()
        service.stop()
        ended = round(time.monotonic() - began, 1)
    finally:
        service.kill()
        redis.kill()
    return {
        "minutes": round(total.seconds / 60, 1),
        "all": figures(total),
        "statuses": dict(total.statuses),
        "seconds_to_end": ended,
        "samples": samples,
    }


def _mixed(key: str, tenth: int) -> Iterator[bytes]:
    """Yield appends to all sessions, and now and then a read, and a session deleted that then begins anew."""
    for number in itertools.count():
        session = f"session-{number % SESSIONS}"
        if number % 500 == 499:
            yield wire.delete(f"/v1/sessions/read-{number // 500 % 5}", key)
        elif number % _DRAWN == _DRAWN - 1:
            yield wire.get(f"/v1/sessions/session-{number // _DRAWN % 5 + 1}/messages", key)
        else:
            body = {"role": "user", "content": f"turn {tenth} {number} {TEXT}"}
            path = f"/v1/sessions/{f'read-{number // 50 % 5}' if number % 50 == 0 else session}/turns"
            yield wire.post(path, key, body, Idempotency_Key=uuid.uuid4().hex)


def _sample(service: Service, part: wire.Load) -> dict[str, Any]:
    parent = psutil.Process(service.process.pid)
    tree = [parent, *parent.children(recursive=True)]
    return {
        "at": time.strftime("%H:%M:%S"),
        "memory_mib": sum(one.memory_info().rss for one in tree) >> 20,
        "handles": sum(one.num_fds() for one in tree),
        "threads": sum(one.num_threads() for one in tree),
        "p99_ms": figures(part)["p99_ms"],
    }
