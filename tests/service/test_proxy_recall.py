"""The recall tool behind the proxy: the model looks something up, and the caller gets one answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from provider_server import Body, Reply
from proxying import Proxied, proxied
from replayed import Replay, body_of, path_of

FORMATS = ("openai", "responses", "anthropic", "gemini")
Session = dict[str, Any]


def looking_up(name: str, request: Body) -> Reply:
    """Look up the crate's name once, where the tool is there; then say what was found."""
    lists = request.get("messages") or request.get("input") or request["contents"]
    newest = json.dumps(lists[-1])
    if "[turn " in newest:
        return Reply(text="Found: " + ("pest" if "pest" in newest else "nothing"))
    if '"recall"' in json.dumps(request.get("tools", [])):
        return Reply(tool="recall", arguments={"question": "pest meta optimizer skipper"})
    return Reply(text="No tool.")


def long_request(coding_session: Session, format: str) -> Body:
    replay = Replay.of(coding_session["messages"], format)
    return body_of(replay, list(replay.requests())[-1])


def texts(format: str, answer: Body) -> str:
    if format == "openai":
        return str(answer["choices"][0]["message"]["content"])
    if format == "responses":
        return str(answer["output"][0]["content"][0]["text"])
    if format == "anthropic":
        return str(answer["content"][0]["text"])
    return str(answer["candidates"][0]["content"]["parts"][0]["text"])


def posted(found: Proxied, format: str, body: Body) -> Any:
    answer = found.http().post(path_of(format), json=body)
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("format", FORMATS)
def test_what_the_model_looks_up_is_answered_here(coding_session: Session, tmp_path: Path, format: str) -> None:
    with proxied(tmp_path, format=format, script=looking_up) as found:
        answer = posted(found, format, long_request(coding_session, format))
        assert answer.headers["x-optical-memory"] == "compressed" and answer.headers["x-optical-memory-recalls"] == "1"
        assert texts(format, answer.json()) == "Found: pest"
        assert found.provider.refused == [] and len(found.provider.requests) == 2
        used, both = json.dumps(answer.json().get("usage") or answer.json()["usageMetadata"]), found.provider.counted
        fresh = both[0].fresh + both[1].fresh if format == "anthropic" else both[0].total + both[1].total
        assert f": {fresh}" in used, "the caller is told of all that was paid for"


@pytest.mark.parametrize("format", FORMATS)
def test_a_stream_gets_no_tool_that_would_hold_it_back(coding_session: Session, tmp_path: Path, format: str) -> None:
    with proxied(tmp_path, format=format, script=looking_up) as found:
        body = long_request(coding_session, format)
        body |= {} if format == "gemini" else {"stream": True}
        answer = found.http().post(path_of(format, stream=True), json=body)
        assert answer.headers["x-optical-memory"] == "compressed" and '"No "' in answer.text
        assert "call the tool" not in found.provider.bodies[-1].decode()


@pytest.mark.parametrize("format", FORMATS)
def test_a_model_that_only_looks_up_is_stopped(coding_session: Session, tmp_path: Path, format: str) -> None:
    def always(name: str, request: Body) -> Reply:
        config = json.dumps([request.get("tool_choice"), request.get("toolConfig")])
        if "none" in config.lower():
            return Reply(text="Enough.")
        return Reply(tool="recall", arguments={"question": "again"})

    with proxied(tmp_path, format=format, script=always) as found:
        answer = posted(found, format, long_request(coding_session, format))
        assert texts(format, answer.json()) == "Enough." and answer.headers["x-optical-memory-recalls"] == "4"
        assert found.provider.refused == []


def test_a_tool_of_the_clients_own_name_is_left_alone(coding_session: Session, tmp_path: Path) -> None:
    with proxied(tmp_path, script=looking_up) as found:
        body = long_request(coding_session, "anthropic")
        body["tools"][0]["name"] = "recall"
        answer = posted(found, "anthropic", body).json()
        assert answer["content"][0]["type"] == "tool_use" and len(found.provider.requests) == 1
