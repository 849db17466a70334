"""The way in: what the cookie is, what the store keeps, what ends a login, and what a forged request gets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from server import ALL, Served, served

from optical_memory.errors import AccessError
from optical_memory.service import records
from optical_memory.service.dashboard.logins import LINK_SECONDS, Logins
from optical_memory.service.keys import Keyring

COOKIE = "optical-memory"


@pytest.fixture
def service(store_url: str) -> Iterator[Served]:
    with served(store=store_url, key_cache_seconds=0.2) as running:
        yield running


@contextmanager
def browser(service: Served, key: str | None = None) -> Iterator[httpx.Client]:
    """A client that holds cookies and is logged in by a key."""
    with httpx.Client(base_url=service.url, timeout=120, headers={"Sec-Fetch-Site": "same-origin"}) as client:
        if key is not None:
            assert client.post("/dashboard/api/login", json={"key": key}).status_code == 200
            client.headers["X-CSRF-Token"] = client.get("/dashboard/api/me").json()["csrf"]
        yield client


def sessions(service: Served, token: str) -> httpx.Response:
    """What a browser with this cookie gets."""
    return httpx.get(f"{service.url}/dashboard/api/sessions", headers={"Cookie": f"{COOKIE}={token}"}, timeout=120)


def test_the_cookie_is_opaque_and_closed_to_scripts_and_other_sites(service: Served) -> None:
    key = service.key("acme")
    with browser(service) as client:
        answer = client.post("/dashboard/api/login", json={"key": key})
        said = answer.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=strict", "Path=/dashboard"} <= set(said.split("; ")) and "Max-Age=" in said
        token = client.cookies[COOKIE]
        assert re.fullmatch(r"[\w-]{43}", token) and token not in key and key.split("_", 2)[2] not in said + answer.text
        assert client.get("/dashboard/api/me").json()["tenant"] == "acme"
        assert answer.headers["cache-control"] == "no-store"


def test_the_cookie_opens_nothing_but_the_dashboard_and_a_key_not_the_dashboard(service: Served) -> None:
    key = service.key("acme")
    with browser(service, key) as client:
        token = client.cookies[COOKIE]
        assert client.get("/v1/sessions", headers={"Cookie": f"{COOKIE}={token}"}).status_code == 401
        assert client.get("/v1/sessions", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    with browser(service) as client:
        bearer = {"Authorization": f"Bearer {key}"}
        assert client.get("/dashboard/api/sessions", headers=bearer).status_code == 401
        assert client.get("/dashboard/api/me").json() == {"logged_in": False}


def test_the_store_keeps_a_hash_of_the_token(tmp_path: Path) -> None:
    with (
        served(store=f"sqlite:///{tmp_path / 'memory.db'}") as service,
        browser(service, service.key("acme")) as client,
    ):
        token = client.cookies[COOKIE].encode()
        kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert token not in kept and b"login/" in kept


def test_with_tls_ahead_the_cookie_is_secure_and_of_this_host(tmp_path: Path) -> None:
    with served(store=f"sqlite:///{tmp_path / 'memory.db'}", host="0.0.0.0", plaintext=True) as service:
        answer = httpx.post(f"{service.url}/dashboard/api/login", json={"key": service.key("acme")}, timeout=120)
        said = answer.headers["set-cookie"]
        assert said.startswith("__Host-optical-memory=") and {"Secure", "Path=/"} <= set(said.split("; "))


@pytest.mark.parametrize("key", ["", "nonsense", "om_0123456789abcdef_" + "A" * 43])
def test_no_key_no_login(service: Served, key: str) -> None:
    with browser(service) as client:
        answer = client.post("/dashboard/api/login", json={"key": key})
        assert answer.status_code == 401 and "set-cookie" not in answer.headers
        for token in ("", "x" * 43, "x" * 4_000):
            assert sessions(service, token).status_code == 401


def test_revoking_the_key_ends_its_logins_on_every_replica(store_url: str) -> None:
    with served(store=store_url, key_cache_seconds=0.2) as one, served(store=store_url, key_cache_seconds=0.2) as two:
        key, text = one.engine.keyring.create("acme", ALL)
        with browser(one, text) as client, httpx.Client(base_url=two.url, timeout=120) as other:
            other.cookies.set(COOKIE, client.cookies[COOKIE])
            assert other.get("/dashboard/api/sessions").status_code == 200
            one.engine.keyring.revoke(key.id)
            assert client.get("/dashboard/api/sessions").status_code == 401
            statuses = []
            while not statuses or statuses[-1] == 200:
                statuses.append(other.get("/dashboard/api/sessions").status_code)
            assert statuses[-1] == 401


def test_a_logout_ends_the_login_everywhere(service: Served) -> None:
    with browser(service, service.key("acme")) as client:
        token = client.cookies[COOKIE]
        assert client.post("/dashboard/api/logout").status_code == 200
        assert COOKIE not in client.cookies
        assert sessions(service, token).status_code == 401


def test_changes_need_the_token_that_only_the_page_has(service: Served) -> None:
    with browser(service, service.key("acme")) as client:
        body = {"scopes": ["read"]}
        token = client.headers.pop("X-CSRF-Token")
        for given in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "0" * 64}, {"X-CSRF-Token": client.cookies[COOKIE]}):
            assert client.post("/dashboard/api/keys", json=body, headers=given).status_code == 403
        for site in ("cross-site", "same-site", "none"):
            given = {"X-CSRF-Token": token, "Sec-Fetch-Site": site}
            assert client.post("/dashboard/api/keys", json=body, headers=given).status_code == 403
        del client.headers["Sec-Fetch-Site"]
        forged = {"X-CSRF-Token": token, "Origin": "https://evil.example"}
        assert client.post("/dashboard/api/keys", json=body, headers=forged).status_code == 403
        own = {"X-CSRF-Token": token, "Origin": service.url}
        assert client.post("/dashboard/api/keys", json=body, headers=own).status_code == 201
        assert client.post("/dashboard/api/login", json={"key": "x"}, headers={"Origin": "null"}).status_code == 403


def test_a_link_logs_in_once(service: Served) -> None:
    key, _ = service.engine.keyring.create("acme", ALL)
    logins = Logins(service.engine.records, service.engine.keyring, seconds=60.0)
    link = logins.link(key)
    with browser(service) as client:
        assert client.post("/dashboard/api/login", json={"link": link}).status_code == 200
        assert client.get("/dashboard/api/me").json()["key_id"] == key.id
        assert client.post("/dashboard/api/login", json={"link": link}).status_code == 401
        assert client.post("/dashboard/api/login", json={"link": client.cookies[COOKIE]}).status_code == 401
        revoked = logins.link(key)
        service.engine.keyring.revoke(key.id)
        assert client.post("/dashboard/api/login", json={"link": revoked}).status_code == 401


def test_logins_and_links_end_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000.0]
    monkeypatch.setattr(records.time, "time", lambda: now[0])
    kept = records.open_records(f"sqlite:///{tmp_path / 'memory.db'}")
    ring = Keyring(kept, clock=lambda: now[0])
    key, _ = ring.create("acme")
    logins = Logins(kept, ring, seconds=3_600.0)
    token, link = logins.begin(key), logins.link(key)
    now[0] += LINK_SECONDS + 1
    assert logins.find(token).key == key
    with pytest.raises(AccessError, match="log in again"):
        logins.follow(link)
    now[0] += 3_600.0
    with pytest.raises(AccessError, match="log in again"):
        logins.find(token)
    kept.close()


def test_a_service_without_a_dashboard_has_none(tmp_path: Path) -> None:
    with (
        served(store=f"sqlite:///{tmp_path / 'memory.db'}", dashboard_seconds=0) as service,
        browser(service) as client,
    ):
        assert client.get("/dashboard").status_code == 404
        assert client.post("/dashboard/api/login", json={"key": service.key("acme")}).status_code == 404
