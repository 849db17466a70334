"""Instructions: equal ones are one, a changed one replaces the older, what says something else adds to what stands."""

from __future__ import annotations

from typing import Any

from optical_memory import OpticalMemory, Turn
from optical_memory.context.instructions import MOST_REPLACED, distinct, standing

PROMPT = (
    "You are a patient agent of an airline. Today is {day}. Look up the reservation first, then say what can be done. "
    "Never promise a refund before you have seen the fare rules. " * 6
)
RULES = "Tools: call get_reservation_details with the id that the customer gives; ask for it where there is none. " * 4
NOTE = "The customer is a member of the gold programme: upgrades cost nothing and two bags are free of charge. " * 2


def system(place: int, text: str) -> Turn:
    return Turn(id=f"s{place}", role="system", text=text, seq=place)


def texts(turns: tuple[Turn, ...]) -> list[str]:
    return [turn.text for turn in turns]


def test_a_changed_prompt_takes_the_place_of_the_older_one() -> None:
    monday, tuesday = PROMPT.format(day="2026-11-23, a Monday"), PROMPT.format(day="2026-11-24, a Tuesday")
    turns = [system(0, monday), system(1, RULES), system(7, NOTE), system(20, tuesday), system(21, RULES)]
    assert texts(standing(turns)) == [tuesday, RULES, NOTE]
    assert texts(standing([*turns, system(40, monday), system(41, RULES)])) == [monday, RULES, NOTE]


def test_parts_of_one_prompt_and_other_notes_all_stand() -> None:
    parts = [system(place, f"When you call the tool {name}, wait for its result and say what it found. " * 3 + name)
             for place, name in enumerate(("search", "book", "cancel"))]  # fmt: skip
    notes = [system(9, "Answer in French."), system(14, "Be brief, and name the seat."), system(19, NOTE)]
    assert standing([*parts, *notes]) == (*parts, *notes)


def test_replaced_ones_are_remembered_up_to_a_bound() -> None:
    turns = [system(10 * day, PROMPT.format(day=f"day {day}")) for day in range(300)]
    kept = distinct(turns)
    assert kept[-1] == turns[-1] and len(kept) == MOST_REPLACED + 1
    assert standing(kept) == (turns[-1],)


def test_many_starts_with_another_date_fit_and_a_rewind_has_the_older_one(
    airline_sessions: list[dict[str, Any]],
) -> None:
    history: list[dict[str, Any]] = []
    with OpticalMemory(profile="gpt-5", budget=4_000, renderer="dense") as memory:
        for start in range(26):
            said = [m for m in airline_sessions[start]["messages"] if m["role"] != "system"][:6]
            history += [{"role": "system", "content": PROMPT.format(day=f"day {start}")}, *said]
            memory.follow(history)
            context = memory.context()
            assert context.tokens == sum(piece.tokens for piece in context.pieces()) <= 4_000
        shown = [p.text for p in context.past if p.kind == "instructions"]
        assert len(shown) == 1 and len(memory.recall("patient agent of an airline", k=20)) > 5
        again = OpticalMemory(profile="gpt-5", budget=4_000, renderer="dense", store=memory.store)
        assert [p.text for p in again.context().pieces()] == [p.text for p in context.pieces()]
        sealed = int(shown[0].partition("Today is day ")[2].partition(".")[0])
        end = next(n for n, m in enumerate(history) if m["content"] == PROMPT.format(day=f"day {sealed}"))
        memory.follow(history[: end - 1])
        now = [p.text for p in memory.context().pieces() if p.kind == "instructions"]
        assert now and PROMPT.format(day=f"day {sealed - 1}") in now and shown[0] not in now
