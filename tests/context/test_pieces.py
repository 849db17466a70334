"""One sequence: what every consumer sends is the context's pieces, and costs what the context says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from optical_memory import OpticalMemory, profiles
from optical_memory.budget import count_tokens, get_profile
from optical_memory.context.base import Context, turns_of
from optical_memory.turns import open_calls

pytest.importorskip("torch", reason="what the decoder sees needs optical-memory[model]")

BUDGET = 8_000


def contexts(memory: OpticalMemory, messages: list[dict[str, Any]], every: int) -> list[Context]:
    found = []
    for number, message in enumerate(messages):
        memory.extend([message])
        context = memory.context()
        if number % every == 0 and not open_calls(context.recent):
            found.append(context)
    return found


@pytest.mark.parametrize("name", [*profiles()])
def test_tokens_are_the_sum_over_the_pieces(name: str, airline_sessions: list[dict[str, Any]]) -> None:
    messages = [message for session in airline_sessions[:5] for message in session["messages"][1:]]
    messages.insert(0, {"role": "system", "content": "You are a travel agent."})
    with OpticalMemory(profile=name, budget=BUDGET, renderer="dense") as memory:
        for context in contexts(memory, messages, every=9):
            pieces = list(context.pieces())
            assert context.tokens == sum(piece.tokens for piece in pieces) <= BUDGET
            assert [piece.page for piece in pieces if piece.page] == list(context.pages)
            assert [piece.turn_ids[0] for piece in context.latest if piece.turn] == [t.id for t in context.recent]
            kinds = [piece.kind for piece in context.past]
            if "header" in kinds:
                at = kinds.index("header")
                assert set(kinds[:at]) <= {"instructions"} and set(kinds[at + 1 :]) <= {"page", "record"}
            stored = {turn.id for turn in memory.store.turns("main")}
            assert {turn_id for piece in pieces for turn_id in piece.turn_ids} <= stored


@pytest.mark.parametrize("name", ["deepseek-ocr", "mini"])
def test_the_decoder_takes_in_every_piece_once_within_the_count(name: str, coding_session: dict[str, Any]) -> None:
    """System turns, records, calls and large results are neither left out nor sent twice."""
    from optical_memory.model.prompts import blocks

    profile = get_profile(name)
    messages = [{"role": "system", "content": "You are a careful engineer."}, *coding_session["messages"]]
    with OpticalMemory(profile=name, budget=16_000, renderer="dense") as memory:
        for context in contexts(memory, messages, every=10):
            taken = list(blocks(context))
            pages = [block for block in taken if not isinstance(block, str)]
            text = "".join(block for block in taken if isinstance(block, str))
            assert pages == list(context.pages)
            assert text.count("You are a careful engineer.") == 1
            for piece in context.pieces():
                assert piece.text in text
                for call in piece.turn.tool_calls if piece.turn else ():
                    assert call.arguments in text
            counted = count_tokens(text, profile) + sum(page.tokens for page in pages)
            assert counted <= context.tokens


def test_the_settings_of_images_are_sent_with_them(airline_sessions: list[dict[str, Any]]) -> None:
    """A page priced at a provider's setting leaves with that setting."""
    messages = [message for session in airline_sessions[:8] for message in session["messages"][1:]]
    seen = set()
    for name in profiles():
        profile = get_profile(name)
        if not profile.detail:
            continue
        with OpticalMemory(profile=name, budget=BUDGET, renderer="dense") as memory:
            memory.extend(messages)
            details = [piece.detail for piece in memory.context().pieces() if piece.page is not None]
            assert details and all(detail in profile.detail.values() for detail in details if detail)
            for format, word in (("openai", '"detail": "{}"'), ("gemini", "MEDIA_RESOLUTION")):
                text = json.dumps(memory.request(format))
                for detail in set(filter(None, details)):
                    wanted = word.format(detail)
                    gemini = detail.startswith("media_resolution")
                    if (format == "gemini") == gemini:
                        assert (detail.upper() if gemini else wanted) in text
                        seen.add((format, detail))
    assert {format for format, _ in seen} == {"openai", "gemini"}


def test_a_recalled_answer_stays_text() -> None:
    """Who asks for exact words gets words, also where another tool's result of that length arrives as pages."""
    with OpticalMemory(profile="mini", budget=8_000, renderer="dense") as memory:
        for name in ("recall", "search"):
            call = {"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}}
            memory.add("user", f"Please call {name}.")
            memory.add("assistant", None, tool_calls=[call])
            memory.add("tool", f"The answer of {name} is long and exact. " * 90, tool_call_id=name)
        results = [piece for piece in memory.context().pieces() if piece.turn and piece.turn.role == "tool"]
        assert "The answer of recall" in results[0].text
        assert "The answer of search" not in results[1].text
        assert [piece.kind for piece in memory.context().pieces()].count("page") >= 1


def test_instructions_are_counted_before_and_after_they_are_sealed(airline_sessions: list[dict[str, Any]]) -> None:
    with OpticalMemory(profile="mini", budget=2_000, renderer="dense") as memory:
        memory.add("system", "Be brief.")
        memory.add("developer", "Answer in French.")
        memory.add("user", "Hello.")
        assert memory.context().epoch == 0 and "system      2 turns as text" in memory.context().explain()
        memory.extend([m for m in airline_sessions[0]["messages"] if m["role"] != "system"])
        assert memory.context().epoch > 0 and "system      2 turns as text" in memory.context().explain()


def test_explaining_and_turns_map_the_same_pieces(airline_sessions: list[dict[str, Any]]) -> None:
    with OpticalMemory(profile="mini", budget=2_000, renderer="dense") as memory:
        for session in airline_sessions[:4]:
            memory.extend(session["messages"][1:])
            memory.context()
        memory.add("system", "Be brief.")
        context = memory.context()
        assert context.turns() == turns_of(context.pieces())
        text = context.explain()
        for piece in context.pieces():
            if piece.page is not None:
                assert piece.page.tier in text
        count = sum(piece.kind == "instructions" for piece in context.pieces())
        assert f"{count:,} turn" in text
