"""What the dashboard's routes give, to whom, under which headers; and that a long session costs no more to open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from conversation import airline
from provider_server import Reply, serving
from server import Served, served

from optical_memory.service.master import new_master_key
from optical_memory.stores.scoped import ScopedStore

VIEW = {"session": "desk", "profile": "mini", "budget": 3_000}
READS = {
    "session": {},
    "replay": {},
    "context": {},
    "page": {"page": "0" * 64, "tier": "tiny"},
    "page.png": {"page": "0" * 64, "tier": "tiny"},
    "costs": {},
    "recall": {"q": "reservation"},
    "fidelity": {"reader": "mini"},
}
"""Every route about one session, with what it needs."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = f"sqlite:///{tmp_path_factory.mktemp('dashboard') / 'memory.db'}"
    with served(store=store, master_key=new_master_key(), budget=3_000) as running:
        with running.client("acme") as client:
            for message in airline(140):
                assert client.post("/v1/sessions/desk/messages", json=[message]).status_code == 201
                assert client.get("/v1/sessions/desk/context").status_code == 200
        yield running


@contextmanager
def browser(
    service: Served, tenant: str = "acme", scopes: tuple[str, ...] = ("read", "admin")
) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{service.url}/dashboard/api/", timeout=120) as client:
        assert client.post("login", json={"key": service.key(tenant, scopes)}).status_code == 200
        client.headers["X-CSRF-Token"] = client.get("me").json()["csrf"]
        yield client


def replayed(client: httpx.Client, view: dict[str, Any]) -> dict[str, Any]:
    while not (said := client.get("replay", params=view).json())["done"]:
        pass
    return said


def test_the_replay_and_the_contexts_are_those_of_the_api(service: Served) -> None:
    with browser(service) as client, service.client("acme") as api:
        said = replayed(client, VIEW)
        assert said["replayed"] == said["turns"] == 140 == len(said["figures"]["tokens"])
        context = api.get("/v1/sessions/desk/context").json()
        assert said["figures"]["tokens"][-1] == context["tokens"] and said["figures"]["epoch"][-1] == context["epoch"]
        now = client.get("context", params=VIEW).json()
        last = client.get("context", params=VIEW | {"turn": 140}).json()
        assert now["live"] and now["pieces"] == last["pieces"] and now["change"] == last["change"]
        assert [piece["page"]["id"] for piece in now["pieces"] if "page" in piece] == [
            page["id"] for page in context["pages"]
        ]
        about = client.get("session", params=VIEW).json()
        view = {"profile": "mini", "budget": 3_000, "from": said["recorded"]["from"]}
        assert about["views"] == [view] and 1 < view["from"] < 140 and about["now"]
        part = client.get("replay", params=VIEW | {"after": 100}).json()["figures"]
        assert part == {name: column[100:] for name, column in said["figures"].items()}


def test_pages_are_the_pixels_that_the_model_gets(service: Served) -> None:
    with browser(service) as client, service.client("acme") as api:
        pages = api.get("/v1/sessions/desk/context").json()["pages"]
        assert pages
        for page in pages:
            given = VIEW | {"page": page["id"], "tier": page["tier"]}
            png = client.get("page.png", params=given)
            assert png.content == api.get(page["url"]).content and png.headers["cache-control"] == "no-store"
            text = client.get("page", params=given).json()
            assert text["size"] == page["size"] and text["text"].startswith(text["begins"])
        other = VIEW | {"page": pages[0]["id"], "tier": "large"}
        assert client.get("page.png", params=other).status_code == 404


def test_recall_says_where_an_answer_stands(service: Served) -> None:
    with browser(service) as client, service.client("acme") as api:
        replayed(client, VIEW)
        turns = []
        for question, turn in product(("reservation", "flight", "cancel"), (None, 60, 140)):
            given = VIEW | {"q": question, "k": 20} | ({"turn": turn} if turn else {})
            found = client.get("recall", params=given).json()["turns"]
            assert found
            if turn is not None:
                assert all(each["place"] <= turn for each in found), "what comes later is not found"
            if turn == 140:
                turns += found
        for each in turns:
            for where in each["where"]:
                if where["part"] != "page":
                    continue
                assert 1 <= min(where["lines"]) and max(where["lines"]) <= where["page"]["rows"]
                for line in where["lines"]:
                    given = {"page": where["page"]["id"], "line": line}
                    there = api.get("/v1/sessions/desk/recall", params=given).json()["turns"]
                    assert each["id"] in [one["id"] for one in there]
        assert any(where["part"] == "page" for each in turns for where in each["where"])


def test_an_age_that_is_not_replayed_is_said_to_be_none(service: Served) -> None:
    with browser(service) as client:
        view = VIEW | {"budget": 3_001}
        assert client.get("context", params=view | {"turn": 100_000}).status_code == 409
        for wrong in ({"turn": 0}, {"budget": 0}, {"profile": "none such"}, {"session": ""}):
            assert client.get("context", params=VIEW | wrong).status_code == 422
        assert client.get("recall", params=VIEW | {"q": " "}).status_code == 422


