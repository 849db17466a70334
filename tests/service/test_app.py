"""The HTTP service through a real uvicorn, on real stores that encrypt."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from server import Served, served

from optical_memory import OpticalMemory
from optical_memory.service.master import new_master_key

LONG = [
    {"role": ("user", "assistant")[n % 2], "content": f"Line {n}: ticket QX{n:04d} " + "and so on " * 30}
    for n in range(60)
]


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status and body["title"]
    return body


def test_a_session_from_its_first_turn_to_its_receipt(service: Served) -> None:
    with service.client() as client:
        made = client.post("/v1/sessions/trip/turns", json=LONG)
        assert made.status_code == 201 and [turn["seq"] for turn in made.json()["turns"]] == list(range(60))
        assert made.headers["etag"] == f'"{made.json()["revision"]}"'
        context = client.get("/v1/sessions/trip/context").json()
        assert context["tokens"] <= 2_000 < context["text_tokens"] and context["pages"]
        page = context["pages"][0]
        png = client.get(page["url"])
        assert png.content.startswith(b"\x89PNG") and "immutable" in png.headers["cache-control"]
        again = client.get(page["url"], headers={"If-None-Match": png.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        current = client.get(f"/v1/sessions/trip/pages/{page['id']}.png")
        assert current.content == png.content and "no-cache" in current.headers["cache-control"]
        for name in ("openai", "responses", "anthropic", "gemini"):
            assert client.get("/v1/sessions/trip/request", params={"format": name, "recall": True}).json()
        messages = client.get("/v1/sessions/trip/messages").json()["messages"]
        assert messages == client.get("/v1/sessions/trip/messages").json()["messages"]
        assert "data:image/png;base64," in json.dumps(messages)
        found = client.get("/v1/sessions/trip/recall", params={"q": "QX0007", "k": 1}).json()["turns"]
        assert [turn["seq"] for turn in found] == [7]
        on_page = client.get("/v1/sessions/trip/recall", params={"page": page["id"], "line": 1}).json()["turns"]
        assert on_page[0]["id"] in page["turn_ids"]
        receipt = client.post("/v1/sessions/trip/forget", json={"turn_id": "#8"}).json()
        assert receipt["turn_ids"] == [found[0]["id"]]
        assert client.get("/v1/sessions/trip/recall", params={"q": "QX0007", "k": 1}).json()["turns"] == []
        assert len(client.delete("/v1/sessions/trip").json()["turn_ids"]) == 59
        problem(client.get("/v1/sessions/trip/context"), 404)
        problem(client.delete("/v1/sessions/trip"), 404)


def test_a_session_is_made_before_its_first_turn(service: Served) -> None:
    with service.client() as client:
        made = client.post("/v1/sessions", json={"id": "trip"})
        assert (made.status_code, made.json()["turns"]) == (201, 0)
        assert made.headers["etag"] == f'"{made.json()["revision"]}"'
        listed = [{"id": "trip", "turns": 0, "revision": made.json()["revision"]}]
        assert client.get("/v1/sessions").json()["sessions"] == listed
        assert client.get("/v1/sessions/trip/messages").json()["messages"] == []
        assert client.get("/v1/sessions/trip/context").json()["pages"] == []
        turn, revision = {"role": "user", "content": "hello"}, {"If-Match": made.headers["etag"]}
        first = client.post("/v1/sessions/trip/turns", json=turn, headers=revision)
        assert first.status_code == 201 and first.json()["turns"][0]["seq"] == 0
        there = client.post("/v1/sessions", json={"id": "trip"})
        assert (there.status_code, there.json()["turns"]) == (200, 1), "it stays as it is"
        key = {"Idempotency-Key": "new"}
        named, again = (client.post("/v1/sessions", json={}, headers=key) for _ in range(2))
        assert again.json() == named.json() and again.status_code == named.status_code == 201
        assert again.headers["idempotency-replayed"] == "true" and "idempotency-replayed" not in named.headers
        assert client.post("/v1/sessions", json={}).json()["session"] != named.json()["session"]
        problem(client.post("/v1/sessions", json={"id": "x"}, headers=key), 422)
        for wrong in ("", "a/b", "..", "x" * 448):
            problem(client.post("/v1/sessions", json={"id": wrong}), 422)
        assert client.delete(f"/v1/sessions/{named.json()['session']}").json()["turn_ids"] == []
        problem(client.get(f"/v1/sessions/{named.json()['session']}/messages"), 404)


def test_no_other_site_may_read_an_answer(service: Served) -> None:
    """CORS is closed: no answer lets a page of another origin see it, and no preflight is granted."""
    with service.client() as client:
        client.post("/v1/sessions/s/turns", json={"role": "user", "content": "hello"})
        origin = {"Origin": "https://elsewhere.example"}
        asks = origin | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        for path in ("/v1/sessions", "/v1/sessions/s/messages", "/v1/sessions/s/turns", "/dashboard", "/healthz"):
            for answer in (client.get(path, headers=origin), client.options(path, headers=asks)):
                assert not [name for name in answer.headers if name.startswith("access-control-")], path
            assert answer.status_code >= 400, "a preflight"


def test_a_request_sent_twice_is_done_once_and_answered_alike(service: Served) -> None:
    with service.client() as client:
        body = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
        headers = {"Idempotency-Key": "first"}
        one = client.post("/v1/sessions/s/turns", json=body, headers=headers)
        client.post("/v1/sessions/s/turns", json={"role": "user", "content": "three"})
        two = client.post("/v1/sessions/s/turns", json=body, headers=headers)
        assert two.content == one.content and two.headers["idempotency-replayed"] == "true"
        assert two.headers["etag"] == one.headers["etag"]
        problem(client.post("/v1/sessions/s/turns", json=body[:1], headers=headers), 422)
        other = client.post("/v1/sessions/other/turns", json=body, headers=headers)
        assert other.status_code == 201 and "idempotency-replayed" not in other.headers
        sent = [client.post("/v1/sessions/p/messages", json=LONG[:3], headers=headers) for _ in range(2)]
        assert sent[0].content == sent[1].content
        assert [s["turns"] for s in client.get("/v1/sessions").json()["sessions"]] == [2, 3, 3]


def test_no_turn_is_doubled_where_the_answer_was_not_kept(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the service is killed between storing turns and keeping its answer."""
    with service.client() as client:
        revision = client.post("/v1/sessions/s/turns", json={"role": "user", "content": "zero"}).headers["etag"]
        headers = {"Idempotency-Key": "k", "If-Match": revision}
        monkeypatch.setattr(service.engine.records, "put", lambda *a, **k: None)
        answers = [client.post("/v1/sessions/s/turns", json=LONG[:2], headers=headers) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [201] * 3
        assert len({json.dumps(answer.json()["turns"]) for answer in answers}) == 1
        assert client.get("/v1/sessions").json()["sessions"][0]["turns"] == 3


def test_if_match_keeps_writers_from_passing_each_other(service: Served) -> None:
    with service.client() as client:
        path, turn = "/v1/sessions/s/turns", {"role": "user", "content": "hello"}
        first = client.post(path, json=turn, headers={"If-Match": '"none"'})
        problem(client.post(path, json=turn, headers={"If-Match": '"none"'}), 412)
        second = client.post(path, json=turn, headers={"If-Match": first.headers["etag"]})
        assert second.status_code == 201
        problem(client.post(path, json=turn, headers={"If-Match": first.headers["etag"]}), 412)
        problem(client.post(path, json=turn, headers={"If-Match": "nonsense"}), 400)
        client.delete("/v1/sessions/s")
        problem(client.post(path, json=turn, headers={"If-Match": second.headers["etag"]}), 412)


def test_following_and_listing_in_pages(service: Served) -> None:
    with service.client() as client:
        followed = client.put("/v1/sessions/b/messages", json={"messages": LONG[:4]}).json()
        assert len(followed["added"]) == 4
        rewound = client.put("/v1/sessions/b/messages", json={"messages": LONG[:2]}).json()
        assert (rewound["superseded"], rewound["added"]) == (2, [])
        for name in ("a", "c", "ü d"):
            client.post(f"/v1/sessions/{name}/turns", json=LONG[0])
        seen, after = [], ""
        while after is not None:
            listed = client.get("/v1/sessions", params={"limit": 2, "after": after}).json()
            seen += [session["id"] for session in listed["sessions"]]
            after = listed["next"]
        assert seen == ["a", "b", "c", "ü d"]
        assert [s["id"] for s in client.get("/v1/sessions?prefix=ü").json()["sessions"]] == ["ü d"]


def test_an_export_is_loaded_by_the_library_and_by_the_service(service: Served, tmp_path: Path) -> None:
    with service.client() as client:
        client.put("/v1/sessions/s/messages", json={"messages": LONG})
        client.post("/v1/sessions/s/forget", json={"turn_id": "#3"})
        file = client.get("/v1/sessions/s/export").content
        (tmp_path / "s.jsonl").write_bytes(file)
        with OpticalMemory.load(tmp_path / "s.jsonl", profile="mini", renderer="dense", budget=2_000) as memory:
            assert memory.store.count("s") == 59
        loaded = client.post("/v1/sessions/copy/import", content=file)
        assert loaded.status_code == 201 and loaded.json()["turns"] == 59
        copy = client.get("/v1/sessions/copy/export").content
        assert copy.splitlines()[1:-1] == file.splitlines()[1:-1]
        problem(client.post("/v1/sessions/copy/import", content=file), 422)
        problem(client.post("/v1/sessions/cut/import", content=file[:-30]), 422)
        problem(client.get("/v1/sessions/cut/context"), 404)


def test_scopes_expiry_and_revocation(service: Served) -> None:
    with service.client(scopes=("read",)) as reader, service.client(scopes=("write",)) as writer:
        assert writer.post("/v1/sessions/s/turns", json=LONG[0]).status_code == 201
        assert reader.get("/v1/sessions/s/messages").status_code == 200
        problem(reader.post("/v1/sessions/s/turns", json=LONG[0]), 403)
        problem(writer.get("/v1/sessions/s/messages"), 403)
        for method, path in (("DELETE", "/v1/sessions/s"), ("GET", "/v1/keys"), ("DELETE", "/v1/data-keys")):
            problem(reader.request(method, path), 403)
    with service.client() as admin:
        made = admin.post("/v1/keys", json={"scopes": ["read"], "name": "ci"}).json()
        headers = {"Authorization": f"Bearer {made['key']}"}
        assert admin.get("/v1/sessions", headers=headers).status_code == 200
        turned = admin.post(f"/v1/keys/{made['id']}/rotate").json()
        assert admin.get("/v1/sessions", headers={"Authorization": f"Bearer {turned['key']}"}).status_code == 200
        assert admin.delete(f"/v1/keys/{made['id']}").json()["state"] == "revoked"
        time.sleep(0.3)
        answer = admin.get("/v1/sessions", headers=headers)
        problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
        for bad in ("", "Bearer", "Bearer om_x", "Basic abc", "Bearer " + made["key"][:-1]):
            problem(admin.get("/v1/sessions", headers={"Authorization": bad}), 401)


def test_destroying_the_data_keys_says_so(service: Served) -> None:
    with service.client() as client:
        client.post("/v1/sessions/s/turns", json=LONG[0])
        problem(client.delete("/v1/data-keys"), 422)
        receipt = client.delete("/v1/data-keys", params={"confirm": "acme"}).json()
        assert receipt["tenant"] == "acme" and "destroyed" in receipt["statement"]
        assert "destroyed" in problem(client.get("/v1/sessions/s/messages"), 410)["detail"]
        problem(client.post("/v1/sessions/new/turns", json=LONG[0]), 410)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 422),
        (b'{"role": "user", "content": NaN}', 422),
        (b'{"role": "user", "content": "x", "importance": 1e999}', 422),
        (b"[" * 100_000, 400),
        (b'{"role": "king", "content": "x"}', 422),
        (b'{"role": "user", "content": "x", "tenant": "other"}', 422),
        (b'{"role": "user", "content": "x", "pin": "no such tier"}', 422),
        (b'{"role": "user", "content": [{"type": "text", "text": "\\ud800"}]}', 201),
    ],
)
def test_bad_bodies_have_a_status(service: Served, body: bytes, status: int) -> None:
    with service.client() as client:
        answer = client.post("/v1/sessions/s/turns", content=body, headers={"Content-Type": "application/json"})
        if status == 201:
            assert answer.status_code == 201
            assert client.get("/v1/sessions/s/messages").status_code == 200
        else:
            problem(answer, status)


