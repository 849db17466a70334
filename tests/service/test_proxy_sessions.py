"""Whose request it is, which session it goes on, and the switches that turn the proxy down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from proxying import KEY, proxied
from replayed import USER_ID, Replay, body_of, path_of
from server import served
from typer.testing import CliRunner

from optical_memory.cli import app
from optical_memory.errors import InputError
from optical_memory.service.app import create_app
from optical_memory.service.settings import ServiceSettings

Session = dict[str, Any]


def long_bodies(messages: list[dict[str, Any]], format: str, every: int = 8) -> list[dict[str, Any]]:
    replay = Replay.of(messages, format)
    found = [body_of(replay, one) for one in replay.requests()]
    return [*found[len(found) // 2 :: every], found[-1]]


def test_an_admin_turns_it_off_for_the_tenant_on_every_replica(coding_session: Session, tmp_path: Path) -> None:
    body = json.dumps(long_bodies(coding_session["messages"], "anthropic")[-1]).encode()
    with proxied(tmp_path) as found:
        urls = {f"proxy_{name}_url": found.provider.url for name in ("openai", "anthropic", "gemini")}
        store = f"sqlite:///{tmp_path / 'memory.db'}"
        with served(store=store, proxy="on", key_cache_seconds=0.0, **urls) as second:
            admin = {"Authorization": f"Bearer {second.key('acme')}"}

            def done(url: str, key: str) -> str:
                answer = httpx.post(f"{url}/v1/messages", content=body, headers={KEY: key}, timeout=600)
                return str(answer.headers["x-optical-memory"])

            assert done(found.url, found.key) == "compressed"
            said = httpx.put(f"{second.url}/v1/proxy", json={"mode": "off"}, headers=admin, timeout=120)
            assert said.json() == {"mode": "off", "in_force": "off"}
            assert done(found.url, found.key) == "passed; reason=off" and found.provider.bodies[-1] == body
            assert done(found.url, second.key("other")) == "compressed", "other tenants go on"
            assert (
                httpx.put(f"{second.url}/v1/proxy", json={"mode": "up"}, headers=admin, timeout=120).status_code == 422
            )
            reader = {"Authorization": f"Bearer {second.key('acme', ('read', 'write'))}"}
            assert (
                httpx.put(f"{second.url}/v1/proxy", json={"mode": "on"}, headers=reader, timeout=120).status_code == 403
            )
            httpx.put(f"{second.url}/v1/proxy", json={"mode": "on"}, headers=admin, timeout=120)
            assert done(found.url, found.key) == "compressed"
            operator = CliRunner().invoke(app, ["proxy", "off", "--store", store])
            assert operator.exit_code == 0 and "all tenants: off" in operator.output
            assert done(found.url, found.key) == done(second.url, second.key("other")) == "passed; reason=off"


def test_a_dry_run_only_reports(coding_session: Session, tmp_path: Path) -> None:
    with proxied(tmp_path, proxy="dry-run") as found:
        for body in long_bodies(coding_session["messages"], "anthropic"):
            sent = json.dumps(body).encode()
            answer = found.http().post("/v1/messages", content=sent)
            assert found.provider.bodies[-1] == sent and answer.headers["x-optical-memory"] == "dry-run"
            assert int(answer.headers["x-optical-memory-tokens-after"]) < int(
                answer.headers["x-optical-memory-tokens-before"]
            )
            assert answer.headers["x-optical-memory-saved-usd"][0] in "+-"


def test_models_that_are_not_allowed_pass(coding_session: Session, tmp_path: Path) -> None:
    body = long_bodies(coding_session["messages"], "openai")[-1]
    with proxied(tmp_path, format="openai", proxy_models="claude-* gpt-4*") as found:
        answer = found.http().post("/v1/chat/completions", json=body)
        assert answer.headers["x-optical-memory"] == "passed; reason=model-not-allowed"


def test_without_a_key_only_where_the_settings_name_a_tenant_on_loopback(tmp_path: Path) -> None:
    with proxied(tmp_path, proxy_tenant="solo") as found:
        body = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}]}
        assert httpx.post(f"{found.url}/v1/chat/completions", json=body, timeout=120).status_code == 200
    with pytest.raises(InputError, match="loopback"):
        create_app(ServiceSettings(proxy="on", proxy_tenant="solo", host="0.0.0.0"))


@pytest.mark.parametrize("format", ["openai", "gemini"])
def test_conversations_without_a_name_are_told_apart(transcripts: Any, tmp_path: Path, format: str) -> None:
    talks = [
        [message for one in transcripts.airline[start : start + 6] for message in one["messages"][start > 0 :]]
        for start in (0, 6)
    ]
    opening = talks[0][:1]  # both begin alike
    lists = [long_bodies([*opening, *talk[1:]], format, every=6) for talk in talks]
    with proxied(tmp_path, format=format, proxy_budget=6_000, proxy_from_tokens=2_000) as found:
        names: list[set[str]] = [set(), set()]
        for pair in zip(*lists, strict=False):
            for which, body in enumerate(pair):
                answer = found.http().post(path_of(format), json=body)
                assert answer.status_code == 200
                names[which].add(answer.headers["x-optical-memory-session"])
        assert len(names[0]) == len(names[1]) == 1 and names[0] != names[1]
        assert found.provider.refused == []
        with found.service.client("acme") as client:
            kept = client.get("/v1/sessions").json()["sessions"]
            assert {one["id"] for one in kept} == names[0] | names[1]
        with found.service.client("other") as client:
            assert client.get("/v1/sessions").json()["sessions"] == []


def test_marks_and_headers_name_a_session(coding_session: Session, tmp_path: Path) -> None:
    body = long_bodies(coding_session["messages"], "anthropic")[-1]
    uuid = USER_ID.rpartition("_")[2]
    newer = json.dumps({"device_id": "d", "account_uuid": "", "session_id": uuid})
    with proxied(tmp_path) as found:
        client = found.http()

        def session(body: dict[str, Any], **headers: str) -> str:
            answer = client.post("/v1/messages", json=body, headers=headers)
            return str(answer.headers["x-optical-memory-session"])

        marked = session(body)
        assert marked.startswith(f"{uuid}.")
        assert session(body | {"metadata": {"user_id": newer}}) == marked
        bare = {key: value for key, value in body.items() if key != "metadata"}
        assert session(bare, **{"X-Claude-Code-Session-Id": uuid}) == marked
        assert session(bare).startswith("auto-")
        assert session(body, **{"X-Optical-Memory-Session": "my-run"}) == "my-run"
        other = body | {"messages": [{"role": "user", "content": "Another task."}, *body["messages"][1:]]}
        assert session(other) != marked, "an agent that was sent out has a conversation of its own"


def test_a_count_of_tokens_counts_what_would_leave(coding_session: Session, tmp_path: Path) -> None:
    body = long_bodies(coding_session["messages"], "anthropic")[-1]
    with proxied(tmp_path, proxy_recall=False) as found:
        client = found.http()
        counting = {key: body[key] for key in ("model", "system", "tools", "messages")}
        full = client.post("/v1/messages/count_tokens", json=counting)
        assert full.headers["x-optical-memory"] == "passed; reason=not-compressed"
        answer = client.post("/v1/messages", json=body)
        assert answer.headers["x-optical-memory"] == "compressed"
        counted = client.post("/v1/messages/count_tokens", json=counting)
        assert counted.headers["x-optical-memory"] == "compressed; reason=counted"
        assert counted.json()["input_tokens"] == found.provider.counted[-1].total < full.json()["input_tokens"] / 2


def test_another_replica_goes_on_with_the_same_bytes(coding_session: Session, tmp_path: Path) -> None:
    bodies = long_bodies(coding_session["messages"], "anthropic", every=2)
    with proxied(tmp_path) as found:
        urls = {f"proxy_{name}_url": found.provider.url for name in ("openai", "anthropic", "gemini")}
        with served(store=f"sqlite:///{tmp_path / 'memory.db'}", proxy="on", **urls) as second:
            for number, body in enumerate(bodies[:6]):
                url = (found.url, second.url)[number % 2]
                answer = httpx.post(f"{url}/v1/messages", json=body, headers=found.headers, timeout=600)
                assert answer.headers["x-optical-memory"] == "compressed"
            shares = [one.cached / one.total for one in found.provider.counted[1:]]
            assert min(shares) > 0.8, shares
