"""Bad input, and providers and callers that go away: a documented status in the provider's own shape."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from provider_server import Body, Reply
from proxying import KEY, proxied
from replayed import Replay, body_of, path_of
from server import served

FORMATS = ("openai", "responses", "anthropic", "gemini")
Session = dict[str, Any]
SHORT: dict[str, Body] = {
    "openai": {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}]},
    "responses": {"model": "gpt-5", "input": "Hello"},
    "anthropic": {
        "model": "claude-opus-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]
    },
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]},
}  # fmt: skip


def is_error_of(format: str, answer: httpx.Response) -> bool:
    """Whether an answer is an error as the provider writes it."""
    said = answer.json()
    if format == "anthropic":
        return bool(said["type"] == "error" and {"type", "message"} <= set(said["error"]))
    if format == "gemini":
        return bool(said["error"]["code"] == answer.status_code and said["error"]["status"])
    return bool({"message", "type", "param", "code"} <= set(said["error"]))


@pytest.mark.parametrize("format", FORMATS)
def test_who_has_no_key_is_told_so_and_nothing_is_sent(tmp_path: Path, format: str) -> None:
    with proxied(tmp_path, format=format) as found:
        weak = found.service.key("acme", ("read",))
        for headers, status in (({}, 401), ({KEY: "om_0000000000000000_" + "x" * 43}, 401), ({KEY: weak}, 403)):
            answer = httpx.post(found.url + path_of(format), json=SHORT[format], headers=headers, timeout=120)
            assert answer.status_code == status and is_error_of(format, answer), answer.text
            assert answer.headers["x-optical-memory"] == f"passed; reason=refused-{status}"
        assert found.provider.bodies == []


@pytest.mark.parametrize("place", ["authorization", "x-api-key", "x-goog-api-key", "query"])
def test_the_services_key_goes_to_no_provider(tmp_path: Path, place: str) -> None:
    with proxied(tmp_path) as found:
        value = f"Bearer {found.key}" if place == "authorization" else found.key
        query = f"?key={found.key}" if place == "query" else ""
        headers = {KEY: found.key} | ({} if query else {place: value})
        for format in FORMATS:
            path = path_of(format) + query
            answer = httpx.post(found.url + path, json=SHORT[format], headers=headers, timeout=120)
            assert answer.status_code == 401 and KEY in answer.json()["error"]["message"]
        assert found.provider.bodies == []


def test_neither_urls_nor_keys_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"), proxied(tmp_path, format="gemini") as found:
        answer = found.http().post(path_of("gemini") + "?key=AI-own-secret", json=SHORT["gemini"])
        assert answer.status_code == 200 and "key=AI-own-secret" in found.provider.heads[-1][0]
        ours = [record for record in caplog.records if record.threadName != "MainThread"]
        assert not [record for record in ours if "AI-own-secret" in record.getMessage()]


@pytest.mark.parametrize("format", FORMATS)
def test_a_body_too_large_is_refused_before_it_is_read(tmp_path: Path, format: str) -> None:
    with proxied(tmp_path, format=format, proxy_max_body_bytes=20_000) as found:
        answer = found.http().post(path_of(format), content=b"x" * 20_001)
        assert answer.status_code == 413 and is_error_of(format, answer)
        chunks = (b"x" * 9_000 for _ in range(3))  # without a length
        assert found.http().post(path_of(format), content=chunks).status_code == 413
        assert found.provider.bodies == []


@pytest.mark.parametrize("body", [b"{", b'{"messages": [}', b"[1]", b'{"a": 1} x', b"\xff\xfe{}", b"[" * 200_000])
def test_what_is_no_request_passes_and_the_provider_says_so(tmp_path: Path, body: bytes) -> None:
    with proxied(tmp_path, proxy_from_tokens=0) as found:
        answer = found.http().post("/v1/messages", content=body)
        assert answer.status_code in (400, 502), answer.text
        assert found.provider.bodies == [body]
        assert answer.headers["x-optical-memory"].startswith("passed; reason=")


def test_unknown_models_other_content_types_and_encodings_pass(coding_session: Session, tmp_path: Path) -> None:
    replay = Replay.of(coding_session["messages"], "anthropic")
    body = body_of(replay, list(replay.requests())[-1])
    with proxied(tmp_path) as found:
        found.provider.checked, client = False, found.http()

        def sent(content: bytes, **headers: str) -> str:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            answer = client.post("/v1/messages", content=content, headers=named)
            return str(answer.headers["x-optical-memory"])

        unknown = json.dumps(body | {"model": "no-such-model"}).encode()
        assert sent(unknown) == "passed; reason=model-unknown" and found.provider.bodies[-1] == unknown
        text_only = json.dumps(body | {"model": "gpt-3.5-turbo"}).encode()
        assert sent(text_only) == "passed; reason=model-unknown"
        whole = json.dumps(body).encode()
        assert sent(whole, content_type="text/plain") == "passed; reason=content-type"
        assert sent(whole[: len(whole) // 2]) == "passed; reason=not-understood"
        packed = gzip.compress(whole)
        assert sent(packed[:-9], content_encoding="gzip") == "passed; reason=content-encoding"
        assert sent(packed, content_encoding="gzip") == "compressed"
        got = found.provider.heads[-1][1]
        assert "content-encoding" not in got and found.provider.bodies[-1].startswith(b'{"model"')


@pytest.mark.parametrize("format", FORMATS)
def test_a_provider_that_cannot_be_reached_is_502(tmp_path: Path, format: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        urls = {f"proxy_{name}_url": nowhere for name in ("openai", "anthropic", "gemini")}
        with served(store=f"sqlite:///{tmp_path / 'm.db'}", proxy="on", **urls) as service:
            answer = httpx.post(
                service.url + path_of(format), json=SHORT[format], headers={KEY: service.key("acme")}, timeout=120
            )
    assert answer.status_code == 502 and is_error_of(format, answer)


def test_a_provider_that_does_not_answer_in_time_is_504(tmp_path: Path) -> None:
    waits = threading.Event()

    def never(name: str, request: Body) -> Reply:
        waits.wait(60)
        return Reply(text="late")

    with proxied(tmp_path, script=never, proxy_seconds=0.5) as found:
        answer = found.http().post("/v1/messages", json=SHORT["anthropic"])
        waits.set()
    assert answer.status_code == 504 and is_error_of("anthropic", answer)


def test_a_provider_that_breaks_off_leaves_no_whole_answer(tmp_path: Path) -> None:
    def broken(place: int) -> None:
        if place == 3:
            raise OSError("gone")

    with proxied(tmp_path) as found:
        found.provider.pause = broken
        with (
            pytest.raises(httpx.RemoteProtocolError),
            found.http().stream("POST", "/v1/messages", json=SHORT["anthropic"] | {"stream": True}) as answer,
        ):
            assert answer.status_code == 200
            for _ in answer.iter_bytes():
                pass


def test_a_caller_that_goes_away_ends_the_request_to_the_provider(tmp_path: Path) -> None:
    told, ended = threading.Event(), threading.Event()

    def endless(place: int) -> None:
        told.set()
        if place:
            return
        for _ in range(600):  # the connection is looked at until it is closed, or a minute has passed
            time.sleep(0.1)
            try:
                if connection[0].recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
                    ended.set()
                    raise OSError("closed")
            except BlockingIOError:
                continue

    with proxied(tmp_path) as found:
        connection = found.provider.connections
        found.provider.pause = endless
        with found.http().stream("POST", "/v1/messages", json=SHORT["anthropic"] | {"stream": True}) as answer:
            next(answer.iter_bytes())
            assert told.wait(60)
        assert ended.wait(60), "the provider still writes to nobody"


def test_what_a_provider_refuses_of_ours_is_sent_as_it_came(coding_session: Session, tmp_path: Path) -> None:
    replay = Replay.of(coding_session["messages"], "anthropic")
    body = json.dumps(body_of(replay, list(replay.requests())[-1])).encode()
    with proxied(tmp_path) as found:
        found.provider.most_images = 0
        for reason in ("provider-refused", "refused-before"):
            answer = found.http().post("/v1/messages", content=body)
            assert answer.status_code == 200 and answer.headers["x-optical-memory"] == f"passed; reason={reason}"
            assert found.provider.bodies[-1] == body
        assert len(found.provider.bodies) == 3
        metrics = found.http().get("/metrics").text
        assert 'optical_memory_proxy_failures_total{kind="refused",provider="anthropic"} 1.0' in metrics


def test_unknown_paths_pass_or_say_why_not(tmp_path: Path) -> None:
    with proxied(tmp_path) as found:
        client = found.http()
        assert client.get("/v1/models", headers={"authorization": "Bearer sk"}).json()["object"] == "list"
        assert client.get("/v1/files/f-1/content?x=1", headers={"x-api-key": "sk"}).status_code == 200
        assert found.provider.heads[-1][0] == "/v1/files/f-1/content?x=1"
        lost = client.get("/v1/nothing-of-this-kind")
        assert lost.status_code == 404 and "which provider" in lost.json()["error"]["message"]
        bearer = {"authorization": f"Bearer {found.key}"}
        own = httpx.get(f"{found.url}/v1/nothing", headers=bearer, timeout=120)
        assert own.status_code == 404 and own.headers["content-type"] == "application/problem+json"
        listed = httpx.get(f"{found.url}/v1/sessions", headers=bearer, timeout=120)
        assert listed.json() == {"sessions": [], "next": None}
        assert all(found.key not in str(head) for _, head in found.provider.heads)
