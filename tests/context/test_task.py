"""The task stays, and nothing in ordinary work is too long: on real sessions, for every provider's request."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from optical_memory import OpticalMemory, Turn
from optical_memory.context.folding import folded
from optical_memory.context.notes import NO_NOTES
from optical_memory.errors import BudgetError
from optical_memory.renderers.layout import Run
from optical_memory.turns import ToolCall
from tests.provider_rules import check

Message = dict[str, Any]
FORMATS = ("openai", "anthropic", "gemini", "responses")


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def words_sent(memory: OpticalMemory) -> set[str]:
    return words(" ".join(piece.text for piece in memory.context().pieces()))


def call(name: str, call_id: str, **arguments: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


@pytest.mark.parametrize("budget", [4_000, 8_000])
@pytest.mark.parametrize("profile", ["gpt-5", "claude-4.7", "gemini-3", "mini"])
def test_the_task_of_a_coding_session_is_never_gone(profile: str, budget: int, coding_session: dict[str, Any]) -> None:
    messages = coding_session["messages"]
    asked = words(messages[0]["content"])
    with OpticalMemory(profile=profile, budget=budget, renderer="dense") as memory:
        for message in messages:
            memory.extend([message])
            context = memory.context()  # raises nothing, though calls have arguments of up to 9,000 characters
            assert context.tokens == sum(piece.tokens for piece in context.pieces()) <= budget
            assert asked <= words_sent(memory)
        assert context.epoch > 1
        for format in FORMATS:
            check(format, memory.request(format))


def test_a_first_message_too_long_keeps_its_request_and_folds_the_paste(coding_session: dict[str, Any]) -> None:
    log = "\n".join(f"2024-05-01 12:00:{n % 60:02} worker {n} finished job {n * 7919 % 10_007}" for n in range(1_500))
    asked = f"Why does worker 12 stop at noon?\n\n```\n{log}\n```\n\nAnswer with the line that is to blame."
    assert len(asked) > 60_000
    with OpticalMemory(profile="gpt-5", budget=4_000, renderer="dense") as memory:
        memory.add("user", asked)
        for message in coding_session["messages"][1:40]:
            memory.extend([message])
            context = memory.context()
            shown = " ".join(piece.text for piece in context.pieces())
            assert "Why does worker 12 stop at noon?" in shown
            assert "Answer with the line that is to blame." in shown
            assert context.tokens <= 4_000
        assert context.epoch > 1
        assert memory.recall(turn_id="#1")[0].text == asked


@pytest.mark.parametrize("profile", ["gpt-5", "claude-4.7", "deepseek-ocr"])
def test_what_the_user_corrected_and_decided_stays_in_the_users_own_words(
    profile: str, coding_session: dict[str, Any]
) -> None:
    """The user says more than there is room for: the task, two decisions among small talk, and the newest words."""
    small = [f"I looked at hall {n} for a while and {'nothing there seemed odd to me. ' * 3}" for n in range(60)]
    asked = "Please count the crates in all halls and write them to report.csv."
    said = [asked, *small]
    said[14] = "No, that is wrong: count pallets instead of crates, and never open hall 9."
    said[27] = "We decided that the report must be sorted by weight."
    said.append("Now show me the first rows.")
    with OpticalMemory(profile=profile, budget=3_000, renderer="dense") as memory:
        for number, text in enumerate(said):
            memory.add("user", text)
            memory.add("assistant", f"Done with step {number}. " * 12)
            assert memory.context().tokens <= 3_000
        context = memory.context()
        shown = " ".join(piece.text for piece in context.pieces())
        assert context.epoch > 1 and "I looked at hall 30 for" not in shown
        for text in (said[0], said[14], said[27], said[-1]):
            assert text in shown
        assert "[…]" in shown and context.past[0].kind == "header" and "what the user said" in context.past[1].text


def test_words_leave_with_the_turn_that_is_forgotten_or_rewound(coding_session: dict[str, Any]) -> None:
    messages = [dict(message) for message in coding_session["messages"]]
    said = {"role": "user", "content": "Decision: the flag is called quetzalcoatl."}
    history = [messages[0], said, *messages[1:60]]
    with OpticalMemory(profile="gpt-5", budget=8_000, renderer="dense") as memory:
        memory.follow(history)
        assert "quetzalcoatl" in words_sent(memory)
        again = OpticalMemory(profile="gpt-5", budget=8_000, renderer="dense", store=memory.store)
        assert [piece.text for piece in again.context().pieces()] == [piece.text for piece in memory.context().pieces()]
        memory.follow([messages[0], *messages[1:60]])
        assert "quetzalcoatl" not in words_sent(memory)
        memory.follow(history)
        assert "quetzalcoatl" in words_sent(memory)
        memory.forget(turn_id=memory.recall("quetzalcoatl")[0].id)
        assert "quetzalcoatl" not in words_sent(memory)
        assert words(messages[0]["content"]) <= words_sent(memory)


def test_a_call_that_is_never_answered_blocks_nothing(airline_sessions: list[dict[str, Any]]) -> None:
    talk = [m for s in airline_sessions for m in s["messages"] if m["role"] in ("user", "assistant") and m["content"]]
    with OpticalMemory(profile="gpt-5", budget=4_000, renderer="dense") as memory:
        memory.extend([{"role": "assistant", "content": None, "tool_calls": [call("search", "call_1", q="x")]}])
        for message in talk[:200]:
            memory.extend([{"role": message["role"], "content": message["content"]}])
            assert memory.context().tokens <= 4_000
        memory.extend([{"role": "tool", "tool_call_id": "call_1", "content": "found"}])
        for format in FORMATS:
            check(format, memory.request(format))


def test_long_calls_with_results_in_parallel_fit(coding_session: dict[str, Any]) -> None:
    source = "\n".join(m["content"] for m in coding_session["messages"] if m["role"] == "tool" and m["content"])
    calls = [call("Write", f"call_{n}", path=f"/src/file{n}.rs", content=source[n * 3_000 : n * 3_000 + 9_000])
             for n in range(12)]  # fmt: skip
    with OpticalMemory(profile="claude-4.7", budget=8_000, renderer="dense") as memory:
        memory.add("user", "Write twelve files.")
        memory.extend([{"role": "assistant", "content": None, "tool_calls": calls}])
        for n in range(12):
            memory.extend([{"role": "tool", "tool_call_id": f"call_{n}", "content": source[n * 5_000 :][:6_000]}])
            assert memory.context().tokens <= 8_000
        for format in FORMATS:
            check(format, memory.request(format))
        sent = memory.messages()
        (made,) = [m["tool_calls"] for m in sent if m.get("tool_calls")]
        assert [json.loads(one["function"]["arguments"])["path"] for one in made] == [
            f"/src/file{n}.rs" for n in range(12)
        ]


@pytest.mark.parametrize("profile", ["gpt-5", "claude-4.7", "gemini-3", "qwen3-vl", "deepseek-ocr", "mini"])
def test_only_a_system_prompt_and_a_small_turn_that_do_not_fit_are_an_error(
    profile: str, coding_session: dict[str, Any]
) -> None:
    """At 4,000 tokens: a paste of 60 KB, an answer, a call's arguments and a result of 38 KB, one after the other."""
    source = "\n".join(m["content"] for m in coding_session["messages"] if m["role"] == "tool" and m["content"])
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": source[:60_000]},
        {"role": "assistant", "content": source[20_000:58_000]},
        {"role": "user", "content": "Write it."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call("Write", "c1", path="/a.rs", content=source[:38_000])],
        },
        {"role": "tool", "tool_call_id": "c1", "content": source[10_000:48_000]},
    ]
    with OpticalMemory(profile=profile, budget=4_000, renderer="dense") as memory:
        memory.add("system", "Be brief. " * 20)
        for turn in turns:
            memory.extend([turn])
            assert memory.context().tokens <= 4_000
            for format in FORMATS if "tool_calls" not in turn else ():  # which waits for its result
                check(format, memory.request(format))
        made = [json.loads(c["function"]["arguments"]) for m in memory.messages() for c in m.get("tool_calls") or ()]
        assert [set(arguments) for arguments in made] in ([], [{"path", "content"}])
        memory.add("system", "Obey each of these many rules at all times. " * 500)
        memory.add("user", "Go on.")
        with pytest.raises(BudgetError, match="the system prompt"):
            memory.context()


