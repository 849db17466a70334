"""Reads: a warm session of 10,000 turns, and warm sessions while others' pages are drawn."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.service import wire
from benchmarks.service.load import figures, make_key
from benchmarks.service.process import Service
from benchmarks.service.redis_process import RedisProcess

WARM_TURNS = 10_000
_TEXT = "and so on " * 20


def reads(folder: Path, *, seconds: float, renderer: str = "dense", workers: int = 2) -> dict[str, Any]:
    """Measure ``messages`` of a warm session, alone and while new sessions are drawn all the time."""
    redis = RedisProcess(folder)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    key = make_key(redis.url, "reads")
    service = Service(redis.url, renderer=renderer, workers=str(workers))
    found: dict[str, Any] = {"renderer": renderer, "workers": workers, "cores": cores}
    try:
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=service.url, headers=headers, timeout=300) as client:
            for start in range(0, WARM_TURNS, 1_000):
                client.post("/v1/sessions/long/turns", json=_turns(start, 1_000)).raise_for_status()
            started = time.perf_counter()
            body = client.get("/v1/sessions/long/messages").raise_for_status().content
            found["first answer of 10,000 turns, s"] = round(time.perf_counter() - started, 2)
            found["its size in bytes"] = len(body)
        warm = itertools.repeat(wire.get("/v1/sessions/long/messages", key))
        context = itertools.repeat(wire.get("/v1/sessions/long/context", key))
        for request in (warm, context):  # each connection may reach another worker
            _timed(service, request, 2, connections=4 * workers)
        found["messages, warm, one client"] = _timed(service, warm, seconds, connections=1)
        with _Drawing(service.url, key) as drawing:
            found["messages while pages are drawn"] = _paced(service, warm, seconds)
            found["context while pages are drawn"] = _paced(service, context, seconds)
            found["sessions drawn meanwhile"] = drawing.drawn
    finally:
        service.stop()
        redis.kill()
    return found


class _Drawing:
    """Two clients, each of which makes a session after the other and has its pages drawn."""

    def __init__(self, url: str, key: str) -> None:
        self._url, self._headers = url, {"Authorization": f"Bearer {key}"}
        self._stop, self.drawn = threading.Event(), 0
        self._threads = [threading.Thread(target=self._draw, args=(name,)) for name in range(2)]

    def _draw(self, name: int) -> None:
        with httpx.Client(base_url=self._url, headers=self._headers, timeout=300) as client:
            for number in itertools.count():
                if self._stop.is_set():
                    return
                path = f"/v1/sessions/drawn-{name}-{number}"
                client.post(f"{path}/turns", json=_turns(number * 7, 300)).raise_for_status()
                shown = client.get(f"{path}/messages").raise_for_status().content
                assert b"image" in shown
                self.drawn += 1

    def __enter__(self) -> _Drawing:
        for thread in self._threads:
            thread.start()
        time.sleep(2)
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def _timed(service: Service, requests: Any, seconds: float, *, connections: int) -> dict[str, float]:
    return figures(asyncio.run(wire.closed(service.port, requests, seconds=seconds, connections=connections)))


def _paced(service: Service, requests: Any, seconds: float) -> dict[str, float]:
    return figures(asyncio.run(wire.paced(service.port, requests, rate=20, seconds=seconds, connections=8)))


def _turns(start: int, count: int) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    turns = [{"role": roles[n % 2], "content": f"turn {n}: {_TEXT}"} for n in range(start, start + count)]
    return turns
