"""How much of a result is text follows from the turns before it: the same live, after a restart, a rewind, a purge."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from optical_memory import OpticalMemory, get_profile
from optical_memory.budget import count_message
from optical_memory.context.actions import reading
from optical_memory.context.epoch import Totals
from optical_memory.context.plan import Limits
from optical_memory.stores import MemoryStore
from optical_memory.turns import Turn

Message = dict[str, Any]
EVERY = 7
"""Turns between two restarts, which meet an epoch at its beginning, amid it and at its end, and open calls too."""


def opened(store: MemoryStore, profile: str, budget: int) -> OpticalMemory:
    return OpticalMemory("s", store=store, profile=profile, budget=budget, renderer="dense", draw_ahead=False)


def sent(memory: OpticalMemory) -> bytes:
    return json.dumps(memory.messages()).encode()


def by_pace(memory: OpticalMemory) -> tuple[int, int]:
    """Return how many results of the tail are text though they cost more than their share, and how many are not.

    Those with the text of a file, which have a larger share, do not count.
    """
    share, files = Limits.of(memory.budget, memory.profile).inline_tokens, reading(memory.turns())
    latest = {piece.turn_ids[0]: piece.turn for piece in memory.context().latest if piece.kind == "turn"}
    results = [turn for turn in memory.context().recent if turn.role == "tool" and turn.tool_call_id not in files]
    large = [turn for turn in results if _cost(memory, turn) > share]
    return sum(latest[turn.id] == turn for turn in large), sum(latest[turn.id] != turn for turn in large)


def _cost(memory: OpticalMemory, turn: Turn) -> int:
    return count_message(turn, memory.profile)


@pytest.mark.parametrize(
    ("profile", "budget"), [("gpt-5", 16_000), ("deepseek-ocr", 20_000), ("claude-4.7", 32_000), ("mini", 12_000)]
)
def test_a_restart_sends_what_was_sent(profile: str, budget: int, coding_session: dict[str, Any]) -> None:
    text, pages = 0, 0
    store = MemoryStore()
    with opened(store, profile, budget) as memory:
        for number, message in enumerate(coding_session["messages"]):
            memory.extend([message])
            context = memory.context()
            if number % EVERY:
                continue
            with opened(store, profile, budget) as again:
                assert sent(again) == sent(memory), number
                assert again.context().epoch == context.epoch
            now = by_pace(memory)
            text, pages = text + now[0], pages + now[1]
        assert memory.context().epoch >= 2
    assert text and pages, "results are text by the pace of the session, and others are not"


def test_what_was_sent_stands_until_the_next_epoch(coding_session: dict[str, Any]) -> None:
    """Also while one call after the other of a turn is answered."""
    with opened(MemoryStore(), "gpt-5", 16_000) as memory:
        shown = []
        for message in coding_session["messages"]:
            memory.extend([message])
            context = memory.context()
            turns = [(piece.message, piece.text) for piece in context.latest if piece.kind == "turn"]
            shown.append((context.epoch, turns))
        assert context.epoch >= 2
    for (epoch, before), (same, now) in pairwise(shown):
        assert epoch != same or now[: len(before)] == before


def test_after_a_rewind_a_restart_sends_what_is_sent(coding_session: dict[str, Any]) -> None:
    messages, store = coding_session["messages"], MemoryStore()
    with opened(store, "gpt-5", 16_000) as memory:
        memory.follow(messages[:90])
        memory.context()
        for end in (80, 40, 12):
            memory.follow(messages[:end])
            for more in range(end + 1, min(end + 30, len(messages)), 6):
                memory.follow(messages[:more])
                with opened(store, "gpt-5", 16_000) as again:
                    assert sent(again) == sent(memory), (end, more)


def test_after_a_purge_a_restart_sends_what_is_sent(coding_session: dict[str, Any]) -> None:
    messages, store = coding_session["messages"], MemoryStore()
    with opened(store, "gpt-5", 16_000) as memory:
        memory.add("system", "You mend programs. Say what you did in one sentence.")
        memory.extend(messages[:80])
        memory.context()
        for place in (0, 6, 30, 70, 75):
            memory.forget(turn_id=f"#{place + 1}")
            memory.extend(messages[80 + place // 5 : 84 + place // 5])
            with opened(store, "gpt-5", 16_000) as again:
                assert sent(again) == sent(memory), place


def test_the_sums_of_what_is_sealed_are_those_of_its_turns(airline_sessions: list[dict[str, Any]]) -> None:
    messages = [message for session in airline_sessions[:3] for message in session["messages"]]
    with opened(MemoryStore(), "gpt-5", 6_000) as memory:
        memory.extend(messages)
        assert memory.context().epoch
        epoch = memory._view.epoch
        turns = [turn for turn in memory.turns() if turn.seq <= epoch.sealed_through]
        system = sum(_cost(memory, turn) for turn in turns if turn.is_instruction)
        assert system and epoch.totals.system_tokens == system
        assert epoch.totals.text_tokens == sum(_cost(memory, turn) for turn in turns)
        assert epoch.totals.turns == len(turns)


def test_a_result_may_cost_more_the_larger_the_budget_and_less_where_turns_are_too_long() -> None:
    profile = get_profile("gpt-5")
    limits = [Limits.of(budget, profile) for budget in (2_000, 4_000, 8_000, 16_000, 32_000, 64_000)]
    for each in (200, 700, 1_000, 2_000, 4_000):
        by_budget = [limit.as_text(Totals(turns=50, text_tokens=50 * each)) for limit in limits]
        assert by_budget == sorted(by_budget)
        assert by_budget[-1] > 3 * each or each == 4_000, "about four turns' worth, where they fit"
    by_length = [limits[3].as_text(Totals(turns=50, text_tokens=50 * each)) for each in (700, 1_000, 2_000, 4_000)]
    assert by_length == sorted(by_length, reverse=True) and by_length[-1] < limits[3].inline_tokens < by_length[0]
    spoken = Totals(turns=50, text_tokens=35_000)
    instructed = replace(spoken, text_tokens=43_000, system_tokens=8_000)
    assert limits[3].as_text(instructed) == limits[2].as_text(spoken), "instructions are taken off the budget"
    assert limits[3].as_text(replace(spoken, text_tokens=10**9, system_tokens=10**9)) < limits[3].inline_tokens