def test_what_is_signed_is_not_touched() -> None:
    thought = {"type": "thinking", "thinking": "long " * 900, "signature": "sig " * 900}
    used = {"type": "tool_use", "id": "t" * 30, "name": "Write", "input": {"path": "/a", "content": "line\n" * 2_000}}
    turn = Turn(
        id="x",
        role="assistant",
        tool_calls=(ToolCall(id="t" * 30, name="Write", arguments=json.dumps(used["input"])),),
        raw={"role": "assistant", "content": [thought, used]},
        raw_format="anthropic",
    )
    short = folded(turn, 40, "[cut]")
    assert short.raw is not None and short.raw["content"][0] == thought
    made = short.raw["content"][1]
    assert {**made, "input": None} == {**used, "input": None}
    assert json.loads(short.tool_calls[0].arguments) == made["input"]
    assert made["input"]["path"] == "/a" and "[cut]" in made["input"]["content"] and len(str(made)) < 250
    numbers = replace_arguments(turn, json.dumps({"rows": list(range(9_000))}))
    assert len(folded(numbers, 40, "[cut]").tool_calls[0].arguments) < 300
    assert isinstance(
        json.loads(folded(replace_arguments(turn, "{" * 9_000), 40, "[cut]").tool_calls[0].arguments), dict
    )


