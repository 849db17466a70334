"""Appends of many clients at once: grouped, in order, each answered for itself; workers that share a port."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import httpx
import psutil
from server import Served

from benchmarks.service.load import make_key
from benchmarks.service.process import Service
from optical_memory.client import AsyncOpticalMemoryClient, OpticalMemoryClient
from optical_memory.errors import ConflictError
from optical_memory.service.appending import Appending
from optical_memory.stores.appends import Append, Result
from optical_memory.turns import Turn


async def test_many_clients_at_once_keep_each_ones_order(service: Served) -> None:
    writers, each = 24, 12

    async def write(client: AsyncOpticalMemoryClient, name: int) -> None:
        for number in range(each):
            await client.add(f"s{name % 5}", "user", f"{name} {number}")

    async with AsyncOpticalMemoryClient(service.url, service.key("acme")) as client:
        await asyncio.gather(*(write(client, name) for name in range(writers)))
    store = service.engine.scoped("acme")
    held = [turn.text for session in store.sessions() for turn in store.turns(session)]
    assert len(held) == writers * each
    for name in range(writers):
        assert [text for text in held if text.startswith(f"{name} ")] == [f"{name} {number}" for number in range(each)]


async def test_one_wrong_append_does_not_spoil_its_neighbours(service: Served) -> None:
    headers = {"Authorization": f"Bearer {service.key('acme')}"}
    async with httpx.AsyncClient(base_url=service.url, headers=headers, timeout=120) as client:
        turn = {"role": "user", "content": "x", "id": "t"}
        assert (await client.post("/v1/sessions/s/turns", json=turn)).status_code == 201
        sent = [
            client.post(f"/v1/sessions/{'s' if n % 3 else n}/turns", json={**turn, "content": str(n)})
            for n in range(30)
        ]
        answers = await asyncio.gather(*sent)
    assert [answer.status_code for answer in answers] == [409 if n % 3 else 201 for n in range(30)]


def test_workers_share_a_port_and_add_up_their_figures_and_one_that_dies_is_replaced(store_url: str) -> None:
    key = make_key(store_url, "acme")
    service = Service(store_url, workers="2")
    try:
        with OpticalMemoryClient(service.url, key, retries=300) as client:
            for number in range(20):
                client.add("s", "user", str(number))
        # Each connection may reach another worker; each tells the figures of all.
        for _ in range(6):
            assert "optical_memory_turns_total 20.0" in httpx.get(f"{service.url}/metrics", timeout=120).text
        first = workers(service)
        assert len(first) == 2
        one = psutil.Process(min(first))
        one.kill()
        psutil.wait_procs([one])
        with OpticalMemoryClient(service.url, key, retries=300) as client:
            for number in range(20, 40):
                client.add("s", "user", str(number))
            turns = client.recall("s", "39", k=1)
        assert turns[0]["seq"] == 39
    finally:
        assert service.stop() == 0


def workers(service: Service) -> set[int]:
    children = psutil.Process(service.process.pid).children(recursive=True)
    return {child.pid for child in children if "resource_tracker" not in " ".join(child.cmdline())}


def test_settings_reach_the_workers(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'memory.db'}"
    key = make_key(store, "acme")
    service = Service(store, workers="2", max_body_bytes="2000")
    try:
        headers = {"Authorization": f"Bearer {key}"}
        for _ in range(6):
            body = {"role": "user", "content": "x" * 3_000}
            answer = httpx.post(f"{service.url}/v1/sessions/s/turns", json=body, headers=headers, timeout=120)
            assert answer.status_code == 413
    finally:
        service.stop()


async def test_a_lone_append_waits_for_nobody_and_those_that_come_at_once_go_together() -> None:
    groups: list[int] = []

    def commit(appends: Sequence[Append]) -> list[Result]:
        groups.append(len(appends))
        return [ConflictError("taken") for _ in appends]

    appending = Appending(commit)
    append = Append(session="s", turns=(Turn(id="t", role="user", text="x"),))
    try:
        for count in (1, 9):
            answers = await asyncio.gather(*(appending.add(append) for _ in range(count)), return_exceptions=True)
            assert [type(one) for one in answers] == [ConflictError] * count
    finally:
        appending.close()
    # The first of the nine begins alone where the machine slept since the lone one began.
    assert groups[0] == 1
    assert groups[1:] in ([9], [1, 8])
