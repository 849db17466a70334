"""Calls and results leave in pairs that no provider refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optical_memory.formats import FORMATS, from_turns, to_turns
from optical_memory.turns import ToolCall, Turn
from optical_memory.wording import NO_RESULT


def user(text: str = "Hm?") -> Turn:
    return Turn(id=f"u-{text}", role="user", text=text)


def said(text: str = "", *call_ids: str) -> Turn:
    calls = tuple(ToolCall(id=each, name=f"f_{each[-1:]}", arguments="{}") for each in call_ids)
    return Turn(id=f"a-{text}-{call_ids}", role="assistant", text=text, tool_calls=calls)


def result(call_id: str | None, text: str = "done") -> Turn:
    return Turn(id=f"r-{call_id}-{text}", role="tool", text=text, tool_call_id=call_id)


def check(messages: list[dict[str, Any]], name: str) -> None:
    """Raise where a provider would answer 400: each call followed at once by one result, and no other results."""
    steps = list(_steps(_combined(messages, name), name))
    waiting: list[str] = []
    ever: set[str] = set()
    for number, (kind, ids) in enumerate(steps):
        if kind == "result":
            for call_id in ids:
                assert call_id in waiting or (waiting and call_id is None and name == "huggingface"), (number, steps)
                waiting.remove(call_id or waiting[0])
        else:
            assert not waiting or name == "responses", (number, steps)
            if kind == "calls":
                assert len(set(ids)) == len(ids), steps
                if name == "anthropic":
                    assert not ever & set(ids), steps
                ever |= set(ids)
                waiting += ids


def _combined(messages: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Join neighbouring messages of the model, as Anthropic and Gemini do with what their own libraries append."""
    body = {"anthropic": "content", "gemini": "parts"}.get(name)
    out: list[dict[str, Any]] = []
    for message in messages:
        if body and out and message["role"] == out[-1]["role"] in ("assistant", "model"):
            out[-1] = out[-1] | {body: _parts(out[-1][body]) + _parts(message[body])}
        else:
            out.append(message)
    return out


def _parts(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _steps(messages: list[dict[str, Any]], name: str) -> Iterator[tuple[str, list[str]]]:
    for message in messages:
        items = [message]
        if name == "anthropic" and isinstance(message["content"], list):
            items = message["content"]
        if name == "gemini":
            items = message["parts"]
        calls = [call["id"] for call in message.get("tool_calls") or ()]
        results = []
        for item in items:
            if item.get("type") in ("tool_use", "function_call"):
                calls.append(item["id"] if name == "anthropic" else item["call_id"])
            elif "functionCall" in item:
                calls.append(item["functionCall"]["id"])
            elif item.get("type") in ("tool_result", "function_call_output") or item.get("role") == "tool":
                results.append(item.get("tool_use_id") or item.get("call_id") or item.get("tool_call_id"))
            elif "functionResponse" in item:
                results.append(item["functionResponse"]["id"])
        if name == "gemini" and results:
            assert len(results) == len(items), "responses must be alone in their content"
        yield ("result", results) if results else ("calls", calls) if calls else ("text", [])


@pytest.mark.parametrize("name", FORMATS)
def test_an_orphan_result_is_a_users_record(name: str) -> None:
    messages = from_turns([user(), result("call_x", "42 °C")], name)
    check(messages, name)
    assert [message["role"] for message in messages] == ["user", "user"]
    assert "42 °C" in json.dumps(messages, ensure_ascii=False) and "call_x" in json.dumps(messages)
    assert "call_x" in json.dumps(from_turns([result("call_x")], name))
    assert "done" in json.dumps(from_turns([result(None)], name))


def test_an_orphan_result_keeps_its_image(png_url: str) -> None:
    block = {"type": "tool_result", "tool_use_id": "t", "content": [
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}]}  # fmt: skip
    turns = to_turns([{"role": "user", "content": [block]}])
    parts = from_turns(turns, "openai")[0]["content"]
    assert parts[1] == {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    assert from_turns(turns, "anthropic")[0]["content"][0]["type"] == "text"
    assert from_turns(turns, "anthropic", repair=False) == [{"role": "user", "content": [block]}]


@pytest.mark.parametrize("name", FORMATS)
def test_a_call_without_a_result_gets_one_when_the_conversation_goes_on(name: str) -> None:
    for after in ([user()], [user(), said("Well")], [result("a"), said("Well")], [result("a"), user()]):
        messages = from_turns([user(), said("Wait.", "a", "b"), *after], name)
        check(messages, name)
        assert json.dumps(messages).count(NO_RESULT) == (1 if after[0].role == "tool" else 2)
    for waiting in ([], [result("a")]):
        assert NO_RESULT not in json.dumps(from_turns([user(), said("Wait.", "a", "b"), *waiting], name))


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "responses"])
def test_what_was_sent_before_a_late_result_does_not_change(name: str) -> None:
    turns = [
        user(),
        said("", "a", "b"),
        result("b"),
        user("Still there?"),
        result("a", "late"),
        said("Yes"),
        result("c"),
    ]
    seen: list[dict[str, Any]] = []
    for count in range(4, len(turns) + 1):
        messages = from_turns(turns[:count], name)
        check(messages, name)
        assert messages[: len(seen)] == seen
        seen = messages
    assert "late" in json.dumps(seen)


