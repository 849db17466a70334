"""Whatever was stored, what leaves is strict JSON with whole pairs, in every format; mixtures are read or named."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import provider_rules
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optical_memory.errors import DuplicateTurnError, InputError
from optical_memory.formats import FORMATS, from_turns, to_turns
from optical_memory.formats.request import build_request
from optical_memory.turns import ToolCall, Turn, open_calls
from optical_memory.wording import NO_RESULT

Message = dict[str, Any]


def sent(request: Any) -> Any:
    """Return a request as a strict parser reads what a client writes."""
    return provider_rules.parse(json.dumps(request).encode())


def call_and_result(name: str, call_id: str, *, arguments: Any = None, text: str = "21 °C") -> list[Message]:
    """Return a call and its result as a server of ``name`` writes them, ids as given."""
    arguments = {} if arguments is None else arguments
    if name == "responses":
        call = {"type": "function_call", "call_id": call_id, "name": "warm", "arguments": json.dumps(arguments)}
        return [call, {"type": "function_call_output", "call_id": call_id, "output": text}]
    if name == "anthropic":
        use = {"type": "tool_use", "id": call_id, "name": "warm", "input": arguments}
        result = {"type": "tool_result", "tool_use_id": call_id, "content": text}
        return [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    if name == "gemini":
        asked = {"functionCall": {"id": call_id, "name": "warm", "args": arguments}, "thoughtSignature": "c2ln"}
        answer = {"functionResponse": {"id": call_id, "name": "warm", "response": {"output": text}}}
        return [{"role": "model", "parts": [asked]}, {"role": "user", "parts": [answer]}]
    written = arguments if name == "huggingface" else json.dumps(arguments)
    function = {"id": call_id, "type": "function", "function": {"name": "warm", "arguments": written}}
    made = {"role": "assistant", "content": "", "tool_calls": [function]}
    return [made, {"role": "tool", "tool_call_id": call_id, "content": text}]


HI = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("alone", [False, True], ids=["in one list", "each alone"])
def test_calls_with_empty_ids_stay_with_their_results(source: str, target: str, alone: bool) -> None:
    first, second = call_and_result(source, "", text="one"), call_and_result(source, "", text="two")
    messages = [HI, *first, *second, HI]
    if alone:  # as a history grows: each message is read with what came before it
        turns = list[Turn]()
        for message in messages:
            turns += to_turns([message], None if message is HI else source, before=turns)
    else:
        turns = [
            turn for part in ([HI], messages[1:5], [HI]) for turn in to_turns(part, None if part == [HI] else source)
        ]
    assert not open_calls(turns)
    request = build_request(turns, target)
    provider_rules.check(target, sent(request))
    written = json.dumps(request)
    assert NO_RESULT not in written and "not in this context" not in written
    assert written.index("one") < written.index("two")
    assert from_turns(turns[1:5], source, repair=False) == messages[1:5]  # what is stored stays exact


@pytest.mark.parametrize("target", FORMATS)
def test_results_without_an_id_answer_the_oldest_open_call(target: str) -> None:
    calls = tuple(ToolCall(id="", name=name, arguments="{}") for name in ("f", "g"))
    turns = [
        Turn(id="u", role="user", text="Hi"),
        Turn(id="a", role="assistant", tool_calls=calls),
        Turn(id="g", role="tool", name="g", tool_call_id="", text="of g"),
        Turn(id="f", role="tool", tool_call_id="", text="of f"),
    ]
    request = build_request(turns, target)
    provider_rules.check(target, sent(request))
    back = to_turns(from_turns(turns, target), target)
    names = {call.id: call.name for turn in back for call in turn.tool_calls}
    assert {names[turn.tool_call_id or ""]: turn.text for turn in back if turn.role == "tool"} == {
        "f": "of f",
        "g": "of g",
    }


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("role", ["system", "developer"])
def test_an_instruction_between_a_call_and_its_result(role: Any, target: str) -> None:
    calls = tuple(ToolCall(id=name, name=name, arguments="{}") for name in "fg")
    told = Turn(id="s", role=role, text="Be brief.")
    turns = [
        Turn(id="u", role="user", text="Hi"),
        Turn(id="a", role="assistant", tool_calls=calls),
        told,
        Turn(id="f", role="tool", tool_call_id="f", text="of f"),
        told,
        Turn(id="g", role="tool", tool_call_id="g", text="of g"),
        Turn(id="b", role="assistant", text="Done."),
    ]
    request = build_request(turns, target)
    provider_rules.check(target, sent(request))
    assert json.dumps(request).count("Be brief.") == 2 and NO_RESULT not in json.dumps(request)
    waiting = from_turns(turns[:3], target)  # the results are still to come
    assert NO_RESULT not in json.dumps(waiting) and "Be brief." in json.dumps(waiting)
    gone_on = [*turns[:3], Turn(id="v", role="user", text="Well?")]
    assert json.dumps(build_request(gone_on, target)).count(NO_RESULT) == 2
    provider_rules.check(target, sent(build_request(gone_on, target)))


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_what_no_parser_takes_never_leaves(source: str, target: str) -> None:
    odd = {"\ud800": "\udfff", "deep": [float("nan"), float("inf"), {"x": -float("inf")}], "ok": "é😀"}
    messages = [HI, *call_and_result(source, "call_\ud800x", arguments=odd, text="a\ud800b")]
    turns = [turn for message in messages for turn in to_turns([message], None if message is HI else source)]
    before = copy.deepcopy([turn.to_dict() for turn in turns])
    request = build_request(
        turns, target, tools=[{"name": "f", "description": "\ud800", "parameters": {"default": 1e999}}]
    )
    provider_rules.check(target, sent(request))
    assert "a\ufffdb" in json.dumps(request, ensure_ascii=False)
    assert [turn.to_dict() for turn in turns] == before
    assert repr(from_turns(turns[1:], source, repair=False)) == repr(messages[1:])


@pytest.mark.parametrize("text", ['{"x": NaN}', '{"x": 1e999}', "[1]", "{", '"\\ud800"', ""])
def test_arguments_that_are_no_json_object_keep_their_words(text: str) -> None:
    turn = Turn(id="a", role="assistant", tool_calls=(ToolCall(id="c", name="f", arguments=text),))
    for name in ("anthropic", "gemini", "huggingface"):
        (back,) = to_turns(from_turns([turn], name), name)
        assert back.tool_calls[0].arguments == (text or "{}")


def test_a_message_in_two_formats_is_named() -> None:
    function = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    use = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c", "content": "x"}
    wrong: list[tuple[str | None, Message, str]] = [
        ("anthropic", {"role": "assistant", "content": "Hm.", "tool_calls": [function]}, "tool_calls"),
        ("gemini", {"role": "model", "parts": [{"text": "x"}], "tool_calls": [function]}, "tool_calls"),
        ("responses", {"role": "assistant", "content": "x", "function_call": {"name": "f"}}, "function_call"),
        ("openai", {"role": "assistant", "content": [use]}, "tool_use"),
        ("huggingface", {"role": "user", "content": [result]}, "tool_result"),
        ("responses", {"role": "user", "content": [result]}, "tool_result"),
        ("openai", {"role": "assistant", "parts": [{"text": "x"}]}, "parts"),
        (None, {"role": "assistant", "content": [use], "tool_calls": [function]}, "tool_calls"),
    ]
    for format, message, field in wrong:
        with pytest.raises(InputError, match=f"message 1: {field} is of .* leave out format="):
            to_turns([HI if format != "gemini" else {"parts": []}, message], format)
    mixed = [HI, wrong[3][1], {"role": "tool", "tool_call_id": "c", "content": "x"}]
    assert [turn.role for turn in to_turns(mixed)] == ["user", "assistant", "tool"]


def test_an_id_with_two_contents_is_named() -> None:
    one, two = HI | {"id": "a"}, {"role": "user", "content": "Ho", "id": "a"}
    with pytest.raises(DuplicateTurnError, match="message 2 has the id 'a' of message 0, and other content"):
        to_turns([one, HI, two])
    with pytest.raises(DuplicateTurnError):
        to_turns([one, one | {"extra": 1}])
    same = to_turns([one, HI, one])
    assert same[0].id == same[2].id and same[0].digest == same[2].digest


# -- any history, through any mixture of formats ---------------------------------------------------------------------

words = st.text(st.characters(codec=None, categories=["L", "N", "Cs", "Zs", "P"]), max_size=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
arguments = st.dictionaries(words, json_values, max_size=2).map(json.dumps) | words
call_ids = st.sampled_from(["", "a", "b", "call_\ud800", "x" * 70, "é"])
makers = st.lists(st.builds(ToolCall, id=call_ids, name=st.just("f"), arguments=arguments), max_size=2)
numbers = st.integers(0, 10**9).map(str)
turn_kinds = st.one_of(
    st.builds(Turn, id=numbers, role=st.sampled_from(["system", "developer", "user", "assistant"]), text=words),
    st.builds(Turn, id=numbers, role=st.just("assistant"), text=words, tool_calls=makers.map(tuple)),
    st.builds(Turn, id=numbers, role=st.just("tool"), text=words, tool_call_id=st.none() | call_ids),
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["", *FORMATS]), st.lists(turn_kinds, max_size=4)), max_size=4),
    st.sampled_from(list(FORMATS)),
)
def test_any_mixture_leaves_as_a_request_that_is_taken(
    pieces: list[tuple[str | None, list[Turn]]], target: str
) -> None:
    turns: list[Turn] = []
    for source, history in pieces:
        history = [as_served(turn, source) for turn in history] if source else history
        if not source:
            turns += history
        else:  # the turns as messages of a provider, read back: they leave as they came where the target is the same
            turns += to_turns(from_turns(history, source, repair=False), source, before=turns)
    turns.append(Turn(id="last", role="user", text="Well?"))
    before = copy.deepcopy([repr(turn) for turn in turns])
    request = build_request(turns, target)
    provider_rules.check(target, sent(request))
    assert build_request(turns, target) == request
    assert [repr(turn) for turn in turns] == before
    written = json.dumps(request, ensure_ascii=False)
    for text in {turn.text for _, history in pieces for turn in history if turn.text.strip()}:
        assert json.dumps(text, ensure_ascii=False)[1:-1].translate(SURROGATES) in written


def as_served(turn: Turn, source: str) -> Turn:
    """Return a turn without ids that a server of this format would never have given, nor a result of another name."""
    fits = FORMATS[source].call_id.fullmatch
    calls = tuple(call if fits(call.id) or not call.id else replace(call, id="ok") for call in turn.tool_calls)
    call_id = turn.tool_call_id
    call_id = call_id if call_id in (None, "") or fits(call_id) else "ok"
    return replace(turn, name="f" if turn.role == "tool" else None, tool_calls=calls, tool_call_id=call_id)


SURROGATES = {code: "\ufffd" for code in range(0xD800, 0xE000)}