def test_other_wrong_requests_have_a_status(service: Served) -> None:
    with service.client() as client:
        client.post("/v1/sessions/s/turns", json={"role": "user", "content": "x", "id": "t"})
        problem(client.post("/v1/sessions/s/turns", json={"role": "user", "content": "y", "id": "t"}), 409)
        problem(client.get("/v1/sessions/s/context", params={"profile": "/etc/passwd.toml"}), 422)
        problem(client.get("/v1/sessions/s/context", params={"profile": "no such model"}), 422)
        assert problem(client.get("/v1/sessions/s/context", params={"budget": 1}), 422)["needed"] > 1
        problem(client.get("/v1/sessions/s/recall"), 422)
        problem(client.get("/v1/sessions/s/recall", params={"turn_id": "none"}), 404)
        problem(client.get(f"/v1/sessions/s/pages/{'0' * 64}.png"), 404)
        problem(client.get("/v1/sessions/" + "x" * 448 + "/context"), 422)
        problem(client.post("/v1/sessions/s/ask", json={"question": "What?"}), 404)
        problem(client.get("/v1/nothing"), 404)
        problem(client.patch("/v1/sessions"), 405)


def test_limits_hold_before_anything_is_parsed(tmp_path: Path) -> None:
    limits: dict[str, Any] = {"max_body_bytes": 10_000, "max_import_bytes": 20_000, "max_requests": 3}
    with served(store=f"sqlite:///{tmp_path / 'memory.db'}", **limits) as service, service.client() as client:
        problem(client.post("/v1/sessions/s/turns", json={"role": "user", "content": "x" * 10_000}), 413)
        problem(client.post("/v1/sessions/s/turns", content=(b"x" * 1_000 for _ in range(11))), 413)
        problem(client.post("/v1/sessions/s/import", content=b"x" * 20_001), 413)


