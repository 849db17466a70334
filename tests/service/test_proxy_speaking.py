"""The recall tool in streams: what the model says goes on at once, and what it looks up is answered in between."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from provider_server import Body, Reply
from proxying import Proxied, proxied
from replayed import Replay, body_of, path_of

Session = dict[str, Any]
LOOKUP = {"question": "pest meta optimizer skipper"}
SAID = "Let me look that up. "


def newest(request: Body) -> str:
    return json.dumps((request.get("messages") or request.get("input") or request["contents"])[-1])


def looking(name: str, request: Body) -> Reply:
    """Say so and look the crate's name up; then say what was found."""
    if "[turn " in newest(request):
        return Reply(text="Found: " + ("pest" if "pest" in newest(request) else "nothing"))
    if '"recall"' not in json.dumps(request.get("tools", [])):
        return Reply(text="No tool.")
    return Reply(text=SAID if "out loud" in newest(request) else "", tool="recall", arguments=LOOKUP)


def both(name: str, request: Body) -> Reply:
    """Run a command and look something up at once; then say what came back from each."""
    messages = json.dumps(request["messages"][-3:])
    if "two files" in messages:
        return Reply(text=f"Found: {'pest' if '[turn ' in messages and 'pest' in messages else 'nothing'}")
    return Reply(text=SAID, tool="recall", arguments=LOOKUP, also=("bash", {"command": "ls"}))


def long_request(coding_session: Session, format: str, said: str = "", **more: Any) -> Body:
    replay = Replay.of(coding_session["messages"], format)
    body = body_of(replay, list(replay.requests())[-1], **more)
    if format == "anthropic":
        body["messages"][-1]["content"].append({"type": "text", "text": said or "Go on."})
    elif format == "openai":
        body["messages"].append({"role": "user", "content": said or "Go on."})
    return body


def blocks(found: Proxied, body: Body) -> tuple[list[Any], Any]:
    """Stream with Anthropic's client: what its events say, and the message that it makes of them."""
    with found.anthropic().messages.stream(**body) as stream:
        return list(stream), stream.get_final_message()


def chat(found: Proxied, body: Body) -> tuple[list[Any], Any]:
    """Stream with OpenAI's client: its chunks, and the completion that it makes of them."""
    with found.openai().chat.completions.stream(**body, stream_options={"include_usage": True}) as stream:
        return list(stream), stream.get_final_completion()


@pytest.mark.parametrize("said", ["", "Say out loud what you do."], ids=["at once", "after words"])
def test_a_message_stream_goes_on_after_a_lookup(coding_session: Session, tmp_path: Path, said: str) -> None:
    with proxied(tmp_path, script=looking) as found:
        events, message = blocks(found, long_request(coding_session, "anthropic", said))
        assert [block.text for block in message.content] == ([SAID] if said else []) + ["Found: pest"]
        assert message.stop_reason == "end_turn"
        assert [event.type for event in events].count("message_start") == 1
        assert {event.index for event in events if event.type == "content_block_start"} == set(range(1 + bool(said)))
        assert not [event for event in events if "recall" in event.model_dump_json()]
        both_counted = found.provider.counted
        assert message.usage.input_tokens == sum(one.fresh for one in both_counted)
        assert message.usage.cache_read_input_tokens == sum(one.cached for one in both_counted)
        assert message.usage.output_tokens == len(both_counted) == 2
        assert found.provider.refused == []
        assert 'optical_memory_proxy_recalls_total{provider="anthropic"} 1.0' in found.http().get("/metrics").text


@pytest.mark.parametrize("said", ["", "Say out loud what you do."], ids=["at once", "after words"])
def test_a_chat_stream_goes_on_after_a_lookup(coding_session: Session, tmp_path: Path, said: str) -> None:
    with proxied(tmp_path, format="openai", script=looking) as found:
        events, made = chat(found, long_request(coding_session, "openai", said))
        [choice] = made.choices
        assert choice.message.content == (SAID if said else "") + "Found: pest" and not choice.message.tool_calls
        assert choice.finish_reason == "stop" and made.id == "c1"
        assert {event.chunk.id for event in events if event.type == "chunk"} == {"c1"}
        assert made.usage.prompt_tokens == sum(one.total for one in found.provider.counted)
        assert len(found.provider.counted) == 2 and found.provider.refused == []


