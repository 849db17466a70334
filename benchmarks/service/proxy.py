"""The proxy: what it adds to the time of a request, and what 100 turns of a coding agent cost with and without it."""

from __future__ import annotations

import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import httpx

from benchmarks import DATA
from benchmarks.service.process import Service
from benchmarks.service.redis_process import RedisProcess
from optical_memory.budget import Price, get_profile
from optical_memory.service.keys import Keyring
from optical_memory.service.records import open_records

TESTS = Path(__file__).parents[2] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "service")]  # the provider that refuses what the real ones refuse

TURNS = 100
ROUNDS = 400
THINK_SECONDS = 0.5
"""Between two requests of a compressed session, as an agent waits for its model: the next epoch is prepared then."""


@contextmanager
def _answering() -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.service.answering"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    server = RedisProcess(folder / "redis")
    try:
        yield server.url
    finally:
        server.kill()


def _key(store: str) -> str:
    records = open_records(store)
    try:
        return Keyring(records).create("bench", ["read", "write"])[1]
    finally:
        records.close()


@contextmanager
def _proxy(store: str, url: str, **settings: str) -> Iterator[str]:
    urls = {f"proxy_{name}_url": url for name in ("openai", "anthropic", "gemini")}
    service = Service(store, proxy="on", **urls, **settings)
    try:
        yield service.url
    finally:
        service.stop()


class _Line:
    """A connection that stays open, and the milliseconds that its requests take."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"))
        self._headers = headers
        self.first: list[float] = []
        self.whole: list[float] = []
        self.done = ""

    def post(self, path: str, body: bytes, **headers: str) -> None:
        started = time.perf_counter()
        sent = {"content-type": "application/json"} | self._headers | headers
        self._connection.request("POST", path, body, sent)
        answer = self._connection.getresponse()
        answer.read1(1)
        self.first.append((time.perf_counter() - started) * 1e3)
        answer.read()
        self.whole.append((time.perf_counter() - started) * 1e3)
        self.done = answer.headers.get("x-optical-memory", "")


def _row(name: str, direct: list[float], through: list[float], goal: float) -> str:
    cut = [sorted(times)[int(len(times) * 0.95)] for times in (direct, through)]
    middle = [statistics.median(times) for times in (direct, through)]
    added = f"{middle[1] - middle[0]:.2f} | {cut[1] - cut[0]:.2f}"
    return f"| {name} | {middle[0]:.2f} | {middle[1]:.2f} | {added} | ≤ {goal:g} |"


def latency(folder: Path) -> None:
    """Print what the proxy adds to requests, in ms: each is sent in turn directly and through it."""
    from replayed import Replay, body_of

    session = json.loads((TESTS / "data/coding.jsonl").read_text("utf-8").splitlines()[0])
    replay = Replay.of(session["messages"], "anthropic")
    bodies = [json.dumps(body_of(replay, messages)).encode() for messages in replay.requests()]
    short, long = bodies[0], bodies[-1]
    unknown = long.replace(b"claude-opus-5-5", b"other-model-5-5")
    print("| request | direct p50 | through p50 | added p50 | added p95 | asked |\n|---|---|---|---|---|---|")
    with _answering() as provider, _redis(folder / "passed") as store:
        key = {"X-Optical-Memory-Key": _key(store)}
        with _proxy(store, provider) as url:
            for name, body, more, goal in (
                (f"passes, {len(short) / 1e3:.0f} KB", short, {}, 2.0),
                (f"passes, {len(unknown) / 1e3:.0f} KB (its model is unknown)", unknown, {}, 2.0),
                ("a stream's first event", short, {"x-stream": "1"}, 2.0),
            ):
                direct, through = _Line(provider, {}), _Line(url, key)
                for number in range(ROUNDS + 20):
                    for line in (direct, through) if number % 2 else (through, direct):
                        line.post("/v1/messages", body, **more)
                assert through.done.startswith("passed"), through.done
                kind = "first" if more else "whole"
                print(_row(name, getattr(direct, kind)[20:], getattr(through, kind)[20:], goal), flush=True)
    with _answering() as provider, _redis(folder / "compressed") as redis:
        for store in (redis, f"sqlite:///{folder / 'memory.db'}"):
            _compressed(store, provider, bodies)


def _compressed(store: str, provider: str, bodies: list[bytes]) -> None:
    """Print what is added to requests of a session that was compressed before, each with new messages at its end."""
    with _proxy(store, provider) as url:
        direct, through = _Line(provider, {}), _Line(url, {"X-Optical-Memory-Key": _key(store)})
        for body in bodies[: len(bodies) // 3]:
            through.post("/v1/messages", body)
        through.whole.clear()
        for body in bodies[len(bodies) // 3 :]:
            time.sleep(THINK_SECONDS)
            direct.post("/v1/messages", body)
            through.post("/v1/messages", body)
            assert through.done == "compressed", through.done
        kept = store.partition(":")[0]
        print(_row(f"compressed, {len(bodies[-20]) / 1e3:.0f} KB, kept on {kept}", direct.whole, through.whole, 20.0))
        print(_added(url), flush=True)


def _added(url: str) -> str:
    """Return what the service itself says of compressed requests: how many took how long until they were sent."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return "\n".join(line for line in lines if "added_seconds_bucket" in line and "compressed" in line)