@pytest.mark.parametrize("route", READS)
def test_another_tenants_session_is_like_one_that_is_not(service: Served, route: str) -> None:
    with browser(service, "other") as client:
        answers = [
            client.get(route, params=VIEW | READS[route] | {"session": name}).json() for name in ("desk", "none")
        ]
        assert answers[0]["status"] == 404
        assert answers[0] | {"detail": ""} == answers[1] | {"detail": ""}
        assert client.get("sessions").json() == {"sessions": [], "next": None}


def test_keys_of_another_tenant_and_without_the_scope(service: Served) -> None:
    with browser(service, "other") as client, service.client("acme") as api:
        theirs = api.get("/v1/keys").json()["keys"][0]["id"]
        assert client.get("quota").json()["tenant"] == "other" and client.get("quota").json()["usage"]["turns"] == 0
        assert client.delete(f"keys/{theirs}").status_code == 404
        assert client.post(f"keys/{theirs}/rotate").status_code == 404
        assert theirs not in client.get("keys").text
    with browser(service, scopes=("read",)) as client:
        assert client.get("keys").status_code == client.get("quota").status_code == 403
        assert client.get("sessions").status_code == 200
        assert client.post("keys", json={"scopes": ["read"]}).status_code == 403
    with browser(service, scopes=("write",)) as client:
        assert client.get("sessions").status_code == 403 and client.get("session", params=VIEW).status_code == 403
        assert client.post("logout").status_code == 200


def test_only_the_operators_admins_set_quotas_and_only_from_the_page(tmp_path: Path) -> None:
    with served(store=f"sqlite:///{tmp_path / 'memory.db'}", operator="ops", key_cache_seconds=0.0) as running:
        with browser(running) as client:
            assert client.get("me").json()["operates"] is False
            assert client.get("quotas/acme").status_code == client.get("quotas/ops").status_code == 403
            assert client.put("quotas/acme", json={"turns": 5}).status_code == 403
            assert client.post("quotas/acme/recount").status_code == 403
        with browser(running, "ops", ("read",)) as client:
            assert client.put("quotas/acme", json={"turns": 5}).status_code == 403
        with browser(running, "ops") as client:
            assert client.get("me").json()["operates"] is True
            token = client.headers.pop("X-CSRF-Token")
            assert client.put("quotas/acme", json={"turns": 5}).status_code == 403
            client.headers["X-CSRF-Token"] = token
            forged = {"Sec-Fetch-Site": "cross-site"}
            assert client.put("quotas/acme", json={"turns": 5}, headers=forged).status_code == 403
            assert running.engine.quotas.of("acme").limits == (None, None, None)
            for wrong in ({"turns": -1}, {"turns": 0.5}, {"turns": 1 << 50}, {"pages": 3}):
                assert client.put("quotas/acme", json=wrong).status_code == 422
            assert client.put("quotas/no such/x", json={}).status_code == 404
            said = client.put("quotas/acme", json={"turns": 5, "bytes": 1_000}).json()
            assert said == client.get("quotas/acme").json() == client.post("quotas/acme/recount").json()
            assert said["quota"] == {"sessions": None, "turns": 5, "bytes": 1_000}


def test_a_model_answers_from_the_session_at_an_age(service: Served, tmp_path: Path) -> None:
    with browser(service) as client:
        assert client.get("me").json()["answers"] is False
        refused = client.post("ask", params=VIEW, json={"question": "Which?"})
        assert refused.status_code == 404 and "OPTICAL_MEMORY_ASK_URL" in refused.json()["detail"]
    with (
        serving(lambda name, request: Reply(text="Your seat is 23K.")) as model,
        served(store=f"sqlite:///{tmp_path / 'm.db'}", ask_url=f"{model.url}/v1", ask_model="m") as running,
        running.client("acme") as api,
        browser(running) as client,
    ):
        api.post("/v1/sessions/desk/turns", json=[{"role": "user", "content": "Hello"}])
        api.post("/v1/sessions/desk/turns", json={"role": "assistant", "content": "You got seat 23K.", "id": "t"})
        replayed(client, VIEW)
        question = {"question": "Which seat did I get?"}
        answer = client.post("ask", params=VIEW, json=question).json()
        assert (answer["text"], answer["found"], answer["certainty"]) == ("Your seat is 23K.", True, 1.0)
        assert [source["turn_id"] for source in answer["sources"]] == ["t"] == [turn["id"] for turn in answer["turns"]]
        assert answer["turns"][0]["where"] == [{"part": "turn", "place": 2}]
        early = client.post("ask", params=VIEW | {"turn": 1}, json=question).json()
        assert early["sources"] == [] and early["certainty"] == 0.0, "what comes later is no source"
        assert "23K" not in json.dumps(model.requests[-1][1]["messages"])
        assert client.post("ask", params=VIEW | {"session": "none"}, json=question).status_code == 404
        assert client.post("ask", params=VIEW, json={"question": ""}).status_code == 422
        del client.headers["X-CSRF-Token"]
        asked = len(model.requests)
        assert client.post("ask", params=VIEW, json=question).status_code == 403 and len(model.requests) == asked


