"""The wire rules that a proxy must keep to: streams, markers, headers, the provider's own tools, limits, failures."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from proxying import Proxied, proxied
from replayed import Replay, body_of, path_of

from optical_memory.budget import get_profile
from optical_memory.service.quotas import Quota

FORMATS = ("openai", "responses", "anthropic", "gemini")
Session = dict[str, Any]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


def requests(coding_session: Session, format: str) -> list[dict[str, Any]]:
    replay = Replay.of(coding_session["messages"], format)
    return [body_of(replay, messages) for messages in replay.requests()]


def posted(found: Proxied, body: dict[str, Any], **headers: str) -> httpx.Response:
    """Send a body with spaces and other characters as they are, unlike what is made here."""
    content = json.dumps(body, ensure_ascii=False).encode()
    named = {"content-type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
    answer = found.http().post("/v1/messages", content=content, headers=named)
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("long", [False, True], ids=["passed", "compressed"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_stream_is_passed_on_event_by_event_byte_for_byte(
    coding_session: Session, tmp_path: Path, format: str, long: bool
) -> None:
    there, got = threading.Condition(), b""

    def until_there(place: int) -> None:
        """Write no event before the caller has the one before it."""
        with there:
            assert there.wait_for(lambda: got.count(b"\n\n") > place, 600), f"event {place} is held back"

    body = requests(coding_session, format)[-1 if long else 0] | ({} if format == "gemini" else {"stream": True})
    with proxied(tmp_path, format=format, proxy_recall=False) as found:
        found.provider.pause = until_there
        with found.http().stream("POST", path_of(format, stream=True), json=body) as answer:
            assert answer.headers["x-optical-memory"] == ("compressed" if long else "passed; reason=short")
            for chunk in answer.iter_raw():
                with there:
                    got += chunk
                    there.notify_all()
        assert got == b"".join(found.provider.streamed) and found.provider.refused == []


def lives(request: Any) -> list[str]:
    """Return the lives of a request's markers, in the order in which they are cached."""
    if isinstance(request, dict):
        inner = [life for key, value in request.items() if key != "cache_control" for life in lives(value)]
        mark = request.get("cache_control")
        return [*inner, *([mark.get("ttl", "5m")] if mark else [])]
    return [life for one in request for life in lives(one)] if isinstance(request, list) else []


@pytest.mark.parametrize("oldest", ["system", "message"])
def test_markers_of_an_hour_stay_before_those_of_minutes_and_none_is_added(
    coding_session: Session, tmp_path: Path, oldest: str
) -> None:
    hour = {"type": "ephemeral", "ttl": "1h"}
    with proxied(tmp_path) as found:
        for body in requests(coding_session, "anthropic")[20::9]:
            body["system"][1]["cache_control"] = hour
            if oldest == "message":  # which becomes a part of the past, and its marker with it
                early = body["messages"][2]
                words = [{"type": "text", "text": early["content"]}] if isinstance(early["content"], str) else None
                early["content"] = words or early["content"]
                early["content"][-1]["cache_control"] = hour
            answer = posted(found, body)
            got = found.provider.requests[-1][1]
            sent = lives({"tools": body["tools"], "system": body["system"], "messages": body["messages"]})
            kept = lives({"tools": got["tools"], "system": got["system"], "messages": got["messages"]})
            assert kept == sorted(kept, key=["1h", "5m"].index) and len(kept) <= len(sent) <= 4
            assert kept.count("1h") == sent.count("1h")
        assert answer.headers["x-optical-memory"] == "compressed" and found.provider.refused == []
        assert found.provider.counted[-1].cached > 0