def turns(format: str, folder: Path) -> None:
    """Print what 100 turns of a coding agent cost through the proxy and as full text with the provider's cache."""
    from provider_cache import Counted, PromptCache
    from provider_server import Reply, serving
    from replayed import MODELS, Replay, body_of, path_of

    profile = get_profile(MODELS[format])
    replay = Replay.of(_longest(), format)
    lists = list(replay.requests())[:TURNS]
    plain = PromptCache(profile)
    full = [plain.take(format, body_of(replay, messages)) for messages in lists]
    script = serving(lambda name, request: Reply(text="Done."))
    with script as provider, _redis(folder) as store:
        provider.cache = PromptCache(profile)
        key = {"X-Optical-Memory-Key": _key(store)}
        with (
            _proxy(store, provider.url, proxy_recall="false") as url,
            httpx.Client(base_url=url, headers=key) as client,
        ):
            said = 0.0
            for messages in lists:
                answer = client.post(path_of(format), json=body_of(replay, messages), timeout=120)
                said += float(answer.headers.get("x-optical-memory-saved-usd", 0))

    def dollars(counted: list[Counted], price: Price) -> float:
        total = 0.0
        for one in counted:
            at = price.at(one.total)
            total += one.cached * at.cached + one.written * at.written + one.fresh * at.fresh
        return total / 1e6

    spent, without = dollars(provider.counted, profile.price), dollars(full, profile.price)
    share = sum(one.cached for one in provider.counted) / sum(one.total for one in provider.counted)
    before = sum(one.cached for one in full) / sum(one.total for one in full)
    cells = (
        format, MODELS[format], f"{len(lists)}", f"{len(provider.refused)}", f"{before:.1%}", f"{share:.1%}",
        f"{full[-1].total:,}", f"{provider.counted[-1].total:,}", f"${without:.3f}", f"${spent:.3f}",
        f"{1 - spent / without:+.0%}", f"${said:+.3f}",
    )  # fmt: skip
    print(f"| {' | '.join(cells)} |", flush=True)


def _longest() -> list[dict[str, Any]]:
    """Return the recorded session with most answers of the model, or the tests' sample where there is no other."""
    file = DATA / "coding_agent/sessions.jsonl"
    lines = (file if file.is_file() else TESTS / "data/coding.jsonl").read_text("utf-8").splitlines()
    sessions = [json.loads(line)["messages"] for line in lines]
    return max(sessions, key=lambda messages: sum(message["role"] == "assistant" for message in messages))


def proxy(folder: Path) -> str:
    """Print what the proxy adds to requests; the service and its store are on loopback."""
    latency(folder)
    return _machine()


def agent(folder: Path) -> str:
    """Print what 100 turns of a coding agent cost, in the format of each provider."""
    heads = (
        "format", "model", "turns", "refused", "cache read, full text", "cache read, proxy", "last request, full text",
        "last request, proxy", "full text", "proxy", "saved", "as the headers say",
    )  # fmt: skip
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for format in ("openai", "responses", "anthropic", "gemini"):
        turns(format, folder / format)
    return _machine()


def _machine() -> str:
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {load}, {date.today()}"
