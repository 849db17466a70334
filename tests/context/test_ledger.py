"""The ledger of exact values: each once, chosen by use, what was replaced marked, what was forgotten gone."""

from __future__ import annotations

import json
from typing import Any

from optical_memory import OpticalMemory, Turn
from optical_memory.context.ledger import Ledger
from optical_memory.turns import ToolCall
from optical_memory.wording import BETWEEN, VALUES


def count(text: str) -> int:
    return -(-len(text) // 4)


def user(place: int, text: str) -> Turn:
    return Turn(id=f"t{place}", role="user", text=text, seq=place)


def calling(place: int, arguments: str) -> Turn:
    calls = (ToolCall(id="c", name="get", arguments=arguments),)
    return Turn(id=f"t{place}", role="assistant", tool_calls=calls, seq=place)


def result(place: int, text: str) -> Turn:
    return Turn(id=f"t{place}", role="tool", text=text, tool_call_id="c", seq=place)


def items(ledger: Ledger) -> list[str]:
    label, _, line = ledger.shown.partition("\n")
    assert not ledger.shown or label == VALUES
    return line.split(BETWEEN) if line else []


def test_what_was_asked_for_goes_before_what_was_seen() -> None:
    seen = " ".join(f"user_{number:04}_x{number}" for number in range(1_000, 1_300))
    turns = [
        result(0, seen),
        user(1, "Where is order HKT-88213?"),
        calling(2, '{"id": "HKT-88213", "to": "mia_li_3668"}'),
    ]
    ledger = Ledger().with_turns(turns, 60, count)
    assert ledger.tokens == count(ledger.shown) <= 60
    assert {"HKT-88213", "mia_li_3668"} <= set(items(ledger))
    assert len(set(items(ledger))) == len(items(ledger))


def test_the_value_used_last_is_first_and_none_is_shown_that_stands_beside() -> None:
    turns = [calling(0, '{"a": "ORD-11111"}'), calling(1, '{"a": "ORD-22222"}'), calling(2, '{"a": "ORD-33333"}')]
    assert items(Ledger().with_turns(turns, 500, count)) == ["ORD-33333", "ORD-22222", "ORD-11111"]
    assert items(Ledger().with_turns(turns, 500, count, "as said: ORD-22222")) == ["ORD-33333", "ORD-11111"]


def test_a_value_given_anew_by_the_user_replaces_the_older_one() -> None:
    ledger = Ledger().with_turns([user(0, "port: 8443x\nhost: db-17.local")], 500, count)
    ledger = ledger.with_turns([user(1, "port: 9553x")], 500, count)
    assert "port: 9553x (before: 8443x)" in items(ledger)
    assert not any(item == "port: 8443x" for item in items(ledger))


def test_junk_is_no_value() -> None:
    ledger = Ledger().with_turns([calling(0, r'{"c": "/\n\tplaceholder // *** /\\*", "p": "/src/a/b.py"}')], 500, count)
    assert items(ledger) == ["/src/a/b.py"]


def test_names_of_arguments_and_fields_are_no_values_unless_they_are_used() -> None:
    call = '{"reservation_id": "8JX2WO", "old_string": "x = order_total", "timeout": 120000}'
    answer = '{"user_id": "mia_li_3668", "flights": [{"flight_number": "HAT271", "payment_id": "credit_card_4421486"}]}'
    ledger = Ledger().with_turns([calling(0, call), result(1, answer)], 500, count)
    found = {"8JX2WO", "order_total", "mia_li_3668", "HAT271", "credit_card_4421486"}
    assert set(items(ledger)) == found
    ledger = ledger.with_turns([user(2, "Please rename user_id everywhere.")], 500, count)
    assert set(items(ledger)) == found | {"user_id"}


def test_a_file_that_grep_names_with_a_line_is_the_file() -> None:
    arguments = json.dumps({"command": "grep -n -A3 consume kombu src"})
    listing = "kombu/on/files.py-347-    x\n/app/main.rs-12-\nsrc/tool.c:14: y\nlogs/report-2024\n./data/v1-2.csv"
    shown = set(items(Ledger().with_turns([calling(0, arguments), result(1, listing)], 500, count)))
    assert {"kombu/on/files.py", "/app/main.rs", "src/tool.c"} <= shown
    assert not any(item.endswith(("-347", "-12", ":14")) for item in shown)


def test_escapes_options_and_numbers_of_lines_are_no_values() -> None:
    command = r"cut -c1-120 src/a_b.rs | sed -n 1400,1470p; grep 'u2014\\nRDATE_KEY' x --max-count=20"
    arguments = json.dumps({"command": command, "note": "an em dash — \n NEXT_KEY\n"})
    listing = "\n".join(f"{4620 + number}-def handler_{number}(x):" for number in range(5)) + "\ntag v1.22.333"
    numbered = result(1, listing)
    ledger = Ledger().with_turns([calling(0, arguments), numbered], 500, count)
    shown = set(items(ledger))
    assert {"src/a_b.rs", "NEXT_KEY", "RDATE_KEY", "v1.22.333"} <= shown
    assert not shown & {"c1-120", "1470p", "nRDATE_KEY", "nNEXT_KEY", "max-count"}
    assert not any(item.endswith("-def") for item in shown)


def test_more_room_shows_no_less(coding_session: dict[str, Any]) -> None:
    before: set[str] = set()
    with OpticalMemory(renderer="dense") as memory:
        turns = memory.extend(coding_session["messages"])
    for room in (0, 20, 60, 200, 600, 2_000):
        ledger = Ledger().with_turns(turns, room, count)
        assert ledger.tokens <= room
        assert len(items(ledger)) >= len(before)
        before = set(items(ledger))
    assert len(before) > 100


def test_values_leave_with_the_turns_that_are_forgotten_or_rewound(coding_session: dict[str, Any]) -> None:
    said = {"role": "user", "content": "The release is tagged v9.77.3131 and its key is KQX-771204."}
    history = [coding_session["messages"][0], said, *coding_session["messages"][1:60]]
    with OpticalMemory(profile="gpt-5", budget=8_000, renderer="dense") as memory:
        memory.follow(history)

        def shown() -> str:
            return " ".join(piece.text for piece in memory.context().pieces())

        assert "KQX-771204" in shown() and VALUES in shown()
        memory.follow([history[0], *history[2:]])
        assert "KQX-771204" not in shown()
        memory.follow(history)
        memory.forget(turn_id=memory.recall("KQX-771204")[0].id)
        assert "KQX-771204" not in shown() and "9.77.3131" not in shown()
        again = OpticalMemory(profile="gpt-5", budget=8_000, renderer="dense", store=memory.store)
        assert [p.text for p in again.context().pieces()] == [p.text for p in memory.context().pieces()]
