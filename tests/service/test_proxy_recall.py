"""The recall tool behind the proxy: the model looks something up, and the caller gets one answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from provider_server import Body, Reply
from proxying import Proxied, proxied
from replayed import Replay, body_of, path_of
from server import served

from optical_memory.service.proxy.asides import aside_of, placed, put_back
from optical_memory.service.proxy.body import Item
from optical_memory.service.proxy.compose import Composed
from optical_memory.service.proxy.recalling import without_recall
from optical_memory.service.proxy.shapes import RESPONSES

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


def both(name: str, request: Body) -> Reply:
    """Look something up and run a command at once; then say what came back from each."""
    said = request.get("messages") or request.get("input") or request["contents"]
    if "what next" in json.dumps(said[-1]):
        return Reply(text=f"Known: {'pest' if '[turn ' in json.dumps(said[-8:]) else 'nothing'}")
    written = json.dumps(said[-4:])
    if "of the caller" in written:
        return Reply(text=f"Found: {'pest' if '[turn ' in written and 'pest' in written else 'nothing'}")
    asked = ("bash", {"command": "ls"})
    lookup = ("recall", {"question": "pest meta optimizer skipper"})
    first, second = (asked, lookup) if "bash first" in written else (lookup, asked)
    return Reply(tool=first[0], arguments=first[1], also=second, thinking="Both." if name == "anthropic" else "")


def gone_on(format: str, body: Body, answer: Body, *, text: str = "") -> Body:
    """Return a client's next request: with the answer, and the result of its calls or else what the user says."""
    if format == "openai":
        said = answer["choices"][0]["message"]
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": RESULT} for call in said.get("tool_calls", ())
        ]
        return body | {"messages": [*body["messages"], said, *(results or [{"role": "user", "content": text}])]}
    if format == "anthropic":
        calls = [block for block in answer["content"] if block["type"] == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": call["id"], "content": RESULT} for call in calls]
        own = [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": results or text}]
        return body | {"messages": [*body["messages"], *own]}
    if format == "responses":
        calls = [item for item in answer["output"] if item["type"] == "function_call"]
        results = [{"type": "function_call_output", "call_id": call["call_id"], "output": RESULT} for call in calls]
        own = [*answer["output"], *(results or [{"role": "user", "content": text}])]
        return body | {"input": [*body["input"], *own]}
    said = answer["candidates"][0]["content"]
    names = [part["functionCall"]["name"] for part in said["parts"] if "functionCall" in part]
    parts = [{"functionResponse": {"name": name, "response": {"output": RESULT}}} for name in names]
    return body | {"contents": [*body["contents"], said, {"role": "user", "parts": parts or [{"text": text}]}]}


RESULT = "of the caller: two files"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("order", ["recall first", "bash first"])
def test_a_lookup_beside_a_call_of_the_callers_is_there_in_the_next_request(
    coding_session: Session, tmp_path: Path, format: str, order: str
) -> None:
    with proxied(tmp_path, format=format, script=both) as found:
        urls = {f"proxy_{name}_url": found.provider.url for name in ("openai", "anthropic", "gemini")}
        with served(store=f"sqlite:///{tmp_path / 'memory.db'}", proxy="on", **urls) as second:
            body = asked_in(format, long_request(coding_session, format), order)
            one = posted(found, format, body)
            assert one.headers["x-optical-memory-recalls"] == "1"
            assert '"recall"' not in one.text and "[turn " not in one.text and '"bash"' in one.text
            body = gone_on(format, body, one.json())
            other = httpx.post(second.url + path_of(format), json=body, headers=found.headers, timeout=600)
            assert texts(format, other.json()) == "Found: pest", "another replica has what was looked up"
            body = gone_on(format, body, other.json(), text="what next")
            assert texts(format, posted(found, format, body).json()) == "Known: pest", "and it stays there"
            assert found.provider.refused == []
            last = found.provider.counted[-1]
            assert last.written == 0 if format == "anthropic" else last.cached > 0.8 * last.total, "all before is read"
            found.http().put("/v1/proxy", json={"mode": "off"}, headers=admin(found)).raise_for_status()
            assert posted(found, format, body).headers["x-optical-memory"] == "passed; reason=off"
            assert found.provider.refused == [], "the caller's own list is as valid as it stands"


def admin(found: Proxied) -> dict[str, str]:
    return {"Authorization": f"Bearer {found.service.key('acme')}"}


def asked_in(format: str, body: Body, order: str) -> Body:
    """Return a request whose last message names the order of the calls that the model is to make."""
    key = {"responses": "input", "gemini": "contents"}.get(format, "messages")
    part = {"text": order} if format == "gemini" else {"type": "text", "text": order}
    *before, last = body[key]
    if format == "gemini":
        return body | {key: [*before, {"role": "user", "parts": [*last["parts"], part]}]}
    if format == "anthropic":
        return body | {key: [*before, {"role": "user", "content": [*last["content"], part]}]}
    return body | {key: [*before, last, {"role": "user", "content": order}]}


def test_what_was_looked_up_goes_with_what_is_forgotten(coding_session: Session, tmp_path: Path) -> None:
    with proxied(tmp_path, script=both) as found:
        body = long_request(coding_session, "anthropic")
        answer = posted(found, "anthropic", body)
        session = answer.headers["x-optical-memory-session"]
        with found.service.client("acme") as client:
            client.post(f"/v1/sessions/{session}/forget", json={"turn_id": "#2"}).raise_for_status()
        again = posted(found, "anthropic", gone_on("anthropic", body, answer.json()))
        assert texts("anthropic", again.json()) == "Found: nothing"
        assert found.provider.refused == []


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


def test_reasoning_that_was_for_a_lookup_alone_goes_and_comes_back_with_it() -> None:
    def thought(name: str) -> Body:
        return {"type": "reasoning", "id": name, "summary": []}

    def call(name: str, of: str) -> Body:
        return {"type": "function_call", "call_id": of, "name": name, "arguments": "{}"}

    lookup, own, found = call("recall", "c1"), call("bash", "c2"), {"type": "function_call_output", "call_id": "c1"}
    result = {"type": "function_call_output", "call_id": "c2", "output": "two files"}
    for said, left, whole in (
        ([thought("r1"), lookup, thought("r2"), own], [thought("r2"), own], ["r1", "c1", "c1", "r2", "c2", "c2"]),
        ([thought("r1"), lookup, own], [thought("r1"), own], ["r1", "c1", "c1", "c2", "c2"]),
        ([thought("r1"), own, lookup], [thought("r1"), own], ["r1", "c1", "c1", "c2", "c2"]),
    ):
        answer = {"output": said}
        assert without_recall(RESPONSES, answer) == {"output": left}
        aside = aside_of(RESPONSES, answer, ["pest"])
        assert aside.results == [found | {"output": "pest"}]
        items = [Item(json.dumps(one), one) for one in ({"role": "user", "content": "Go on."}, *left, result)]
        raws = tuple(item.sent for item in items)
        composed = Composed(raws=raws, tokens=(1,) * len(raws), images=0)
        back = put_back(composed, RESPONSES, placed(RESPONSES, items, [aside]), len)
        made = [json.loads(raw) for raw in back.raws]
        assert [item.get("call_id") or item.get("id") for item in made[1:]] == whole
        assert sum(back.tokens) == sum(composed.tokens) + len(aside.text)