def begun(client: httpx.Client) -> socket.socket:
    """A connection whose request is under way: the service has asked for its body, which does not come."""
    connection = socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=120)
    head = f"Authorization: {client.headers['authorization']}\r\nContent-Type: application/json\r\n"
    head += "Host: x\r\nContent-Length: 500\r\nExpect: 100-continue\r\n"
    connection.sendall(f"POST /v1/sessions/s/turns HTTP/1.1\r\n{head}\r\n".encode())
    assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    return connection


def test_past_the_most_requests_at_a_time_further_ones_are_503(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'memory.db'}"
    limits: dict[str, Any] = {"max_requests": 3, "body_seconds": 600.0, "slow_body_seconds": 600.0}
    with served(store=store, **limits) as service, service.client() as client:
        slow = [begun(client) for _ in range(3)]
        busy = client.get("/v1/sessions")
        problem(busy, 503)
        assert busy.headers["retry-after"] and client.get("/healthz").status_code == 200
        for connection in slow:
            connection.sendall(b"x" * 500)
            assert connection.recv(100).startswith(b"HTTP/1.1 422")
            connection.close()
        assert client.get("/v1/sessions").status_code == 200


def test_at_the_most_requests_those_whose_bodies_come_slowly_give_way(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'memory.db'}"
    limits: dict[str, Any] = {"max_requests": 3, "body_seconds": 600.0, "slow_body_seconds": 0.0}
    with served(store=store, **limits) as service, service.client() as client:
        slow = [begun(client) for _ in range(3)]
        for given_way in range(1, 4):
            slow.append(begun(client))  # a fourth: the one that has waited longest ends
            assert slow[given_way - 1].recv(100).startswith(b"HTTP/1.1 408")
        assert client.get("/v1/sessions").status_code == 200
        slow[-1].sendall(b"x" * 500)
        assert slow[-1].recv(100).startswith(b"HTTP/1.1 422")
        for connection in slow:
            connection.close()


