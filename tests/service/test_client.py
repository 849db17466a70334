"""Both clients against a real service."""

from __future__ import annotations

import inspect
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from server import Served, served

from optical_memory.client import AsyncOpticalMemoryClient, OpticalMemoryClient, sync
from optical_memory.errors import (
    AccessError,
    BudgetError,
    ConflictError,
    DuplicateTurnError,
    InputError,
    NotFoundError,
    StoreUnavailableError,
)

TURNS = [{"role": ("user", "assistant")[n % 2], "content": f"QX{n:04d} " + "and so on " * 30} for n in range(60)]


def test_the_sync_client_does_all_that_the_service_does(service: Served) -> None:
    with OpticalMemoryClient(service.url, service.key("acme")) as client:
        made = client.add("s", "user", "hello", id="t", created_at=5.0)
        assert made["turns"] == [{"id": "t", "seq": 0, "created_at": 5.0}]
        client.extend("s", TURNS)
        assert client.follow("s", TURNS[:1], format="openai")["superseded"] == 61
        assert client.add_turns("full", TURNS)["turns"][-1]["seq"] == 59
        context = client.context("full")
        assert client.page("full", context["pages"][0]).startswith(b"\x89PNG")
        assert client.page("full", context["pages"][0]["id"]).startswith(b"\x89PNG")
        assert client.messages("full", "anthropic", budget=4_000) and "contents" in client.request("full", "gemini")
        assert client.recall("full", "QX0003", k=1)[0]["seq"] == 3
        assert client.compress(TURNS, budget=2_000)["messages"]
        file = client.export("full")
        assert client.load("copy", file)["turns"] == 60
        assert [session["id"] for session in client.sessions()] == ["copy", "full", "s"]
        assert len(client.forget("full", turn_id="#1")["turn_ids"]) == 1
        read = client.fidelity("copy", pages=1)
        assert read["reader"] == "mini" and all(0 <= one["precision"] <= 1 for one in read["tiers"].values())
        assert client.last_fidelity("copy") == read
        assert client.delete("copy")["everything"]
        made = client.create()
        assert client.create(made["session"]) == made and client.messages(made["session"]) == []


async def test_the_async_client_does_the_same(service: Served) -> None:
    async with AsyncOpticalMemoryClient(service.url, service.key("acme")) as client:
        assert (await client.create("s"))["turns"] == 0
        await client.add("s", "user", "hello")
        await client.extend("s", TURNS)
        context = await client.context("s")
        assert (await client.page("s", context["pages"][0])).startswith(b"\x89PNG")
        assert (await client.recall("s", "QX0003", k=1))[0]["seq"] == 4
        with pytest.raises(NotFoundError, match="has read no page"):
            await client.last_fidelity("s")
        with pytest.raises(NotFoundError, match="no reader"):
            await client.fidelity("s", reader="endpoint")
        assert [session["id"] async for session in client.sessions()] == ["s"]
        assert (await client.delete("s"))["everything"]
        with pytest.raises(NotFoundError):
            await client.messages("s")


def test_both_clients_have_the_same_methods() -> None:
    def shapes(kind: type) -> dict[str, Any]:
        public = {name: value for name, value in vars(kind).items() if not name.startswith("_") and callable(value)}
        return {name: list(inspect.signature(value).parameters.values()) for name, value in public.items()}

    assert shapes(OpticalMemoryClient) == shapes(AsyncOpticalMemoryClient) and len(shapes(OpticalMemoryClient)) > 15


def test_errors_are_the_librarys_own(service: Served) -> None:
    with OpticalMemoryClient(service.url, service.key("acme", ("read", "write"))) as client:
        revision = client.add("s", "user", "hello", id="t")["revision"]
        client.add("s", "user", "more", if_match=revision)
        with pytest.raises(ConflictError):
            client.add("s", "user", "late", if_match=revision)
        with pytest.raises(DuplicateTurnError):
            client.add("s", "user", "other", id="t")
        with pytest.raises(BudgetError) as told:
            client.messages("s", budget=1)
        assert told.value.needed > 1
        with pytest.raises(AccessError):
            client.delete("s")
        with pytest.raises(NotFoundError):
            client.context("none")
        with pytest.raises(InputError):
            client.add("s", "king", "hello")
        for session in ("", "a/b", "..", "."):
            with pytest.raises(InputError):
                client.context(session)
    with OpticalMemoryClient(service.url, "om_wrong") as client, pytest.raises(AccessError):
        client.context("s")
    with pytest.raises(InputError):
        OpticalMemoryClient("http://name:secret@127.0.0.1", "key")
    assert "om_secret" not in repr(OpticalMemoryClient("http://127.0.0.1", "om_secret")._settings)


def test_an_answer_that_is_lost_doubles_no_turn(tmp_path: Path) -> None:
    """Through a proxy that hands the request on and then drops the first two answers."""
    with served(store=f"sqlite:///{tmp_path / 'memory.db'}") as service:
        left = [2]

        class Dropping(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name: value for name, value in self.headers.items() if name != "Host"}
                answer = httpx.post(service.url + self.path, content=body, headers=headers, timeout=60)
                if left[0]:
                    left[0] -= 1
                    self.close_connection = True
                    return
                self.send_response(answer.status_code)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Dropping) as proxy:
            thread = threading.Thread(target=proxy.serve_forever)
            thread.start()
            key = service.key("acme")
            with OpticalMemoryClient(f"http://127.0.0.1:{proxy.server_port}", key) as client:
                assert client.add("s", "user", "once")["turns"][0]["seq"] == 0
                left[0] = 2
                client.extend("s", TURNS[:3])
            proxy.shutdown()
            thread.join()
        with OpticalMemoryClient(service.url, key) as client:
            assert [session["turns"] for session in client.sessions()] == [4]


def test_a_service_that_is_not_there_is_named_after_a_bounded_number_of_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(sync, "time", SimpleNamespace(sleep=waits.append))
    with (
        OpticalMemoryClient("http://127.0.0.1:9", "key", retries=1) as client,
        pytest.raises(StoreUnavailableError, match="2 tries"),
    ):
        client.context("s")
    assert len(waits) == 1 and 0 < waits[0] < 60, "seconds before the second try"
