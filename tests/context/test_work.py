"""What an agent works on now is text: the newest results, files it edits; what is not can be had by one recall."""

from __future__ import annotations

import json
from typing import Any

import pytest

from optical_memory import OpticalMemory
from optical_memory.recall import MAX_CHARACTERS
from optical_memory.turns import Turn
from optical_memory.wording import recall_call
from tests.provider_rules import check

Message = dict[str, Any]


def arrivals(messages: list[Message], profile: str, budget: int) -> tuple[int, int, int, int]:
    """Return how many results came and how many as text, and how many of those that read a file."""
    came = text = files = files_text = 0
    reads: set[str] = set()
    with OpticalMemory(profile=profile, budget=budget, renderer="dense") as memory:
        for message in messages:
            reads |= {c["id"] for c in message.get("tool_calls") or () if c["function"]["name"] == "Read"}
            (turn,) = memory.extend([message])
            context = memory.context()
            if turn.role == "tool":
                as_text = any(piece.turn == turn for piece in context.latest)
                came, text = came + 1, text + as_text
                if turn.tool_call_id in reads:
                    files, files_text = files + 1, files_text + as_text
    return came, text, files, files_text


@pytest.mark.parametrize(("profile", "least"), [("gpt-5", 0.7), ("claude-4.7", 0.5)])
def test_most_results_arrive_as_text(profile: str, least: float, coding_session: dict[str, Any]) -> None:
    came, text, *_ = arrivals(coding_session["messages"], profile, 16_000)
    assert text / came >= least


def test_a_file_that_was_read_is_text_where_other_results_are_pages() -> None:
    source = "\n".join(f"def handler_{number}(request): return respond({number}, request)" for number in range(120))
    messages: list[Message] = [{"role": "user", "content": "Look at both."}]
    for name, arguments in (("Read", {"file_path": "/a.py"}), ("Bash", {"command": "make report"})):
        call = {
            "id": f"call_{name}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"call_{name}", "content": source})
    came, text, files, files_text = arrivals(messages, "gpt-5", 16_000)
    assert (came, text, files, files_text) == (2, 1, 1, 1)


@pytest.mark.parametrize("budget", [4_000, 16_000])
def test_parallel_results_larger_than_the_budget_fit(budget: int, coding_sessions: list[dict[str, Any]]) -> None:
    """Of eight real sessions, four have parallel results of 13,000 to 43,000 tokens of Claude 4.7."""
    for session in coding_sessions:
        end = next(n for n, m in enumerate(session["messages"]) if n >= 26 and m["role"] == "assistant")
        messages = session["messages"][:end]  # calls and their results
        with OpticalMemory(session["id"], profile="claude-4.7", budget=budget, renderer="dense") as memory:
            for message in messages:
                memory.extend([message])
                assert memory.context().tokens <= budget
            for format in ("openai", "anthropic", "gemini"):
                check(format, memory.request(format))


def test_what_an_edit_needs_is_had_by_one_recall(coding_sessions: list[dict[str, Any]]) -> None:
    """The lines to replace, in a result that has them: asked for by its place and the longest of them.

    Where the result was shown as pages when it arrived, its pointer in the context names that place.
    """
    asked = on_arrival = 0
    for session in coding_sessions[:4]:
        with OpticalMemory(session["id"], profile="claude-4.7", budget=8_000, renderer="dense") as memory:
            tool = memory.recall_tool()
            for message in session["messages"]:
                for call in message.get("tool_calls") or ():
                    old = json.loads(call["function"]["arguments"]).get("old_string", "")
                    lines = [line.strip() for line in old.splitlines() if line.strip()]
                    turn = _result_with(memory, lines) if len(lines) > 1 else None
                    if turn is not None:
                        asked += 1
                        place = f"#{turn.seq + 1}"
                        answer = tool(turn_id=place, question=max(lines, key=len))
                        assert len(answer) <= MAX_CHARACTERS + 300
                        assert all(line in answer for line in lines) and (old in answer or old not in turn.text)
                        if note := _pointer_of(memory, turn):
                            assert recall_call(place) in note
                            on_arrival += 1
                memory.extend([message])
                memory.context()
    assert asked > 20 and on_arrival > 5, (asked, on_arrival)


def _result_with(memory: OpticalMemory, lines: list[str]) -> Turn | None:
    """Return the newest result with all of these lines, where there is one."""
    turns = [turn for turn in memory.turns() if turn.role == "tool" and all(line in turn.text for line in lines)]
    return turns[-1] if turns else None


def _pointer_of(memory: OpticalMemory, turn: Turn) -> str | None:
    """Return what stands in the tail in place of a result that was too large to be text; None where that is not so."""
    shown = [piece.turn for piece in memory.context().latest if piece.kind == "turn" and turn.id in piece.turn_ids]
    return shown[0].text if shown and shown[0] is not None and shown[0] != turn else None


def test_recall_shows_of_long_turns_what_the_question_is_about() -> None:
    log = "\n".join(f"line {number}: nothing of note happened on day {number}" for number in range(4_000))
    with OpticalMemory(renderer="dense") as memory:
        memory.add("tool", log.replace("line 2900:", "line 2900: the pump at Okafor failed;"), tool_call_id="c1")
        memory.add("tool", log.replace("line 17:", "line 17: Okafor bought a pump;"), tool_call_id="c2")
        tool = memory.recall_tool()
        answer = tool(question="Okafor pump failed")
        assert "line 2900: the pump at Okafor failed" in answer and len(answer) <= MAX_CHARACTERS + 600
        (part,) = [line for line in answer.splitlines() if "characters" in line and "of" in line][:1]
        assert "ask with this turn_id" in part
        assert "line 17: Okafor bought" in tool(turn_id="#2", question="who bought a pump")
        assert "line 0:" in tool(turn_id="#1") and "ask again with offset=" in tool(turn_id="#1")
