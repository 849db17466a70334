"""Appends and reads of many sessions through the service, beside OpenAI's RedisSession on the same Redis."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from benchmarks.service import wire
from benchmarks.service.process import Service
from benchmarks.service.redis_process import RedisProcess
from optical_memory.service.keys import SCOPES, Keyring
from optical_memory.service.records import open_records

SESSIONS = 1_000
TEXT = "and so on " * 20


def load(folder: Path, *, seconds: float, workers: int, store: str | None = None) -> dict[str, Any]:
    """Measure appends as fast as they go, then at half of 1,500 a second; then RedisSession on the same server."""
    redis = RedisProcess(folder / "redis") if store is None else None
    url = redis.url if redis is not None else str(store)
    key = make_key(url, "load")
    service = Service(url, workers=str(workers))
    found: dict[str, Any] = {}
    try:
        asyncio.run(wire.closed(service.port, appends(key), seconds=3))
        for name, run in (
            ("as fast as it goes", lambda: wire.closed(service.port, appends(key), seconds=seconds)),
            ("750 a second", lambda: wire.paced(service.port, appends(key), rate=750, seconds=seconds)),
        ):
            before = _processor(service, redis)
            measured = asyncio.run(run())
            spent = [after - first for after, first in zip(_processor(service, redis), before, strict=True)]
            found[name] = figures(measured) | _shares(measured, spent)
    finally:
        service.stop()
    if redis is not None:
        found["RedisSession"] = figures(asyncio.run(_redis_session(redis.url, seconds)))
        redis.kill()
    return found


def make_key(store: str, tenant: str, scopes: Sequence[str] = SCOPES) -> str:
    """Return the text of a new key."""
    with closing(open_records(store)) as records:
        return Keyring(records).create(tenant, scopes)[1]


def appends(key: str) -> Iterator[bytes]:
    """Yield appends of one turn each, to all sessions in turn, each under an Idempotency-Key of its own."""
    for number in itertools.count():
        body = {"role": "user", "content": f"turn {number} {TEXT}"}
        path = f"/v1/sessions/session-{number % SESSIONS}/turns"
        yield wire.post(path, key, body, Idempotency_Key=uuid.uuid4().hex)


def figures(measured: wire.Load) -> dict[str, float]:
    """Return the figures of a load: how many a second, and their times in ms."""
    times = sorted(measured.times)
    return {
        "requests": len(times),
        "a_second": round(len(times) / measured.seconds, 1),
        "p50_ms": round(times[len(times) // 2] * 1e3, 2),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1e3, 2),
        "refused": measured.refused,
    }


def _processor(service: Service, redis: RedisProcess | None) -> list[float]:
    """Return the processor seconds of the service's processes and of Redis so far."""
    parent = psutil.Process(service.process.pid)
    tree = [parent, *parent.children(recursive=True)]
    return [sum(sum(one.cpu_times()[:2]) for one in tree), redis.processor_seconds() if redis is not None else 0.0]


def _shares(measured: wire.Load, spent: Sequence[float]) -> dict[str, float]:
    """Return who took how much of a processor: 1.0 is one core."""
    service, redis = spent
    return {
        "service_cores": round(service / measured.seconds, 2),
        "redis_cores": round(redis / measured.seconds, 2),
        "client_cores": round(measured.processor_seconds / measured.seconds, 2),
        "service_ms_an_append": round(service * 1e3 / len(measured.times), 2),
    }


async def _redis_session(url: str, seconds: float) -> wire.Load:
    """Add items to 1,000 of OpenAI Agents' RedisSessions, as many tasks at a time as the service had connections."""
    import time

    from agents.extensions.memory.redis_session import RedisSession
    from redis.asyncio import Redis

    client = Redis.from_url(url)
    sessions = [RedisSession(f"theirs-{place}", redis_client=client) for place in range(SESSIONS)]
    measured, end = wire.Load(), time.perf_counter() + seconds
    numbers = itertools.count()

    async def one() -> None:
        while (started := time.perf_counter()) < end:
            number = next(numbers)
            await sessions[number % SESSIONS].add_items([{"role": "user", "content": f"turn {number} {TEXT}"}])
            measured.times.append(time.perf_counter() - started)

    started, processor = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one() for _ in range(wire.CONNECTIONS)))
    measured.seconds, measured.processor_seconds = time.perf_counter() - started, time.process_time() - processor
    await client.aclose()
    return measured