def test_a_body_that_does_not_arrive_in_time_is_408(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'memory.db'}"
    with served(store=store, max_requests=3, body_seconds=1.0) as service, service.client() as client:
        for connection in [begun(client) for _ in range(3)]:
            assert connection.recv(100).startswith(b"HTTP/1.1 408")
            connection.close()
        assert client.get("/v1/sessions").status_code == 200


def test_a_store_that_is_gone_is_503_and_comes_back(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'memory.db'}"
    with served(store=store) as service, service.client() as client:
        assert client.get("/readyz").json()["durability"]
        service.engine.records.close()
        answer = client.get("/readyz")
        problem(answer, 503)
        assert answer.headers["retry-after"] and client.get("/healthz").json() == {"status": "ok"}


def test_figures_and_the_audit_log_hold_no_content(service: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "optical_memory.service.audit")
    with service.client("tenant-of-metrics") as client:
        client.post("/v1/sessions/secret-session/turns", json=LONG)
        client.get("/v1/sessions/secret-session/messages")
        client.delete("/v1/sessions/secret-session")
        figures = client.get("/metrics").text
    labels = 'method="POST",route="/v1/sessions/{session}/turns",status="201"'
    assert f"optical_memory_requests_total{{{labels}}} 1.0" in figures
    assert "optical_memory_turns_total 60.0" in figures and "optical_memory_pages_drawn_total" in figures
    assert "secret-session" not in figures and "tenant-of-metrics" not in figures and "QX00" not in figures
    entries = [json.loads(record.message) for record in caplog.records if record.name.endswith("audit")]
    assert [(one["action"], one["turns"]) for one in entries] == [("forget", 60)]
    assert "QX00" not in caplog.text


