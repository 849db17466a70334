"""What each provider's shapes mean, and what is wrong with those that mean nothing."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic.types import TextBlock, ToolUseBlock
from openai.types.chat import ChatCompletionMessage

from optical_memory.errors import InputError, NotFoundError, UnknownRoleError
from optical_memory.formats import from_turns, get_format, to_turns
from optical_memory.turns import ToolCall, Turn, open_calls, transcript

Conversations = dict[str, list[dict[str, Any]]]


def test_openai(conversations: Conversations) -> None:
    turns = to_turns(conversations["openai"], "openai", created_at=7.0)
    assert [turn.role for turn in turns[:5]] == ["system", "developer", "user", "assistant", "tool"]
    assert turns[1].text == "Use metric units." and turns[1].is_instruction
    user = turns[2]
    assert user.name == "anna" and user.text == "What is this?" and user.created_at == 7.0
    assert [part.kind for part in user.parts] == ["text", "image", "other", "other", "image"]
    assert (user.parts[1].width, user.parts[1].height) == (64, 48)
    assert user.parts[4].url == "https://example.com/b.jpg" and user.parts[4].width is None
    assert turns[3].tool_calls == (
        ToolCall(id="call_A", name="look", arguments='{"deep":true}'),
        ToolCall(id="call_B", name="weigh", arguments='{"unit": "kg"'),
        ToolCall(id="call_C", name="python", arguments="print(1)"),
    )
    assert turns[5].text == "a red square" and turns[5].parts == () and turns[5].tool_call_id == "call_A"
    assert turns[7].text == "A red square."
    assert turns[9].text == "I can't help with that." and turns[10].text == "Really not."
    assert turns[12].tool_calls[0].id == turns[13].tool_call_id != ""
    assert turns[14].id == "msg-9" and len({turn.id for turn in turns}) == len(turns)
    assert open_calls(turns) == {}


def test_responses(conversations: Conversations) -> None:
    turns = to_turns(conversations["responses"], "responses")
    assert len(turns) == len(conversations["responses"])
    assert turns[2].role == "assistant" and turns[2].text == "" and turns[2].parts[0].label == "[reasoning]"
    assert [turn.tool_calls[0].id for turn in turns[3:6]] == ["call_A", "call_B", "call_C"]
    assert turns[8].tool_call_id == "call_A" and turns[8].parts[1].width == 64
    assert turns[10].tool_calls[0].name == "computer" and turns[11].parts[0].kind == "image"
    assert turns[13].role == "user"
    assert turns[15].text == "A red square." and turns[15].id == "msg_1"
    assert turns[17].text == "I can't."
    assert open_calls(turns) == {}
    assert len({turn.id for turn in turns}) == len(turns)


def test_anthropic(conversations: Conversations) -> None:
    turns = to_turns(conversations["anthropic"], "anthropic")
    assert [turn.role for turn in turns] == [
        "system", "user", "assistant", "tool", "tool", "user", "assistant", "tool", "assistant",
    ]  # fmt: skip
    assert turns[2].text == "Let me look." and turns[2].id == "msg_01"
    assert turns[2].tool_calls[1] == ToolCall(id="toolu_B", name="weigh", arguments="{}")
    assert turns[3].text == "no scale" and turns[3].parts[1].label == "[error]"
    assert turns[4].text == "seen" and turns[4].parts[1].width == 64
    assert turns[5].text == "Go on, please."
    assert turns[6].text == "It is red." and turns[6].tool_calls[0].name == "end"
    assert turns[7].text == "" and turns[7].tool_call_id == "toolu_C"


def test_gemini(conversations: Conversations) -> None:
    turns = to_turns(conversations["gemini"], "gemini")
    assert [turn.role for turn in turns] == [
        "system", "user", "assistant", "tool", "tool", "tool", "user", "assistant", "user", "assistant",
    ]  # fmt: skip
    calls = turns[2].tool_calls
    assert turns[2].text == "Let me look." and [call.name for call in calls] == ["look", "look", "weigh"]
    assert [turn.tool_call_id for turn in turns[3:6]] == [call.id for call in calls]
    assert calls[2].id == "fc-3" and len({call.id for call in calls}) == 3
    assert turns[3].text == "seen" and turns[4].parts[1].label == "[error]"
    assert turns[5].text == '{"kg": 3, "exact": true}' and turns[5].name == "weigh"
    assert turns[7].text == "It is red."
    again = to_turns(conversations["gemini"], "gemini")
    assert [turn.tool_calls for turn in again] == [turn.tool_calls for turn in turns]  # the same ids each time


def test_huggingface(conversations: Conversations) -> None:
    turns = to_turns(conversations["huggingface"], "huggingface")
    assert [turn.role for turn in turns] == ["system", "user", "assistant", "tool", "tool", "assistant"]
    assert [part.kind for part in turns[1].parts] == ["image", "image", "image", "other", "text"]
    assert turns[1].parts[1].width == 64
    assert [turn.tool_call_id for turn in turns[3:5]] == [call.id for call in turns[2].tool_calls]


def test_results_without_ids_find_calls_of_earlier_lists(conversations: Conversations) -> None:
    for name in ("gemini", "huggingface"):
        messages = conversations[name]
        turns: list[Turn] = []
        for message in messages:
            turns += to_turns([message], name, before=turns)
        assert open_calls(turns) == {}
        whole = to_turns(messages, name)
        assert [(turn.tool_calls, turn.tool_call_id) for turn in turns] == [
            (turn.tool_calls, turn.tool_call_id) for turn in whole
        ]


def test_earlier_turns_are_read_only_when_needed(conversations: Conversations) -> None:
    def fail() -> Iterator[Turn]:
        raise AssertionError("read without need")
        yield

    for name in ("responses", "anthropic"):
        to_turns(conversations[name], name, before=fail())
    with pytest.raises(AssertionError):
        to_turns(conversations["gemini"], "gemini", before=fail())


def test_equal_calls_without_ids_have_ids_of_their_own() -> None:
    call = {"role": "model", "parts": [{"functionCall": {"name": "now", "args": {}}}]}
    answer = {"role": "function", "parts": [{"functionResponse": {"name": "now", "response": {"output": "12:00"}}}]}
    turns = to_turns([call, answer, call, answer], "gemini")
    assert [turn.role for turn in turns] == ["assistant", "tool"] * 2
    assert turns[0].tool_calls[0].id != turns[2].tool_calls[0].id
    assert [turns[1].tool_call_id, turns[3].tool_call_id] == [turns[0].tool_calls[0].id, turns[2].tool_calls[0].id]


def test_library_objects_are_taken_as_their_json() -> None:
    answer = ChatCompletionMessage.model_validate(
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        }
    )
    blocks = [
        TextBlock(type="text", text="Hm.", citations=None),
        ToolUseBlock(type="tool_use", id="t", name="f", input={"a": 1}, caller={"type": "direct"}),
    ]
    turns = to_turns([answer, {"role": "assistant", "content": blocks}])
    assert [turn.tool_calls[0].name for turn in turns] == ["f", "f"]
    assert [turn.raw_format for turn in turns] == ["openai", "anthropic"]
    assert turns[1].text == "Hm."

    class Role(enum.StrEnum):
        USER = "user"

    assert to_turns([{"role": Role.USER, "content": "x"}])[0].raw == {"role": "user", "content": "x"}


RESULT = {"type": "tool_result", "tool_use_id": "t"}
USER = {"role": "user", "content": "Hi"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("format", "message", "field"),
    [
        (None, 7, "must be an object, not int"),
        (None, {"role": "user"}, "content must be a string or a list or null, not missing"),
        (None, {"role": "user", "content": 7}, "content must be a string or a list or null, not a number"),
        (None, {"role": "user", "content": [7]}, "content[0] must be an object or a string"),
        (None, {"role": "user", "content": [{"type": "text"}]}, "content[0].text must be a string, not missing"),
        (None, {"role": "user", "content": "x", "name": 3}, "name must be a string or null"),
        (None, {"role": "tool", "tool_call_id": 1, "content": "x"}, "tool_call_id must be a string"),
        ("openai", {"role": "tool", "content": "x"}, "tool_call_id must be a string, not missing"),
        (None, {"role": "assistant", "tool_calls": [{"id": "c", "function": {}}]}, "tool_calls[0].function.name"),
        (None, {"role": "assistant", "tool_calls": {"a": 1}}, "tool_calls must be a list"),
        (None, {"role": "assistant", "tool_calls": [CALL | {"id": 3}]}, "tool_calls[0].id must be a string or null"),
        (None, {"role": "assistant", "tool_calls": ["c"]}, "tool_calls[0] must be an object"),
        (None, {"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "content[0].image_url.url"),
        ("responses", {"type": "function_call", "call_id": "c"}, "name must be a string, not missing"),
        ("responses", {"type": "function_call", "name": "f"}, "call_id must be a string, not missing"),
        ("responses", {"type": "function_call_output", "call_id": "c"}, "output must be"),
        ("anthropic", {"role": "user", "content": None}, "content must be a string or a list, not null"),
        ("anthropic", {"role": "assistant", "content": [{"type": "tool_use", "id": "t"}]}, "content[0].input"),
        ("anthropic", {"role": "user", "content": [{"type": "tool_result"}]}, "content[0].tool_use_id"),
        ("anthropic", {"role": "user", "content": [{"type": "image"}]}, "content[0].source must be an object"),
        ("anthropic", {"role": "user", "content": [RESULT, RESULT, {"type": "text"}]}, "content[2].text must be"),
        ("gemini", {"role": "model", "parts": [{"functionCall": {}}]}, "parts[0].functionCall.name"),
        ("gemini", {"role": "model", "parts": [7]}, "parts[0] must be an object"),
        ("gemini", {"role": "user"}, "parts must be a list or null, not missing"),
        ("huggingface", {"role": "user", "content": [{"type": "image", "image": 7}]}, "content[0].image must be"),
        (None, {"role": "user", "content": [{"type": "x", "data": b"\0"}]}, "content[0].data is bytes"),
        (None, {"role": "user", "content": "x", "meta": {1: 2}}, "meta has the key 1, which is not a string"),
        (None, {"role": "user", "content": "x", "meta": [{"of": {1, 2}}]}, "meta[0].of is set"),
    ],
)
def test_malformed_messages_are_named(format: str | None, message: Any, field: str) -> None:
    with pytest.raises(InputError, match=re.escape(field)) as caught:
        to_turns([USER if format != "gemini" else {"parts": []}, message], format)
    assert str(caught.value).startswith("message 1")


@pytest.mark.parametrize("format", ["openai", "responses", "anthropic", "gemini", "huggingface", None])
@pytest.mark.parametrize("role", ["bot", None, 7, ["user"]])
def test_unknown_roles_are_named(format: str | None, role: Any) -> None:
    message = {"role": role, "content": "x", "parts": []}
    if format != "gemini":
        del message["parts"]
    if format == "gemini" and role is None:
        return  # a content without a role is the user's
    with pytest.raises(UnknownRoleError, match=rf"message 1: unknown role {re.escape(repr(role))}"):
        to_turns([USER if format != "gemini" else {"parts": []}, message], format)


def test_a_message_without_a_role_is_not_taken_for_an_item() -> None:
    with pytest.raises(UnknownRoleError, match="message 0"):
        to_turns([{"type": "human", "content": "Hi"}])


def test_nested_too_deeply() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(InputError, match=r"message 0: content\[0\].*"):
        to_turns([{"role": "user", "content": [deep]}])


def test_not_a_list_and_unknown_formats() -> None:
    with pytest.raises(InputError, match="must be a list"):
        to_turns({"role": "user", "content": "x"})
    with pytest.raises(InputError, match="must be a list"):
        to_turns("Hi")
    for name in ("grok", None, []):
        with pytest.raises(NotFoundError, match="there are anthropic, gemini"):
            get_format(name)  # type: ignore[arg-type]
    assert to_turns([]) == [] and from_turns([], "openai") == []


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "\x1b[31mred\x1b[0m", "\u202edetcelfer", "x" * 10_000_000])
def test_hostile_text_crosses_untouched(text: str) -> None:
    turns = to_turns([{"role": "user", "content": text}])
    for name in ("responses", "anthropic", "gemini", "huggingface"):
        back = to_turns(from_turns(turns, name, repair=False), name)
        assert [turn.text for turn in back] == [text]
        sent = to_turns(from_turns(turns, name), name)
        assert [turn.text for turn in sent] == [text.replace("\ud800", "\ufffd")]
    assert transcript(turns[0]) == ("user", text)
