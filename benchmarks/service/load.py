"""Appends and reads of many sessions through the service, by clients in processes of their own."""

from __future__ import annotations

import multiprocessing
import statistics
import time

import psutil

from benchmarks.service.process import Service
from optical_memory.client import OpticalMemoryClient
from optical_memory.service.keys import Keyring
from optical_memory.service.records import open_records

SESSIONS = 1_000


def load(store: str, *, writers: int, seconds: float) -> dict[str, float]:
    """Add turns to 1,000 sessions for so many seconds; return how many, their times and the service's CPU, in ms."""
    records = open_records(store)
    key = Keyring(records).create("load", ["read", "write"])[1]
    records.close()
    service = Service(store)
    before = psutil.Process(service.process.pid).cpu_times()
    with multiprocessing.get_context("spawn").Pool(writers) as pool:
        found = pool.starmap(_write, [(service.url, key, place, writers, seconds) for place in range(writers)])
    after = psutil.Process(service.process.pid).cpu_times()
    service.stop()
    times = sorted(taken for times in found for taken in times)
    return {
        "appends": len(times),
        "appends_a_second": round(len(times) / seconds, 1),
        "cpu_ms_an_append": round((sum(after[:2]) - sum(before[:2])) * 1e3 / len(times), 2),
        "p50_ms": round(statistics.median(times) * 1e3, 2),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1e3, 2),
    }


def _write(url: str, key: str, first: int, step: int, seconds: float) -> list[float]:
    times: list[float] = []
    with OpticalMemoryClient(url, key) as client:
        client.add("warm", "user", "hello")
        number, deadline = first, time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            started = time.perf_counter()
            client.add(f"session-{number % SESSIONS}", "user", f"turn {number} " + "and so on " * 20)
            times.append(time.perf_counter() - started)
            number += step
    return times
