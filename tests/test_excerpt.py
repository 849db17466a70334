"""Excerpts: what is kept, that it is exact, marked and in order, and that it fits."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optical_memory.excerpt import MARK, cells, excerpt
from optical_memory.formats import to_turns
from optical_memory.renderers.layout import Run
from optical_memory.turns import transcript


def run(text: str, role: str = "user", header: str = "user", turn_id: str = "t") -> Run:
    return Run(turn_id=turn_id, role=role, header=header, text=text)


def runs_of(messages: list[dict[str, Any]]) -> list[Run]:
    shown = [(turn, *transcript(turn)) for turn in to_turns(messages) if not turn.is_instruction]
    return [run(body, turn.role, header, turn.id) for turn, header, body in shown]


def size(runs: list[Run]) -> int:
    return sum(cells(each.text) + cells(each.header) + 3 for each in runs)


def rows(runs: list[Run], columns: int) -> int:
    return sum(-(-(cells(each.text) + cells(each.header) + 3) // columns) * columns for each in runs)


def pieces(text: str) -> list[str]:
    return [piece.strip() for piece in text.split(MARK) if piece.strip()]


def assert_from(kept: list[Run], given: list[Run]) -> None:
    """Raise where something was added, reordered, or left out without a mark."""
    places = []
    for each in kept:
        place = next(n for n, source in enumerate(given) if source.turn_id == each.turn_id)
        places.append(place)
        source = given[place]
        assert (each.role, each.header) == (source.role, source.header)
        at = 0
        for piece in pieces(each.text):
            at = source.text.index(piece, at) + len(piece)
        assert MARK in each.text or each.text.strip() == source.text.strip()
    assert places == sorted(set(places))


FILLER = "The weather was as it had been on all the days before, and nobody had anything to say about it. "


def test_a_text_that_fits_is_returned_unchanged() -> None:
    given = [run("One.\n\nTwo. "), run("", turn_id="u")]
    assert excerpt(given, 100) == given
    assert excerpt([], 10) == [] and excerpt(given, 0) == []


def test_omissions_are_marked_where_they_are() -> None:
    text = f"{FILLER * 9}We decided to ship version 2.4.1 on Friday. {FILLER * 9}"
    (kept,) = excerpt([run(text)], 90)
    assert kept.text == f"{MARK} We decided to ship version 2.4.1 on Friday. {MARK}"
    given = [run("The code is QX7781, keep it."), run(FILLER * 9, "tool", "tool result", "u")]
    assert [each.text for each in excerpt(given, 60)] == ["The code is QX7781, keep it."]
    first, second = excerpt(given, 200)
    assert first.text == "The code is QX7781, keep it." and second.text.endswith(MARK)
    (only,) = excerpt([*given[::-1], run("Seat 14C in row 22 for Ms Okafor.", turn_id="b")][:2], 60)
    assert only.text == "The code is QX7781, keep it."


def test_neighbouring_lines_stay_as_they_stood() -> None:
    text = "First we met Ada Byron in 1833.\n\n  Then we met Karl Weber in 1834.\n" + FILLER * 20
    (kept,) = excerpt([run(text)], 90)
    assert kept.text.startswith("First we met Ada Byron in 1833.\n\n  Then we met Karl Weber in 1834. […]") or (
        "First we met Ada Byron in 1833.\n\n  Then we met Karl Weber in 1834." in kept.text
    )


def test_who_said_it_and_what_was_decided_count() -> None:
    line = "the shipment leaves the harbour at noon"
    given = [
        run(f"log {line} today", "tool", "tool", "a"),
        run(f"I want that {line} instead", "user", "user", "b"),
        run(f"say {line} maybe", "assistant", "assistant", "c"),
    ]
    assert [each.turn_id for each in excerpt(given, 75)] == ["b"]


def test_a_repeated_line_counts_once() -> None:
    line = "Invoice 7781 over 420 dollars was paid by Okafor on 3 May."
    given = [run(f"{line}\nOn day {n} it was all about Mr {name}.", turn_id=name) for n, name in enumerate("ABCDEFGH")]
    kept = excerpt(given, 300)
    assert sum(each.text.count("7781") for each in kept) == 1 and len(kept) > 1


def test_excerpts_of_excerpts(coding_session: dict[str, Any]) -> None:
    given = runs_of(coding_session["messages"])[:60]
    whole, kept = given, given
    for _ in range(4):
        capacity = size(kept) // 3
        again = excerpt(kept, capacity, columns=40)
        assert rows(again, 40) <= capacity
        assert_from(again, kept)
        assert_from(again, whole)
        assert not any(f"{MARK} {MARK}" in each.text for each in again)
        kept = again
    assert kept


@pytest.mark.parametrize("columns", [1, 40, 102])
def test_real_conversations_fit_and_are_exact(columns: int, airline_sessions: list[dict[str, Any]]) -> None:
    for session in airline_sessions[:20]:
        given = runs_of(session["messages"])
        for ratio in (3, 8, 32):
            capacity = size(given) // ratio
            kept = excerpt(given, capacity, columns=columns)
            assert rows(kept, columns) <= capacity
            assert_from(kept, given)
            if ratio < 32:
                assert rows(kept, columns) > capacity * 0.5


def test_any_language() -> None:
    text = "今天天气很好。" * 30 + "我们决定把服务器迁移到上海机房，编号是A-731。" + "今天天气很好！" * 30
    (kept,) = excerpt([run(text)], 70)
    assert "编号是A-731。" in kept.text and kept.text.startswith(MARK) and kept.text.endswith(MARK)
    thai = "อากาศดี " * 200
    assert 0 < cells(excerpt([run(thai)], 300)[0].text) <= 300
    russian = (
        "Погода была хорошей. " * 30 + "Мы решили перенести встречу на 14 мая в Казань. " + "Погода была хорошей. " * 30
    )
    assert "14 мая в Казань." in excerpt([run(russian)], 80)[0].text


any_text = st.text(st.sampled_from("ab1 .\n,。中é\x1b\ud800…[]!?"), max_size=300) | st.sampled_from([MARK, FILLER, ""])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(any_text, st.sampled_from(["user", "tool"])), max_size=5), st.integers(0, 200))
def test_any_text_fits(given_texts: list[tuple[str, str]], capacity: int) -> None:
    given = [run(text, role, role, str(n)) for n, (text, role) in enumerate(given_texts)]
    kept = excerpt(given, capacity)
    assert size(kept) <= capacity
    assert excerpt(given, capacity) == kept
    for each in kept:
        source = given[int(each.turn_id)].text
        assert all(piece in source for piece in pieces(each.text))


def test_the_same_in_every_process(airline_sessions: list[dict[str, Any]]) -> None:
    given = [[each.turn_id[:4], each.role, each.header, each.text] for each in runs_of(airline_sessions[0]["messages"])]
    code = (
        "import json, sys\nfrom optical_memory.excerpt import excerpt\n"
        "from optical_memory.renderers.layout import Run\n"
        "runs = [Run(turn_id=t, role=r, header=h, text=x) for t, r, h, x in json.load(sys.stdin)]\n"
        "print(json.dumps([run.text for run in excerpt(runs, 900)]))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def words(text: str) -> str:
    return " " + " ".join(re.findall(r"[^\W_]+", text.lower())) + " "


def test_answers_survive_more_often_than_by_chance(bfcl_memory: Path) -> None:
    """Memory questions: an eighth of the text holds far more than an eighth of the answers."""
    answers = read(bfcl_memory / "answers.jsonl")
    chosen, by_chance = 0, 0.0
    for name in ("student", "customer", "finance"):
        rounds = [
            message
            for row in read(bfcl_memory / f"conversation_{name}.jsonl")
            for turn in row["question"]
            for message in turn
        ]
        given = runs_of(rounds)
        asked = [[words(answer) for answer in row["ground_truth"]] for row in answers if f"-{name}-" in row["id"]]

        def survive(lines: list[str], asked: list[list[str]] = asked) -> int:
            text = words(" ".join(lines))
            return sum(any(answer in text for answer in row) for row in asked)

        capacity = size(given) // 8
        chosen += survive([each.text for each in excerpt(given, capacity)])
        lines = [line for each in given for line in each.text.split(". ")]
        for seed in range(5):
            drawn, room = [], capacity
            for line in random.Random(seed).sample(lines, len(lines)):
                drawn += [line] if len(line) <= room else []
                room -= len(line) if len(line) <= room else 0
            by_chance += survive(drawn) / 5
    assert chosen > 1.3 * by_chance


@pytest.mark.parametrize("piece", ["x", "a b. ", "中", "\n", ". ", '"a":1,', MARK, f"{MARK} a ", "1.1 "])
def test_an_excerpt_of_a_megabyte_fits(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    assert size(excerpt([run(text, header="")], 6500)) <= 6500 + 3
