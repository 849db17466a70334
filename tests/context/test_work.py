"""What an agent works on now is text: the newest results, files it edits; what is not can be had by one recall."""

from __future__ import annotations

import json
from typing import Any

import pytest

from optical_memory import OpticalMemory
from optical_memory.recall import MAX_CHARACTERS
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
    source = "\n".join(f"def handler_{number}(request): return respond({number}, request)" for number in range(90))
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
    """The text to replace, in a result that is no text any more: asked for by its place and one line of it."""
    asked = 0
    for session in coding_sessions[:4]:
        with OpticalMemory(session["id"], profile="claude-4.7", budget=8_000, renderer="dense") as memory:
            tool = memory.recall_tool()
            for message in session["messages"]:
                for call in message.get("tool_calls") or ():
                    old = json.loads(call["function"]["arguments"]).get("old_string", "")
                    place = _place_with(memory, old) if old.count("\n") else None
                    if place is not None:
                        asked += 1
                        line = max(old.splitlines(), key=len).strip()
                        answer = tool(turn_id=place, question=line)
                        assert len(answer) <= MAX_CHARACTERS + 300
                        assert old in answer
                memory.extend([message])
    assert asked > 10


def _place_with(memory: OpticalMemory, text: str) -> str | None:
    """Return the place of the newest result with a text, where there is one."""
    turns = [turn for turn in memory.turns() if turn.role == "tool" and text in turn.text]
    return f"#{turns[-1].seq + 1}" if turns else None


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
