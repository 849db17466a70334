"""Callers who mean no good, or are broken: a body of 1 GB, very many tiny requests, 2,000 that send slowly."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import resource
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.service import wire
from benchmarks.service.load import figures, make_key
from benchmarks.service.process import Service
from benchmarks.service.redis_process import RedisProcess

GIGABYTE = 1 << 30
_CHUNK = b"x" * (1 << 20)


def abuse(folder: Path, *, requests: int, clients: int, minutes: float, body_bytes: int = GIGABYTE) -> dict[str, Any]:
    """Do all three to one service; return how much memory it took, and how others were served meanwhile.

    The tiny requests end after so many minutes, however many were answered.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    redis = RedisProcess(folder)
    key = make_key(redis.url, "abuse")
    service = Service(redis.url, body_seconds="10")
    headers = {"Authorization": f"Bearer {key}"}
    found: dict[str, Any] = {}
    try:
        with httpx.Client(base_url=service.url, headers=headers, timeout=60) as client:
            client.post("/v1/sessions/s/turns", json={"role": "user", "content": "warm"}).raise_for_status()
        for name, work in (
            ("a body of 1 GB, declared", lambda: _large(service, headers, body_bytes, chunked=False)),
            ("a body of 1 GB, in chunks", lambda: _large(service, headers, body_bytes, chunked=True)),
            ("slow clients", lambda: asyncio.run(_slow(service, key, clients))),
            ("tiny requests", lambda: asyncio.run(_tiny(service, key, requests, minutes * 60))),
        ):
            with _watched(service, headers) as seen:
                told = work()
            found[name] = told | seen
    finally:
        service.stop()
        redis.kill()
    return found


def _large(service: Service, headers: dict[str, str], size: int, *, chunked: bool) -> dict[str, Any]:
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        while sent < size:
            sent += len(_CHUNK)
            yield _CHUNK

    declared = {} if chunked else {"Content-Length": str(size)}
    url = f"{service.url}/v1/sessions/s/turns"
    kind = {"Content-Type": "application/json"}
    try:
        status: Any = httpx.post(url, content=body(), headers=headers | kind | declared, timeout=120).status_code
    except httpx.TransportError as error:
        status = type(error).__name__  # the service closed the connection while more was sent
    return {"status": status, "bytes_sent": sent}


async def _slow(service: Service, key: str, clients: int) -> dict[str, Any]:
    """Begin a request on every connection, and send a byte a second of its body."""
    head = (
        f"POST /v1/sessions/s/turns HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    ).encode()
    statuses: Counter[str] = Counter()

    async def one() -> None:
        status = "no answer"
        with contextlib.suppress(ConnectionError, OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
            writer.write(head)
            answer = asyncio.ensure_future(reader.readline())
            for _ in range(30):
                done, _ = await asyncio.wait([answer], timeout=1.0)
                if done:
                    break
                writer.write(b" ")
            status = (await answer).decode()[9:12] if answer.done() else status
            answer.cancel()
            writer.close()
        statuses[status] += 1

    await asyncio.gather(*(one() for _ in range(clients)))
    return {"clients": clients, "statuses": dict(statuses)}


async def _tiny(service: Service, key: str, requests: int, seconds: float) -> dict[str, Any]:
    """Send very many requests that are as small as can be, half of them without a key."""
    bare = b"GET /v1/sessions HTTP/1.1\r\nHost: x\r\n\r\n"
    some = itertools.islice(itertools.cycle([wire.get("/v1/sessions?limit=1", key), bare]), requests)
    load, begun = wire.Load(), time.perf_counter()

    async def one() -> None:
        connection = await wire.connect("127.0.0.1", service.port)
        for request in some:
            started = time.perf_counter()
            if started > begun + seconds:
                break
            status, _ = await connection.ask(request)
            load.times.append(time.perf_counter() - started)
            load.statuses[status] += 1
        connection.close()

    await asyncio.gather(*(one() for _ in range(wire.CONNECTIONS)))
    load.seconds = time.perf_counter() - begun
    return figures(load)


@contextlib.contextmanager
def _watched(service: Service, headers: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Note the service's memory and how another caller is served meanwhile, twenty times a second."""
    process, stop, seen = psutil.Process(service.process.pid), threading.Event(), dict[str, Any]()
    times: list[float] = []
    statuses: Counter[str] = Counter()
    held = [process.memory_info().rss]

    def watch() -> None:
        with httpx.Client(base_url=service.url, headers=headers, timeout=60) as client:
            while True:
                started = time.perf_counter()
                try:
                    answer = client.post("/v1/sessions/other/turns", json={"role": "user", "content": "other"})
                    statuses[str(answer.status_code)] += 1
                except httpx.TransportError as error:
                    statuses[type(error).__name__] += 1
                times.append(time.perf_counter() - started)
                held.append(process.memory_info().rss)
                if stop.wait(0.05):
                    return

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        stop.set()
        watching.join()
    times.sort()
    tenths = [held[place * (len(held) - 1) // 10] >> 20 for place in range(11)]
    seen |= {"memory_mib_by_tenths": tenths, "memory_most_mib": max(held) >> 20, "others": dict(statuses)}
    seen |= {"others_p50_ms": round(times[len(times) // 2] * 1e3, 1), "others_most_ms": round(times[-1] * 1e3, 1)}
