"""Quotas: never passed by replicas together, right after forgetting, importing and deleting, set by commands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from server import Served, served
from typer.testing import CliRunner

from optical_memory.cli import app
from optical_memory.client import OpticalMemoryClient
from optical_memory.errors import QuotaError
from optical_memory.service.metered import Metered, MeteredStore
from optical_memory.service.quotas import Quota, Quotas
from optical_memory.service.records import open_records
from optical_memory.service.storing import append_all
from optical_memory.service.usage import Usage, of_turns
from optical_memory.stores import SqliteStore
from optical_memory.stores.appends import Append, Appended
from optical_memory.stores.base import Head
from optical_memory.stores.scoped import scoped_id
from optical_memory.turns import Turn

LONG = [{"role": ("user", "assistant")[n % 2], "content": f"Line {n} " + "and so on " * 20} for n in range(30)]


def counted(service: Served, tenant: str = "acme") -> Usage:
    """What a tenant keeps by the count, which must be what a recount finds."""
    told = service.engine.quotas.usage(tenant)
    assert service.engine.quotas.recount(tenant) == told
    return told


def test_the_count_is_right_after_all_that_stores_and_deletes(service: Served) -> None:
    with service.client() as client:
        for _ in range(2):
            client.post("/v1/sessions", json={"id": "a"})
        assert counted(service) == Usage(sessions=1)
        client.post("/v1/sessions/a/turns", json=LONG)
        client.post("/v1/sessions/a/turns", json=[LONG[0]] * 2, headers={"Idempotency-Key": "k"})
        client.post("/v1/sessions/a/turns", json=[LONG[0]] * 2, headers={"Idempotency-Key": "k"})
        client.post("/v1/sessions/a/turns", json={**LONG[0], "id": "t"})
        client.post("/v1/sessions/a/turns", json={**LONG[0], "id": "t"})
        assert client.post("/v1/sessions/a/turns", json={**LONG[1], "id": "t"}).status_code == 409
        assert (counted(service).sessions, counted(service).turns) == (1, 33)
        client.post("/v1/sessions/b/messages", json=LONG[:3])
        client.put("/v1/sessions/c/messages", json={"messages": LONG[:5]})
        client.put("/v1/sessions/c/messages", json={"messages": LONG[:2]})
        assert (counted(service).sessions, counted(service).turns) == (3, 41)
        client.get("/v1/sessions/a/messages")
        client.post("/v1/sessions/a/forget", json={"turn_id": "#3"})
        assert counted(service).turns == 40
        file = client.get("/v1/sessions/a/export").content
        assert client.post("/v1/sessions/copy/import", content=file).status_code == 201
        assert (counted(service).sessions, counted(service).turns) == (4, 72)
        assert client.post("/v1/sessions/cut/import", content=file[:-40]).status_code == 422
        client.delete("/v1/sessions/a")
        client.delete("/v1/sessions/copy")
        assert (counted(service).sessions, counted(service).turns) == (2, 8)
        held = [turn for name in "bc" for turn in service.engine.scoped("acme").turns(name)]
        assert counted(service) == Usage(sessions=2) + of_turns(held)
        for name in "bc":
            client.delete(f"/v1/sessions/{name}")
        assert counted(service) == Usage()


class Overtaken(SqliteStore):
    """A store in which another append makes the session just before the first one that found none."""

    other: Callable[[], object] | None = None

    def append(self, session: str, turns: Sequence[Turn], *, expected: Head | None = None) -> list[Turn]:
        other, self.other = self.other, None
        if other is not None:
            other()
        return super().append(session, turns, expected=expected)


@pytest.mark.parametrize("together", [True, False])
def test_a_session_that_two_replicas_make_at_once_is_counted_once(tmp_path: Path, together: bool) -> None:
    file = tmp_path / "memory.db"
    records, store = open_records(f"sqlite:///{file}"), Overtaken(file)
    try:
        quotas = Quotas(records, store, default=Quota(), cache_seconds=0.0)

        def add(text: str) -> None:
            turn = Turn(id=text, role="user", text=text)
            if together:
                metered = Metered(append_all(store, records), store, quotas)
                (done,) = metered([Append(session=scoped_id("acme", "s"), turns=[turn])])
                assert isinstance(done, Appended)
            else:
                MeteredStore(store, "acme", quotas).append("s", [turn])

        store.other = lambda: add("first")
        add("second")
        assert [turn.text for turn in MeteredStore(store, "acme", quotas).turns("s")] == ["first", "second"]
        assert quotas.usage("acme") == quotas.recount("acme")
    finally:
        store.close()
        records.close()


def test_past_a_quota_nothing_is_stored_and_the_answer_says_what_remains(service: Served) -> None:
    service.engine.quotas.set("acme", Quota(sessions=2, turns=5))
    with service.client() as client:
        first = client.post("/v1/sessions/a/turns", json=LONG[:2], headers={"Idempotency-Key": "k"})
        assert (first.headers["quota-turns-limit"], first.headers["quota-turns-remaining"]) == ("5", "3")
        assert first.headers["quota-sessions-remaining"] == "1" and "quota-bytes-limit" not in first.headers
        full = client.post("/v1/sessions/a/turns", json=LONG[:4])
        assert full.status_code == 403 and full.headers["content-type"] == "application/problem+json"
        assert {"quota": "turns", "limit": 5, "used": 2}.items() <= full.json().items()
        assert client.put("/v1/sessions/b/messages", json={"messages": LONG[:3]}).status_code == 200
        third = client.post("/v1/sessions/third/turns", json=LONG[0])
        assert third.status_code == 403 and third.json()["quota"] in ("turns", "sessions")
        again = client.post("/v1/sessions/a/turns", json=LONG[:2], headers={"Idempotency-Key": "k"})
        assert again.status_code == 201 and again.content == first.content
        follow = client.put("/v1/sessions/b/messages", json={"messages": LONG[:4]})
        assert follow.status_code == 403
        client.post("/v1/sessions/a/forget", json={"turn_id": "#1"})
        assert client.post("/v1/sessions/a/turns", json=LONG[3]).status_code == 201
        assert counted(service) == service.engine.quotas.usage("acme") and counted(service).turns == 5
        with service.client("other") as other:
            assert other.post("/v1/sessions/a/turns", json=LONG).status_code == 201
    with OpticalMemoryClient(service.url, service.key("acme")) as told, pytest.raises(QuotaError) as error:
        told.add("a", "user", "no room")
    assert (error.value.quota, error.value.limit) == ("turns", 5)


async def test_replicas_together_never_pass_a_quota(store_url: str) -> None:
    settings: dict[str, Any] = {"store": store_url, "key_cache_seconds": 0.2, "quota_turns": 37, "quota_sessions": 7}
    with served(**settings) as here, served(**settings) as there:
        headers = {"Authorization": f"Bearer {here.key('acme')}"}
        async with httpx.AsyncClient(headers=headers, timeout=120) as client:
            urls = [f"{(here, there)[n % 2].url}/v1/sessions/s{n % 9}/turns" for n in range(120)]
            answers = await asyncio.gather(*(client.post(url, json=LONG[0]) for url in urls))
        stored = sum(answer.status_code == 201 for answer in answers)
        assert {answer.status_code for answer in answers} == {201, 403}
        used = counted(here)
        assert used.turns == stored <= 37 and used.sessions <= 7
        with here.client("acme") as filling:  # and all of it can be used
            session = here.engine.scoped("acme").sessions()[0]
            while filling.post(f"/v1/sessions/{session}/turns", json=LONG[0]).status_code == 201:
                stored += 1
        assert counted(here).turns == stored == 37


def test_admins_see_their_own_and_the_operator_sets_all(store_url: str) -> None:
    with served(store=store_url, operator="ops", key_cache_seconds=0.0) as service:
        with service.client("acme") as acme, service.client("ops") as operator:
            acme.post("/v1/sessions/a/turns", json=LONG[0])
            assert acme.get("/v1/quota").json()["usage"]["turns"] == 1
            assert acme.put("/v1/quotas/acme", json={"turns": 10}).status_code == 403
            assert acme.get("/v1/quotas/ops").status_code == 403
            said = operator.put("/v1/quotas/acme", json={"turns": 1}).json()
            assert said["remaining"] == {"sessions": None, "turns": 0, "bytes": None}
            assert acme.post("/v1/sessions/a/turns", json=LONG[0]).status_code == 403
            assert acme.get("/v1/quota").json()["quota"]["turns"] == 1
            assert operator.post("/v1/quotas/acme/recount").json()["usage"]["turns"] == 1
        arguments = ["--store", store_url, "--json"]
        set_by = CliRunner().invoke(app, ["quotas", "set", "acme", "--turns", "2", *arguments])
        assert json.loads(set_by.stdout)["quota"] == {"sessions": None, "turns": 2, "bytes": None}
        with service.client("acme") as acme:
            assert acme.post("/v1/sessions/a/turns", json=LONG[0]).status_code == 201
        shown = CliRunner().invoke(app, ["quotas", "show", "acme", *arguments])
        recounted = CliRunner().invoke(app, ["quotas", "recount", "acme", *arguments])
        assert json.loads(shown.stdout)["usage"] == json.loads(recounted.stdout)["usage"]
        assert "turns: 2, at most 2" in CliRunner().invoke(app, ["quotas", "show", "acme", *arguments[:2]]).stdout


def test_what_was_stored_before_there_was_a_count_is_counted(store_url: str) -> None:
    with served(store=store_url) as service, service.client() as client:
        client.post("/v1/sessions/a/turns", json=LONG)
        key = service.engine.records
        assert key.swap("replica/gone", b"1.0", expected=None)
        key.begin("usage/acme", "gone.1", [5, 5, 5], [None] * 3)
        assert service.engine.quotas.usage("acme").turns == 35
        service.engine.quotas.heal()
        assert counted(service) == Usage(sessions=1) + of_turns(service.engine.scoped("acme").turns("a"))
