"""Two tenants: what A wrote, B cannot see on any route, and B cannot tell A's ids from ids that are not there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from every_route import every_route, log_in, whole_schema
from hypothesis import given, settings
from hypothesis import strategies as st
from provider_server import Provider, Reply, serving
from server import Served, served

from optical_memory.service.master import new_master_key

MARK = "zebrafish"
NAMES = st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"])
SESSIONS = st.text(NAMES, min_size=1, max_size=60).filter(lambda name: name.strip(".") != "")
BODIES: dict[str, Any] = {
    "/v1/sessions": {"id": "made by B"},
    "/v1/sessions/{session}/turns": {"role": "user", "content": "from B"},
    "/v1/sessions/{session}/messages": {"messages": [{"role": "user", "content": "from B"}]},
    "/v1/sessions/{session}/forget": {"everything": True},
    "/v1/sessions/{session}/ask": {"question": f"What about the {MARK}?"},
    "/v1/sessions/{session}/fidelity": {"reader": "mini"},
    "/v1/compress": {"messages": [{"role": "user", "content": "from B"}]},
    "/v1/quotas/{tenant}": {"turns": 5},
    "/v1/keys": {"scopes": ["read"]},
    "/v1/proxy": {"mode": "off"},
    "/dashboard/api/login": {"key": "om_of_nobody"},
    "/dashboard/api/keys": {"scopes": ["read"]},
    "/dashboard/api/fidelity": {"reader": "mini"},
    "/dashboard/api/ask": {"question": f"What about the {MARK}?"},
    "/dashboard/api/quotas/{tenant}": {"turns": 5},
}
LAST = (
    "/v1/sessions",
    "/v1/sessions/{session}/turns",
    "/v1/sessions/{session}/messages",
    "/v1/sessions/{session}/import",
    "/dashboard/api/logout",
)
"""Routes that make a session of B's own, or end its login, after all others."""


@pytest.fixture(scope="module")
def model() -> Iterator[Provider]:
    """A model that answers."""
    with serving(lambda name, request: Reply(text=f"The {MARK} is here.")) as answering:
        yield answering


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, model: Provider) -> Iterator[Served]:
    store = f"sqlite:///{tmp_path_factory.mktemp('isolation') / 'memory.db'}"
    asking = {"ask_url": f"{model.url}/v1", "ask_model": "m"}
    with served(store=store, master_key=new_master_key(), proxy="on", **asking) as running:
        yield running


def call(client: httpx.Client, method: str, path: str, ids: dict[str, str], schema: Any = None) -> httpx.Response:
    """Ask a route for what ``ids`` name, in its path and in what its query must have."""
    filled = re.sub(r"\{(\w+)\}", lambda name: quote(ids[name[1]], safe=""), path)
    body = BODIES.get(path) if method != "GET" else None
    if (method, path) == ("POST", "/v1/sessions/{session}/messages"):
        body = body["messages"]
    described = schema["paths"].get(path, {}).get(method.lower(), {}) if schema else {}
    fields = [one for one in described.get("parameters", ()) if one["in"] == "query" and one.get("required")]
    query = {one["name"]: ids[one["name"]] for one in fields}
    if path == "/v1/sessions/{session}/recall":
        query = {"turn_id": ids["turn"]}
    headers = {"Idempotency-Key": ids["repeat"]}
    return client.request(method, filled, params=query, headers=headers, json=body)


@settings(max_examples=3)
@given(session=SESSIONS, secret=st.from_regex(r"[A-Z]{4}[0-9]{6}", fullmatch=True))
def test_b_sees_nothing_of_a_on_any_route(service: Served, model: Provider, session: str, secret: str) -> None:
    with service.client("a") as a, service.client("b") as b:
        clean(a, b)
        log_in(b, b.headers["Authorization"].removeprefix("Bearer "))
        path = "/v1/sessions/{session}/turns"
        ids = {"session": session, "repeat": "same-key", "turn": "#1", "page": "0" * 64, "tenant": "a"}
        ids |= {"name": "app.js", "q": MARK}
        turns = [{"role": "user", "content": f"{MARK} {secret} {n} " + "and so on " * 40} for n in range(30)]
        made = a.post(path.format(session=quote(session, safe="")), json=turns)
        assert made.status_code == 201, made.text
        listed = a.get("/v1/sessions").json()["sessions"]
        ids |= {"session": listed[0]["id"], "turn": made.json()["turns"][0]["id"]}
        page = call(a, "GET", "/v1/sessions/{session}/context", ids).json()["pages"][0]
        ids |= {"page": page["id"], "tier": page["tier"], "key_id": a.get("/v1/keys").json()["keys"][0]["id"]}
        before = call(a, "GET", "/v1/sessions/{session}/export", ids).content
        absent = ids | {"session": "never was", "key_id": "0" * 16}
        schema = whole_schema(service.app)
        for method, route in sorted(every_route(service.app), key=lambda found: (found[1] in LAST, found[1])):
            answer = call(b, method, route, ids, schema)
            said = answer.text + json.dumps(dict(answer.headers))
            assert secret not in said and MARK not in said, (method, route)
            named = json.dumps(schema["paths"].get(route, {}).get(method.lower(), {}).get("parameters", ()))
            if ('"session"' in named or '"key_id"' in named) and route not in LAST:
                other = call(b, method, route, absent, schema)
                assert answer.status_code == other.status_code == 404, (method, route, answer.text)
                assert shape(answer, ids) == shape(other, absent), (method, route)
        assert call(a, "GET", "/v1/sessions/{session}/export", ids).content == before, "nor can B change it"
        assert not any(secret in json.dumps(request) for _, request in model.requests), "nor has B a model told of it"


def test_bs_cursors_prefixes_and_repeats_reach_nothing_of_a(service: Served) -> None:
    with service.client("a") as a, service.client("b") as b:
        clean(a, b)
        turn = {"role": "user", "content": f"{MARK} of A", "id": "t1"}
        headers = {"Idempotency-Key": "same-key"}
        revision = a.post("/v1/sessions/s/turns", json=turn, headers=headers).headers["etag"]
        for query in ("", "?after=a", "?prefix=s", "?after=../a/", "?prefix=a/s", "?prefix=%00"):
            assert b.get(f"/v1/sessions{query}").json() == {"sessions": [], "next": None}
        mine = {"role": "user", "content": "of B", "id": "t1"}
        assert b.post("/v1/sessions/s/turns", json=mine, headers={"If-Match": revision}).status_code == 412
        answer = b.post("/v1/sessions/s/turns", json=mine, headers=headers)
        assert answer.status_code == 201 and "idempotency-replayed" not in answer.headers
        assert MARK not in b.get("/v1/sessions/s/messages").text
        assert MARK in a.get("/v1/sessions/s/messages").text
        for header in ("X-Tenant", "X-Scope", "X-User", "X-Forwarded-User"):
            assert MARK not in b.get("/v1/sessions/s/messages", headers={header: "a"}).text


def clean(*clients: httpx.Client) -> None:
    for client in clients:
        for session in client.get("/v1/sessions").json()["sessions"]:
            call(client, "DELETE", "/v1/sessions/{session}", {"session": session["id"], "turn": "", "repeat": "x"})


def shape(answer: httpx.Response, ids: dict[str, str]) -> tuple[object, ...]:
    """What an answer says, but for the id that it was asked for and the time."""
    body = json.loads(answer.text)
    for name in ("session", "key_id"):
        body["detail"] = body["detail"].replace(repr(ids[name]), "ID")
    return answer.status_code, body, sorted(set(answer.headers) - {"date"})