def test_what_is_said_before_a_lookup_is_not_held_back(coding_session: Session, tmp_path: Path) -> None:
    heard = threading.Event()

    def until_heard(place: int) -> None:
        """Write no further than the words before the call until the caller has them."""
        if place == 5:
            assert heard.wait(600)

    with proxied(tmp_path, script=looking) as found:
        found.provider.pause = until_heard
        body = long_request(coding_session, "anthropic", "Say out loud what you do.") | {"stream": True}
        with found.http().stream("POST", "/v1/messages", json=body) as answer:
            text = ""
            for piece in answer.iter_text():
                text += piece
                if '"text_delta"' in text:
                    heard.set()
        assert heard.is_set() and "message_stop" in text and text.count("message_start") == 2  # the name, and the type


def test_a_call_of_the_callers_in_a_stream_comes_without_the_lookup_beside_it(
    coding_session: Session, tmp_path: Path
) -> None:
    with proxied(tmp_path, script=both) as found:
        body = long_request(coding_session, "anthropic")
        _, message = blocks(found, body)
        assert [block.type for block in message.content] == ["text", "tool_use"] and message.stop_reason == "tool_use"
        assert message.content[1].name == "bash" and message.content[1].input == {"command": "ls"}
        result = {"type": "tool_result", "tool_use_id": message.content[1].id, "content": "two files"}
        said = {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in message.content]}
        body["messages"] += [said, {"role": "user", "content": [result]}]
        _, message = blocks(found, body)
        assert [block.text for block in message.content] == ["Found: pest"] and found.provider.refused == []


def test_a_chats_call_in_a_stream_comes_without_the_lookup_beside_it(coding_session: Session, tmp_path: Path) -> None:
    with proxied(tmp_path, format="openai", script=both) as found:
        body = long_request(coding_session, "openai")
        _, made = chat(found, body)
        [call] = made.choices[0].message.tool_calls
        assert made.choices[0].message.content == SAID and made.choices[0].finish_reason == "tool_calls"
        assert call.function.name == "bash" and json.loads(call.function.arguments) == {"command": "ls"}
        own = {"id": call.id, "type": "function", "function": {"name": "bash", "arguments": call.function.arguments}}
        said = {"role": "assistant", "content": SAID, "tool_calls": [own]}
        body["messages"] += [said, {"role": "tool", "tool_call_id": call.id, "content": "two files"}]
        _, made = chat(found, body)
        assert made.choices[0].message.content == "Found: pest" and found.provider.refused == []


@pytest.mark.parametrize("format", ["openai", "anthropic"])
def test_a_model_that_only_looks_up_is_stopped(coding_session: Session, tmp_path: Path, format: str) -> None:
    def always(name: str, request: Body) -> Reply:
        stopped = "none" in json.dumps(request.get("tool_choice"))
        return Reply(text="Enough.") if stopped else Reply(tool="recall", arguments=LOOKUP)

    with proxied(tmp_path, format=format, script=always) as found:
        if format == "anthropic":
            assert [block.text for block in blocks(found, long_request(coding_session, format))[1].content] == [
                "Enough."
            ]
        else:
            assert chat(found, long_request(coding_session, format))[1].choices[0].message.content == "Enough."
        assert len(found.provider.requests) == 5 and found.provider.refused == []


def test_a_stream_that_cannot_go_on_is_cut(coding_session: Session, tmp_path: Path) -> None:
    with proxied(tmp_path, script=looking) as found:

        def refusing(name: str, request: Body) -> Reply:
            found.provider.most_images = 0
            return looking(name, request)

        found.provider.script = refusing
        body = long_request(coding_session, "anthropic") | {"stream": True}
        with (
            pytest.raises(httpx.RemoteProtocolError),
            found.http().stream("POST", "/v1/messages", json=body) as answer,
        ):
            assert answer.headers["x-optical-memory"] == "compressed"
            answer.read()
        assert 'failures_total{kind="upstream-cut",provider="anthropic"} 1.0' in found.http().get("/metrics").text


@pytest.mark.parametrize("format", ["responses", "gemini", "anthropic"])
def test_streams_whose_pieces_are_tied_to_the_call_have_no_tool(
    coding_session: Session, tmp_path: Path, format: str
) -> None:
    more: Body = {} if format == "gemini" else {"stream": True}
    if format == "anthropic":
        more |= {"max_tokens": 4_000, "thinking": {"type": "enabled", "budget_tokens": 2_000}}
    with proxied(tmp_path, format=format, script=looking) as found:
        found.provider.checked = format != "anthropic"  # the recorded session has no thoughts before its calls
        answer = found.http().post(path_of(format, stream=True), json=long_request(coding_session, format, **more))
        assert answer.headers["x-optical-memory"] == "compressed" and '"No "' in answer.text
        assert "call the tool" not in found.provider.bodies[-1].decode()