def replace_arguments(turn: Turn, arguments: str) -> Turn:
    return Turn(id="x", role="assistant", tool_calls=(ToolCall(id="t", name="f", arguments=arguments),))


def test_words_that_fit_are_whole_and_more_room_never_shows_fewer(airline_sessions: list[dict[str, Any]]) -> None:
    said = [m["content"] for s in airline_sessions[:3] for m in s["messages"] if m["role"] == "user"]
    runs = [Run(turn_id=str(n), role="user", text=text, header="user:", place=n) for n, text in enumerate(said)]

    def count(text: str) -> int:
        return -(-len(text) // 4)

    everything = NO_NOTES.with_words(runs, 10_000, count)
    assert [run.text for run in everything.words.runs] == said
    before = 0
    for room in range(0, everything.tokens + 100, 60):
        notes = NO_NOTES.with_words(runs, room, count)
        assert notes.tokens <= room and notes.tokens == (count(notes.words.text) if notes.words.runs else 0)
        assert {w for run in notes.words.runs for w in words(run.text)} <= words(" ".join(said))
        if room >= 300:
            assert said[0][:20] in notes.words.runs[0].text and notes.words.runs[-1].turn_id == str(len(said) - 1)
        assert notes.tokens >= before * 0.6
        before = notes.tokens
    assert notes == everything


def test_a_script_that_starts_anew_has_one_system_prompt(airline_sessions: list[dict[str, Any]]) -> None:
    prompt = "You are a patient agent of an airline. " * 40
    with OpticalMemory(profile="gpt-5", budget=4_000, renderer="dense") as memory:
        for start in range(26):
            memory.add("system", prompt)
            memory.extend([m for m in airline_sessions[start]["messages"] if m["role"] != "system"][:6])
            assert memory.context().tokens <= 4_000
        memory.add("system", "Answer in French.")
        memory.extend([m for s in airline_sessions for m in s["messages"] if m["role"] != "system"][:80])
        shown = [piece.text for piece in memory.context().past if piece.kind == "instructions"]
        assert shown == [prompt, "Answer in French."]
