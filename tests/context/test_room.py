"""The room there is: nothing is archived while a gist of it fits, and more budget is never less memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from optical_memory import OpticalMemory
from optical_memory.budget import count_message
from optical_memory.context.base import Context
from optical_memory.context.view import SessionView
from optical_memory.policies import BudgetedPolicy
from optical_memory.policies.base import PageInfo, Plan
from optical_memory.wording import GIST
from tests.provider_rules import check


def covered(memory: OpticalMemory) -> set[int]:
    """Return the places of the turns that stand in the context: on a page, in a gist that covers them, or as text."""
    context = memory.context()
    view: SessionView = memory._view
    places = {turn.seq for turn in context.recent}
    for first, last in view.path():
        places |= {p for p in range(first, last + 1) if any(entry.covers(p) for entry in view.epoch.entries)}
    ids = {turn_id for piece in context.past for turn_id in piece.turn_ids}
    return places | {turn.seq for turn in memory.store.get(memory.session, list(ids))}


def bulk(messages: list[dict[str, Any]], profile: str, budget: int) -> tuple[set[int], Context]:
    with OpticalMemory(profile=profile, budget=budget, renderer="dense") as memory:
        memory.extend(messages)
        context = memory.context()
        assert context.tokens == sum(piece.tokens for piece in context.pieces()) <= budget
        return covered(memory), context


@pytest.mark.parametrize("profile", ["deepseek-ocr", "mini", "gpt-5", "claude", "gemini-3", "qwen3-vl"])
def test_more_budget_covers_no_less(profile: str, coding_session: dict[str, Any]) -> None:
    messages = coding_session["messages"]
    before: set[int] = set()
    for budget in (3_000, 8_000, 16_000, 32_000):
        now, context = bulk(messages, profile, budget)
        assert before <= now, (budget, sorted(before - now))
        assert not context.archived_pages
        before = now
    assert now == set(range(len(messages)))


@pytest.mark.parametrize("profile", ["deepseek-ocr", "mini", "gpt-5", "claude-4.7", "gemini-3", "qwen3-vl"])
def test_the_budget_is_used_at_an_epochs_end(profile: str, coding_session: dict[str, Any]) -> None:
    budget, ends = 16_000, list[float]()
    with OpticalMemory(profile=profile, budget=budget, renderer="dense") as memory:
        before = memory.context()
        for message in coding_session["messages"]:
            memory.extend([message])
            context = memory.context()
            if context.epoch > before.epoch:
                ends.append(before.tokens / budget)
            before = context
            assert not context.archived_pages
        assert ends and sum(ends) / len(ends) >= 0.9
        assert before.epoch <= len(coding_session["messages"]) / 20


@pytest.mark.parametrize("profile", ["claude-4.7", "gemini-3", "qwen3-vl", "gpt-5"])
def test_where_images_are_dear_the_past_is_never_empty(profile: str, airline_sessions: list[dict[str, Any]]) -> None:
    shown = 0
    for session in airline_sessions[:6]:
        with OpticalMemory(session["id"], profile=profile, budget=4_000, renderer="dense") as memory:
            for message in session["messages"]:
                memory.extend([message])
                context = memory.context()
                if context.epoch:
                    shown += 1
                    kinds = [piece.kind for piece in context.pieces()]
                    sent = [piece for piece in context.pieces() if piece.kind != "instructions"]
                    assert sent[0].kind == "header" and "recall" in sent[0].text and sent[0].role == "user"
                    assert "page" in kinds or "record" in kinds
                    assert "what the user said" in " ".join(piece.text for piece in context.past)
            for format in ("openai", "responses", "anthropic", "gemini"):
                request = memory.request(format, recall=True)
                check(format, request)
                turns = request.get("messages") or request.get("contents") or request["input"]
                assert next(turn["role"] for turn in turns if turn.get("role") != "system") == "user"
    assert shown


def test_a_budget_without_room_for_one_page_has_a_gist_in_text(airline_sessions: list[dict[str, Any]]) -> None:
    said = [m for session in airline_sessions[:8] for m in session["messages"] if m["role"] in ("user", "assistant")]
    talk = [{"role": message["role"], "content": message["content"]} for message in said if message["content"]]
    budget, gists = 1_400, 0
    with OpticalMemory(profile="claude-4.7", budget=budget, renderer="dense") as memory:
        memory.add("system", "Be brief. " * 100)
        for message in talk:
            memory.extend([message])
            context = memory.context()
            assert context.tokens == sum(piece.tokens for piece in context.pieces()) <= budget
            gists += any(piece.text.startswith("[the most telling lines") for piece in context.past)
        assert context.epoch > 3 and not context.pages and gists > len(talk) / 2
        again = OpticalMemory(profile="claude-4.7", budget=budget, renderer="dense", store=memory.store)
        assert [piece.text for piece in again.context().pieces()] == [piece.text for piece in context.pieces()]


class Watched:
    """The default policy, with what it was asked and what it archived."""

    def __init__(self) -> None:
        self.policy, self.archived = BudgetedPolicy(), 0

    def plan(self, pages: Sequence[PageInfo], *, now: float, budget: int, gist_tokens: int) -> Plan:
        plan = self.policy.plan(pages, now=now, budget=budget, gist_tokens=gist_tokens)
        pinned = sum(min(page.costs.values()) for page in pages if page.floor is not None)
        if plan.archived:
            assert budget - pinned < gist_tokens, "a gist page would have had room"
        self.archived += len(plan.archived)
        return plan


@pytest.mark.parametrize("budget", [4_000, 8_000])
def test_pages_of_dear_images_are_archived_only_where_no_gist_fits(
    budget: int, airline_sessions: list[dict[str, Any]]
) -> None:
    policy, gone = Watched(), 0
    for session in airline_sessions[:6]:
        with OpticalMemory(
            session["id"], profile="claude-4.7", budget=budget, renderer="dense", policy=policy
        ) as memory:
            for message in session["messages"]:
                memory.extend([message])
                context = memory.context()
                if context.archived_pages:
                    assert any(piece.text.startswith(GIST) for piece in context.past), "their gist is text"
            gone += context.archived_pages
    assert policy.archived >= gone and (gone > 0) == (budget == 4_000)


@pytest.mark.parametrize("profile", ["deepseek-ocr", "mini", "gpt-5", "gemini-3"])
def test_pages_on_arrival_save_a_quarter_of_the_text_or_it_stays_text(profile: str) -> None:
    shown = {"pages": 0, "text": 0}
    for rows in range(10, 180, 10):
        body = "\n".join(
            f"| HAT{number:03d} | 2024-05-{number % 28 + 1:02d} | ${number * 7}.50 |" for number in range(rows)
        )
        call = {"id": "c1", "function": {"name": "search", "arguments": "{}"}, "type": "function"}
        with OpticalMemory(profile=profile, budget=8_000, renderer="dense") as memory:
            memory.add("user", "Which flights are there?")
            memory.add("assistant", tool_calls=[call])
            turn = memory.add("tool", body, tool_call_id="c1")
            cost = count_message(turn, memory.profile)
            pieces = [piece for piece in memory.context().latest if turn.id in piece.turn_ids]
        if cost <= 500:  # a sixteenth of the budget
            assert [piece.turn for piece in pieces] == [turn]
        elif any(piece.page for piece in pieces):
            shown["pages"] += 1
            assert sum(piece.tokens for piece in pieces) <= 0.75 * cost
        elif pieces[0].turn == turn:
            shown["text"] += 1
    assert all(shown.values())