def test_the_providers_own_tools_citations_and_an_open_call_keep_their_bytes(
    coding_session: Session, tmp_path: Path
) -> None:
    page = {"type": "web_search_result", "url": "https://pest.rs/", "title": "pest", "encrypted_content": "Eo8=é"}
    used = [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "pest  grammar"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [page | {"page_age": None}]},
        {"type": "text", "text": "The grammar is in the book."},
    ]
    body = requests(coding_session, "anthropic")[-1]
    call = {"type": "tool_use", "id": "toolu_open", "name": "bash", "input": {"command": "ls  -l"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_open", "content": "Cargo.toml"}
    newest = [
        {"role": "assistant", "content": used},
        {"role": "user", "content": "Go on."},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    body["messages"] += newest
    with proxied(tmp_path) as found:
        answer = posted(found, body)
        assert answer.headers["x-optical-memory"] == "compressed" and found.provider.refused == []
        got = found.provider.bodies[-1].decode()
        for message in newest:
            assert json.dumps(message, ensure_ascii=False) in got
        # older ones become a part of the past, with nothing that the provider would refuse
        body["messages"] = [body["messages"][0], newest[0], *body["messages"][:-4]]
        assert posted(found, body).headers["x-optical-memory"] == "compressed" and found.provider.refused == []


def test_headers_pass_with_what_was_made_as_well(coding_session: Session, tmp_path: Path) -> None:
    given = {
        "anthropic_beta": "context-1m-2025-08-07,files-api-2025-04-14", "anthropic_version": "2023-06-01",
        "x_api_key": "sk-ant-own", "user_agent": "agent/1", "x_stainless_lang": "js",
    }  # fmt: skip
    with proxied(tmp_path) as found:
        answer = posted(found, requests(coding_session, "anthropic")[-1], **given)
        assert answer.headers["x-optical-memory"] == "compressed" and answer.headers["request-id"] == "req_1"
        [(_, got)] = found.provider.heads
        assert {name: got[name.replace("_", "-")] for name in given} == given
        assert not [name for name in got if "optical" in name.lower()] and found.key not in str(got)


def with_images(body: dict[str, Any], count: int) -> dict[str, Any]:
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    own = {"role": "user", "content": [{"type": "image", "source": source}] * count}
    seen = {"role": "assistant", "content": "Go on."}
    return body | {"messages": [*body["messages"], seen, own]}


def test_images_leave_within_the_models_limit_the_users_own_counted(coding_session: Session, tmp_path: Path) -> None:
    body = requests(coding_session, "anthropic")[-1]
    most = get_profile(body["model"]).max_images
    with proxied(tmp_path) as found:
        assert posted(found, with_images(body, 2)).headers["x-optical-memory"] == "compressed"
        answer = posted(found, with_images(body, most))
        assert answer.headers["x-optical-memory"] == "passed; reason=images"
        assert found.provider.bodies[-1] == json.dumps(with_images(body, most), ensure_ascii=False).encode()


def test_a_request_grows_no_larger_than_the_settings_say(coding_session: Session, tmp_path: Path) -> None:
    body = requests(coding_session, "anthropic")[-1]
    with proxied(tmp_path, proxy_request_bytes=50_000) as found:
        assert posted(found, body).headers["x-optical-memory"] == "passed; reason=bytes"
        assert found.provider.bodies[-1] == json.dumps(body, ensure_ascii=False).encode()


def test_where_compression_fails_the_original_goes_and_a_header_and_a_figure_say_so(
    coding_session: Session, tmp_path: Path
) -> None:
    body = requests(coding_session, "anthropic")[-1]
    for reason, settings in (("limit", {}), ("slow", {"proxy_compress_seconds": 0.001})):
        folder = tmp_path / reason
        folder.mkdir()
        with proxied(folder, **settings) as found:
            found.service.engine.quotas.set("acme", Quota(turns=1))
            answer = posted(found, body)
            assert answer.headers["x-optical-memory"] == f"passed; reason={reason}"
            assert found.provider.bodies == [json.dumps(body, ensure_ascii=False).encode()]
            name = f'optical_memory_proxy_requests_total{{done="passed",provider="anthropic",reason="{reason}"}} 1.0'
            assert name in found.http().get("/metrics").text


def test_what_a_session_lost_and_saved_adds_up(coding_session: Session, tmp_path: Path) -> None:
    total = {"lost": 0.0, "saved": 0.0}
    with proxied(tmp_path) as found:
        for body in requests(coding_session, "anthropic")[6:60:3]:
            headers = posted(found, body).headers
            if headers["x-optical-memory"] == "compressed":
                said = float(headers["x-optical-memory-saved-usd"])
                assert headers["x-optical-memory-saved-usd"][0] == ("-" if said < 0 else "+")
                total["lost" if said < 0 else "saved"] += abs(said)
                held = float(headers["x-optical-memory-session-saved-usd"])
                assert held == pytest.approx(total["saved"] - total["lost"], abs=1e-4)
        assert total["lost"] > 0 and total["saved"] > 0
        lines = found.http().get("/metrics").text.splitlines()
        for name, dollars in total.items():
            [line] = [one for one in lines if one.startswith(f"optical_memory_proxy_{name}_usd_total{{")]
            assert float(line.rpartition(" ")[2]) == pytest.approx(dollars, abs=1e-4)