def test_responses_keep_a_late_result_where_it_is() -> None:
    messages = from_turns([said("", "a"), user(), result("a")], "responses")
    assert [item.get("type", "message") for item in messages] == ["function_call", "message", "function_call_output"]


@pytest.mark.parametrize("name", FORMATS)
def test_results_in_any_order_and_calls_in_several_turns(name: str) -> None:
    turns = [
        user(),
        said("Look:"),
        said("", "a"),
        said("", "b", "c"),
        result("c"),
        result("a"),
        result("b"),
        said("Ok."),
    ]
    messages = from_turns(turns, name)
    check(messages, name)
    if name == "gemini":
        answers = [part["functionResponse"] for part in messages[2]["parts"]]
        assert [answer["name"] for answer in answers] == ["f_a", "f_b", "f_c"]
        assert [message["role"] for message in messages] == ["user", "model", "user", "model"]
    if name in ("openai", "huggingface"):
        assert len(messages) == 6
    if name == "anthropic":
        assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant"]


def test_neighbouring_openai_messages_with_calls_become_one() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "assistant", "content": "One.", "tool_calls": [{"id": "a", **call}]},
        {"role": "assistant", "content": "Two.", "tool_calls": [{"id": "b", **call}]},
        {"role": "tool", "tool_call_id": "a", "content": ""},
        {"role": "tool", "tool_call_id": "b", "content": ""},
    ]
    turns = to_turns(messages)
    mended = from_turns(turns, "openai")
    check(mended, "openai")
    assert mended[0]["content"] == "One.\n\nTwo." and len(mended) == 3
    assert from_turns(turns, "openai", repair=False) == messages


@pytest.mark.parametrize("name", FORMATS)
def test_ids_that_a_provider_refuses_are_replaced_in_pairs(name: str) -> None:
    strange = "functions.Bash:0" + "é" * 60
    turns = [
        user(),
        said("", strange),
        result(strange),
        said("", strange),
        result(strange),
        said("", "x", "x"),
        result("x"),
    ]
    messages = from_turns(turns, name)
    check(messages, name)
    ids = [call_id for kind, ids in _steps(messages, name) if kind == "calls" for call_id in ids]
    assert len(ids) == 4
    if FORMATS[name].call_id.fullmatch(strange):
        assert ids[0] == strange
    else:
        assert strange not in json.dumps(messages, ensure_ascii=False)
    assert from_turns(turns, name) == messages


steps = st.lists(
    st.one_of(
        st.builds(user, st.sampled_from(["one", "two"])),
        st.builds(said, st.sampled_from(["", "text"]), st.sampled_from("abc")),
        st.builds(said, st.sampled_from(["", "text"]), st.sampled_from("abc"), st.sampled_from("abc")),
        st.builds(said, st.sampled_from(["text", "more"])),
        st.builds(result, st.sampled_from([*"abc", None]), st.sampled_from(["r1", "r2"])),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(steps, st.sampled_from(list(FORMATS)))
def test_any_history_leaves_valid_and_complete(history: list[Turn], name: str) -> None:
    messages = from_turns(history, name)
    check(messages, name)
    assert from_turns(history, name) == messages
    written = json.dumps(messages)
    for text in {turn.text for turn in history if turn.text}:
        expected = sum(turn.text == text for turn in history)
        assert written.count(text) >= expected
    # What came in a format and goes through again is valid as well.
    own = to_turns(from_turns(history, name, repair=False), name)
    check(from_turns(own, name), name)