def test_keys_are_made_rotated_and_revoked(service: Served) -> None:
    with browser(service) as client:
        made = client.post("keys", json={"scopes": ["read"], "name": "ci", "seconds": 3_600})
        assert made.status_code == 201 and made.json()["key"].startswith("om_")
        assert made.headers["cache-control"] == "no-store"
        key_id = made.json()["id"]
        rotated = client.post(f"keys/{key_id}/rotate", params={"overlap_seconds": 60}).json()
        assert rotated["key"].startswith("om_") and rotated["name"] == "ci"
        assert client.delete(f"keys/{rotated['id']}").json()["state"] == "revoked"
        listed = {key["id"]: key for key in client.get("keys").json()["keys"]}
        assert listed[key_id]["replaced_by"] == rotated["id"] and "digest" not in listed[key_id]


def test_pages_run_under_a_policy_without_anything_inline(service: Served) -> None:
    for path in ("/dashboard", "/dashboard/", "/dashboard/session", "/dashboard/keys", "/dashboard/static/app.js"):
        answer = httpx.get(service.url + path, timeout=120)
        policy = answer.headers["content-security-policy"]
        assert answer.status_code == 200 and "default-src 'none'" in policy and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy and "require-trusted-types-for 'script'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["referrer-policy"]
        again = httpx.get(service.url + path, headers={"If-None-Match": answer.headers["etag"]}, timeout=120)
        assert again.status_code == 304 and not again.content
    shell = httpx.get(f"{service.url}/dashboard", timeout=120).text
    assert "style=" not in shell and "<script>" not in shell and "onclick" not in shell
    for name in ("none.js", "..%2frouters.py", "routes.py", "%2e%2e/__init__.py"):
        assert httpx.get(f"{service.url}/dashboard/static/{name}", timeout=120).status_code == 404


def test_looking_through_the_dashboard_leaves_the_session_as_it_is(service: Served) -> None:
    with browser(service) as client, service.client("acme") as api:
        before = api.get("/v1/sessions").json(), api.get("/v1/sessions/desk/export").content
        for budget in range(4_000, 4_010):  # more views than a session keeps
            client.get("context", params=VIEW | {"budget": budget})
        replayed(client, VIEW)
        assert before == (api.get("/v1/sessions").json(), api.get("/v1/sessions/desk/export").content)


def test_forgetting_reaches_what_the_dashboard_kept(service: Served) -> None:
    with browser(service) as client, service.client("acme") as api:
        for number in range(40):
            turn = {"role": "user", "content": f"turn {number} " + "and so on " * 30 + ("zebrafish" * (number == 5))}
            assert api.post("/v1/sessions/short/turns", json=turn).status_code == 201
        view = VIEW | {"session": "short", "budget": 1_200}
        replayed(client, view)
        shown = [client.get("context", params=view | {"turn": turn}).text for turn in (6, 20, 40)]
        assert "zebrafish" in shown[0]
        api.post("/v1/sessions/short/forget", json={"turn_id": "#6"})
        assert replayed(client, view)["turns"] == 39
        for turn in (6, 20, 39):
            assert "zebrafish" not in client.get("context", params=view | {"turn": turn}).text
        api.delete("/v1/sessions/short")
        assert client.get("replay", params=view).status_code == 404
        assert client.get("page.png", params=view | READS["page"] | {"page": "0" * 64}).status_code == 404


def test_opening_a_long_session_reads_no_more_than_what_is_shown(
    service: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with browser(service) as client, service.client("acme") as api:
        turns = [{"role": "user", "content": f"turn {number} of many"} for number in range(10_000)]
        assert api.post("/v1/sessions/long/turns", json=turns).status_code == 201
        view = VIEW | {"session": "long"}
        fetched = []
        whole = ScopedStore.turns

        def counted(self: ScopedStore, session: str, **given: Any) -> Any:
            found = whole(self, session, **given)
            fetched.append(len(found))
            return found

        monkeypatch.setattr(ScopedStore, "turns", counted)
        about = client.get("session", params={"session": "long"}).json()
        assert (about["turns"], about["now"], about["views"]) == (10_000, False, [])
        assert client.get("sessions", params={"limit": 1}).json()["next"] is not None
        assert sum(fetched) == 0
        assert client.get("context", params=view).status_code == 409, "no epoch yet: the replay shows it as it goes"
        assert sum(fetched) == 0
        assert api.get("/v1/sessions/long/context").status_code == 200  # from now on there is one
        fetched.clear()
        now = client.get("context", params=view)
        assert now.status_code == 200 and now.json()["live"]
        assert sum(fetched) < 5_000, "the tail and what the pages in the context show, not the history"
