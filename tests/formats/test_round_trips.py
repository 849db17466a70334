"""Same format in and out: nothing changes, whatever else is in the list."""

from __future__ import annotations

import copy
import cProfile
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts import Transcripts

from optical_memory.formats import FORMATS, detect, from_turns, to_turns
from optical_memory.turns import Turn, groups

Conversations = dict[str, list[dict[str, Any]]]


def dumped(messages: list[dict[str, Any]]) -> str:
    return json.dumps(messages)  # the order of keys counts


@pytest.mark.parametrize("name", FORMATS)
def test_hand_written_messages_come_back_exactly(name: str, conversations: Conversations) -> None:
    messages = conversations[name]
    turns = to_turns(messages, name)
    assert dumped(from_turns(turns, name)) == dumped(messages)
    assert dumped(from_turns(turns, name, repair=False)) == dumped(messages)


@pytest.mark.parametrize("name", FORMATS)
def test_each_message_alone_comes_back_exactly(name: str, conversations: Conversations) -> None:
    for message in conversations[name]:
        assert dumped(from_turns(to_turns([message], name), name, repair=False)) == dumped([message])


@pytest.mark.parametrize("name", FORMATS)
def test_turns_survive_storage(name: str, conversations: Conversations) -> None:
    turns = to_turns(conversations[name], name)
    stored = [Turn.from_dict(json.loads(json.dumps(turn.to_dict()))) for turn in turns]
    assert stored == turns
    assert [turn.digest for turn in stored] == [turn.digest for turn in turns]
    assert dumped(from_turns(stored, name)) == dumped(conversations[name])


@pytest.mark.parametrize("name", FORMATS)
def test_caller_and_turns_share_nothing(name: str, conversations: Conversations) -> None:
    messages = copy.deepcopy(conversations[name])
    turns = to_turns(messages, name)
    for message in [*messages, *from_turns(turns, name)]:
        message["role"] = "changed"
        for part in message.get("content") or message.get("parts") or ():
            if isinstance(part, dict):
                part.clear()
    assert dumped(from_turns(turns, name)) == dumped(conversations[name])


def test_the_parts_of_a_message_can_leave_apart(conversations: Conversations) -> None:
    turns = to_turns(conversations["anthropic"], "anthropic")
    message = conversations["anthropic"][3]
    assert from_turns(turns[5:6], "anthropic") == [message | {"content": message["content"][2:]}]
    assert from_turns(turns[2:5], "anthropic")[1] == message | {"content": message["content"][:2]}
    again = to_turns([message], "anthropic")
    assert [turn.digest for turn in again] == [turn.digest for turn in turns[3:6]]
    twice = to_turns([message, message], "anthropic")
    assert from_turns(twice, "anthropic", repair=False) == [message, message]


@pytest.mark.parametrize("name", FORMATS)
def test_format_is_detected_in_a_list(name: str, conversations: Conversations) -> None:
    assert detect(conversations[name]) == [name] * len(conversations[name])
    assert dumped(from_turns(to_turns(conversations[name]), name)) == dumped(conversations[name])


def test_formats_may_be_mixed_in_one_list(conversations: Conversations) -> None:
    messages = [conversations["openai"][2], conversations["anthropic"][2], conversations["gemini"][1]]
    assert detect(messages) == ["openai", "anthropic", "gemini"]
    plain = {"role": "user", "content": "Hi"}
    assert detect([plain]) == ["openai"]
    assert detect([plain, conversations["anthropic"][2], plain]) == ["anthropic"] * 3


def test_real_transcripts_come_back_exactly(transcripts: Transcripts) -> None:
    for session in [*transcripts.coding, *transcripts.airline]:
        messages = session["messages"]
        turns = to_turns(messages)
        assert dumped(from_turns(turns, "openai")) == dumped(messages)
        assert len(turns) == len(messages)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "openai"])
def test_real_transcripts_cross_over_and_back(name: str, transcripts: Transcripts) -> None:
    for session in [*transcripts.coding, *transcripts.airline]:
        turns = to_turns(session["messages"])
        there = from_turns(turns, name)
        back = to_turns(there, name)
        assert dumped(from_turns(back, name)) == dumped(there)
        again = to_turns(from_turns(back, "openai"))
        assert [substance(turn) for turn in again] == [substance(turn) for turn in turns]
        if name != "anthropic":  # which wants an id to be used once
            assert [ids(turn) for turn in again] == [ids(turn) for turn in turns]
        assert len(list(groups(again))) == len(list(groups(turns)))


def substance(turn: Turn) -> tuple[Any, ...]:
    calls = [(call.name, json.loads(call.arguments)) for call in turn.tool_calls]
    return turn.role, turn.text, calls, turn.tool_call_id is None


def ids(turn: Turn) -> tuple[Any, ...]:
    return turn.tool_call_id, [call.id for call in turn.tool_calls]


scalars = st.none() | st.booleans() | st.integers(-10, 10) | st.text(max_size=5)
extra = st.dictionaries(st.text("xyz_", min_size=2, max_size=4), scalars, max_size=2)
texts = st.text(max_size=12)


@st.composite
def openai_messages(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Valid conversations: every call is answered at once, in any order."""
    out: list[dict[str, Any]] = []
    for number in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["system", "user", "list", "assistant", "calls"]))
        more = draw(extra)
        if kind == "list":
            parts = [{"type": "text", "text": text} for text in draw(st.lists(texts, max_size=3))]
            out.append({"role": "user", "content": parts} | more)
        elif kind == "calls":
            names = draw(st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=3))
            calls = [
                {"id": f"c{number}-{place}", "type": "function", "function": {"name": name, "arguments": draw(texts)}}
                for place, name in enumerate(names)
            ]
            out.append({"role": "assistant", "content": draw(st.none() | texts), "tool_calls": calls} | more)
            for call in draw(st.permutations(calls)):
                out.append({"role": "tool", "tool_call_id": call["id"], "content": draw(texts)} | draw(extra))
        else:
            out.append({"role": kind, "content": draw(texts)} | more)
    return out


@settings(max_examples=60, deadline=None)
@given(openai_messages())
def test_any_valid_conversation_comes_back_and_crosses_over(messages: list[dict[str, Any]]) -> None:
    turns = to_turns(messages, "openai")
    assert dumped(from_turns(turns, "openai")) == dumped(messages)
    for name in FORMATS:
        there = from_turns(turns, name)
        json.dumps(there)
        back = to_turns(there, name)
        assert dumped(from_turns(back, name, repair=False)) == dumped(there)
        calls = [(call.name, call.arguments) for turn in turns for call in turn.tool_calls]
        assert len([call for turn in back for call in turn.tool_calls]) == len(calls)
        # Providers take no empty text, so turns that say nothing may stay behind.
        assert [t.text for t in back if t.role == "user" and t.text.strip()] == [
            t.text for t in turns if t.role == "user" and t.text.strip()
        ]


@pytest.mark.parametrize("name", FORMATS)
def test_work_grows_with_the_messages_alone(name: str, coding_session: dict[str, Any]) -> None:
    """Calls of functions are counted: seconds depend on the machine and on what else it does."""
    messages = (coding_session["messages"] * 6)[:800]

    def calls(count: int) -> int:
        profile = cProfile.Profile()
        profile.runcall(lambda: from_turns(to_turns(messages[:count], "openai"), name))
        return sum(entry.callcount for entry in profile.getstats())

    assert calls(800) < 2.5 * calls(400) < 400 * 1_000