def test_appends_do_not_wait_while_a_page_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(store=f"sqlite:///{tmp_path / 'memory.db'}") as service, service.client() as client:
        client.post("/v1/sessions/s/turns", json=LONG)
        drawing, go_on = threading.Event(), threading.Event()
        draw = service.engine.renderer.paint

        def held(*given: Any, **settings: Any) -> Any:
            drawing.set()
            assert go_on.wait(60)
            return draw(*given, **settings)

        monkeypatch.setattr(service.engine.renderer, "paint", held)
        reading = threading.Thread(target=lambda: client.get("/v1/sessions/s/messages"))
        reading.start()
        assert drawing.wait(60)
        assert client.post("/v1/sessions/s/turns", json=LONG[0]).status_code == 201
        assert client.get("/v1/sessions").json()["sessions"][0]["turns"] == 61
        assert reading.is_alive()
        go_on.set()
        reading.join(60)


def test_two_replicas_see_each_others_turns_and_forgetting(store_url: str) -> None:
    master = new_master_key()
    with (
        served(store=store_url, master_key=master) as here,
        served(store=store_url, master_key=master) as there,
        here.client() as one,
        httpx.Client(base_url=there.url, headers=one.headers, timeout=120) as two,
    ):
        one.post("/v1/sessions/s/turns", json=LONG)
        assert one.get("/v1/sessions/s/messages").content == two.get("/v1/sessions/s/messages").content
        one.post("/v1/sessions/s/forget", json={"turn_id": "#1"})
        assert "QX0000" not in two.get("/v1/sessions/s/messages").text
        problem(two.get("/v1/sessions/s/recall", params={"turn_id": "#1"}), 404)
