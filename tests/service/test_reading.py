"""Reads of what stands wait for nothing: neither for pages that are planned or drawn nor for large bodies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from server import Served, served

from optical_memory.service import engine
from optical_memory.service.lean import SHORT_BYTES
from optical_memory.service.routes import turns

LONG = [
    {"role": ("user", "assistant")[n % 2], "content": f"Line {n}: ticket QX{n:04d} " + "and so on " * 30}
    for n in range(60)
]
READS = ("messages", "context", "request")


@contextmanager
def held(service: Served, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Semaphore]:
    """Hold whatever the renderer is asked to do under this name; the semaphore counts what is held."""
    begun, go_on = threading.Semaphore(0), threading.Event()
    work: Callable[..., Any] = getattr(service.engine.renderer, name)

    def holding(*given: Any, **settings: Any) -> Any:
        begun.release()
        assert go_on.wait(600)
        return work(*given, **settings)

    monkeypatch.setattr(service.engine.renderer, name, holding, raising=False)
    try:
        yield begun
    finally:
        go_on.set()
        monkeypatch.undo()


@pytest.mark.parametrize("name", ["paint", "elsewhere"])
def test_a_read_of_what_stands_waits_for_nothing_that_is_drawn_or_planned(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as fewer:
        fewer.setattr(engine, "PAGE_THREADS", 2)
        running = ExitStack()
        service = running.enter_context(served(store=f"sqlite:///{tmp_path / 'memory.db'}", draw_seconds=600))
    with running, service.client() as client, ThreadPoolExecutor(3) as threads:
        for session in ("warm", "a", "b", "c"):
            assert client.post(f"/v1/sessions/{session}/turns", json=LONG).status_code == 201
        for _ in range(2):  # the first time, one that keeps room for tools may start another epoch
            warm = {kind: client.get(f"/v1/sessions/warm/{kind}").content for kind in READS}
        assert b"image" in warm["messages"]
        with held(service, name, monkeypatch) as begun:
            waiting = [threads.submit(client.get, f"/v1/sessions/{session}/messages") for session in "abc"]
            for _ in range(
                2
            ):  # as many as there are threads for what draws and plans: the third one waits for a thread
                assert begun.acquire(timeout=600)
            for kind in READS:
                assert client.get(f"/v1/sessions/warm/{kind}").content == warm[kind]
            page = client.get("/v1/sessions/warm/context").json()["pages"][0]
            assert client.get(page["url"]).content.startswith(b"\x89PNG")
            assert client.post("/v1/sessions/a/turns", json=LONG[:20]).status_code == 201
            assert client.post("/v1/sessions/a/messages", json=LONG[:1]).status_code == 201
            assert not any(each.done() for each in waiting)
        assert [each.result().status_code for each in waiting] == [200, 200, 200]


def test_a_read_that_starts_an_epoch_or_draws_is_done_where_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(store=f"sqlite:///{tmp_path / 'memory.db'}", draw_seconds=600) as service, service.client() as client:
        client.post("/v1/sessions/s/turns", json=LONG)
        client.get("/v1/sessions/s/messages")
        names: list[str] = []
        for name in ("paint", "elsewhere"):
            work: Callable[..., Any] = getattr(service.engine.renderer, name)

            def noted(*given: Any, _work: Callable[..., Any] = work, **settings: Any) -> Any:
                found = _work(*given, **settings)
                names.append(threading.current_thread().name)
                return found

            monkeypatch.setattr(service.engine.renderer, name, noted, raising=False)
        client.post("/v1/sessions/s/turns", json=LONG)
        epoch = client.get("/v1/sessions/s/context").json()["epoch"]
        shown = client.get("/v1/sessions/s/messages").json()["messages"]
        assert epoch > 1 and names
        assert all(name.startswith(("optical-memory-pages", "optical-memory-ahead")) for name in names)
        assert client.get("/v1/sessions/s/messages").json()["messages"] == shown
        with httpx.Client(base_url=service.url, headers=client.headers, timeout=600) as other:
            assert other.get("/v1/sessions/s/messages").json()["messages"] == shown


def test_large_bodies_are_taken_apart_on_threads_and_small_ones_on_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    made = turns._turns

    def noted(*given: Any) -> Any:
        names.append(threading.current_thread().name)
        return made(*given)

    monkeypatch.setattr(turns, "_turns", noted)
    with served(store=f"sqlite:///{tmp_path / 'memory.db'}", draw_seconds=600) as service, service.client() as client:
        parts = [{"type": "text", "text": "in parts"}]
        large = [LONG, {"role": "user", "content": "x" * (SHORT_BYTES + 1)}, {"role": "user", "content": parts}]
        for body in (LONG[0], *large):
            headers = {"Idempotency-Key": f"key-{len(names)}"}
            first = client.post("/v1/sessions/s/turns", json=body, headers=headers)
            again = client.post("/v1/sessions/s/turns", json=body, headers=headers)
            assert first.status_code == again.status_code == 201
            assert first.content == again.content and again.headers["idempotency-replayed"] == "true"
        wrong = client.post("/v1/sessions/s/turns", json=[{"role": "nobody", "content": "x" * SHORT_BYTES}])
        assert wrong.status_code == 422 and wrong.json()["type"]
    assert not any(name.startswith("optical-memory") for name in names[:2])
    assert all(name.startswith("optical-memory-parse") for name in names[2:])
