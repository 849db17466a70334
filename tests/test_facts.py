"""Facts: what is found, how it is written beside a page, and how long it takes on hostile text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transcripts import Transcripts

from optical_memory.facts import Fact, extract, facts_line
from optical_memory.formats import to_turns
from optical_memory.turns import CALL_MARK, ToolCall, Turn, transcript

FOUND: dict[str, list[str]] = {
    "id": [
        "HATHAT",
        "3RK2T9",
        "HAT190",
        "liam_khan_2521",
        "credit_card_7434610",
        "call_QCD2TymKvAvRYZa95ZLcta8r",
        "toolu_01F283NsTNAMNq8osHS1Nf2L",
        "AKIAIOSFODNN7EXAMPLE",
        "sk-proj-Ab12Cd34Ef56Gh78",
        "123e4567-e89b-12d3-a456-426614174000",
        "PROJ-1234",
        "4111111111111111",
    ],
    "hash": ["3f2a9bc", "deadbeefcafe1234", "da39a3ee5e6b4b0d3255bfef95601890afd80709", "0x7fffdeadbeef"],
    "url": [
        "https://example.com/a?b=1&c=%20#d",
        "https://en.wikipedia.org/wiki/Oslo_(city)",
        "postgres://user:pw@host:5432/db",
        "s3://bucket/key.parquet",
        "www.example.com/a",
    ],
    "email": ["liam.khan7273@example.com", "a+b@mail.example.co.uk"],
    "path": [
        "/usr/local/bin/foo.sh",
        "/etc/hosts",
        "./scripts/run",
        "../x/y.py",
        "~/notes/todo.md",
        "src/main.rs:120",
        "meta/src/optimizer/mod.rs",
        "README.md",
        r"C:\Program Files\X\y.txt",
        "/home/jürgen/отчёт.txt",
    ],
    "amount": ["$1,234.56", "€ 5.20", "USD 500", "500 USD", "15%", "2.5 GB", "-$50", "¥3000", "12 kg", "300元"],
    "date": [
        "2024-05-23",
        "2024-05-23T10:00:00Z",
        "2024-05-23 10:00:00.123+02:00",
        "05/23/2024",
        "May 23rd, 2024",
        "23 May 2024",
        "10:30 AM",
        "18:45:10",
        "2024年5月23日",
    ],
    "version": ["v1.2.3", "10.0.1", "2.0.0-rc.1", "192.168.0.1"],
    "phone": ["+1 (555) 123-4567", "(555) 123-4567", "555-123-4567", "+442079460958"],
}


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in FOUND.items() for value in values])
def test_each_kind_is_found_exactly(kind: str, value: str) -> None:
    for text in (
        value,
        f"see {value}, and so on",
        f"({value})",
        f"**{value}**.",
        f"订单{value}，",
        f'{{"a":"{value}"}}',
    ):
        if text.startswith("**") and kind in ("url", "path"):
            continue
        assert (kind, value) in [(fact.kind, fact.value) for fact in extract(text)], text


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("Cabin Class: Economy", "Cabin Class", "Economy"),
        ("- **Origin:** IAH\n", "Origin", "IAH"),
        ('{"amount": 500, "x": 1}', "amount", "500"),
        ('{"status":"cancelled"}', "status", "cancelled"),
        ("debug=true;", "debug", "true"),
        ("insurance: no", "insurance", "no"),
        ("name: Liam Khan\n", "name", "Liam Khan"),
    ],
)
def test_pairs(text: str, key: str, value: str) -> None:
    fact = extract(text, "t")[0]
    assert fact == Fact("pair", value, "t", key) and str(fact) == f"{key}: {value}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Nothing here is exact, is it? Well-known words; e.g. this one.",
        "SELECT README utf8 i32 self.items foo_bar",
        "He said: this is a sentence that goes on and on without an end",
        "user: Hi",
        "Decaded facades defaced",
    ],
)
def test_prose_has_no_facts(text: str) -> None:
    assert extract(text) == []


def test_order_turns_and_repetition() -> None:
    facts = extract("A1B2C3 then $5 then A1B2C3", "t9")
    assert [(fact.value, fact.turn_id) for fact in facts] == [("A1B2C3", "t9"), ("$5", "t9"), ("A1B2C3", "t9")]


def test_marks_of_calls_are_no_facts() -> None:
    call = ToolCall(id="call_x8zK2d", name="search", arguments='{"q": "HAT190"}')
    header, body = transcript(Turn(id="a", role="assistant", tool_calls=(call,)))
    assert CALL_MARK.search(body)
    assert [fact.value for fact in extract(f"{header}: {body}")] == ["HAT190"]
    header, body = transcript(Turn(id="a", role="tool", name="f", text="ok", tool_call_id="call_x8zK2d"))
    assert CALL_MARK.search(header) and extract(header) == []


def tokens(text: str) -> int:
    """Count tokens roughly as the real encodings do: words, digits by three, marks."""
    return len(re.findall(r"[A-Za-z]{1,6}|\d{1,3}|\S", text))


def test_the_line_is_bounded_and_counts_what_is_left_out() -> None:
    facts = [fact for n in range(40) for fact in extract(f"order AB{n:02}CD and /srv/data/file{n}.csv", str(n))]
    for bound in (0, 3, 12, 40, 64, 200):
        line = facts_line(facts, bound, tokens)
        assert tokens(line) <= bound
        shown = line.partition(" (+")[0].split(" | ") if line else []
        if shown:
            assert line.endswith(f" (+{80 - len(shown)} more)") and set(shown) <= {str(fact) for fact in facts}
    everything = facts_line(facts, 10_000, tokens)
    assert "more)" not in everything and len(everything.split(" | ")) == 80
    assert facts_line([], 64, tokens) == ""
    assert facts_line(facts, 64, tokens) == facts_line(facts, 64, tokens)


def test_the_most_useful_come_first() -> None:
    text = "cabin: economy on May 23, v1.2.3 for $420, order 3RK2T9, 20% of users"
    line = facts_line(extract(text), 64, tokens)
    assert line == "3RK2T9 | $420 | May 23 | v1.2.3 | 20% | cabin: economy" or line.startswith("3RK2T9 | $420")
    asked = extract("Change HAT190", "u") + extract("HAT021 HAT022 HAT023 HAT190 HAT024 HAT025", "t")
    assert facts_line(asked, 64, tokens).startswith("HAT190 | ")


def test_values_of_neighbours_are_not_repeated() -> None:
    facts = extract("HAT190 HAT021 insurance: no")
    assert facts_line(facts, 64, tokens, seen={"HAT190"}) == "HAT021 | insurance: no"
    assert facts_line(facts, 64, tokens, seen={"HAT190", "HAT021", "insurance: no"}) == ""


@given(st.text(st.sampled_from("a1F:/.=\n\r\0\x1b\u202e\u2028\ud800 $@-\\\"'é中"), max_size=60))
def test_any_text_gives_values_of_the_text_and_one_line(text: str) -> None:
    facts = extract(text)
    for fact in facts:
        assert fact.value in text and fact.key in text and fact.value.isprintable()
    assert facts_line(facts, 64, len).isprintable()


@pytest.mark.parametrize("name", ["\x1b[31mHAT190", "HAT\u202e190", "a\0b: c\0d", "key: va\u200blue"])
def test_control_characters_do_not_reach_the_line(name: str) -> None:
    assert facts_line(extract(f"{name}\n{name}\r\n"), 64, len).isprintable()


HOSTILE = [
    "a", "1", "a.", "a@", "a@a.", "/a", "http://", "{", "key:", "a: a ", "\n", "1,", "1 ", "(", "(1", "a ", "ABCDEF ",
    "C:\\", "a b\\", "+1 2", "-", "a=", "aaaa aaaa aaaa ", "Jan ", "12:", "$", "$1", "0x", "\ud800", '"x":"y",',
    "ab: cd ef gh ij kl ", "f1", "~/", "../", "ab12 ", "中", "tool call a (", "_", "1.1.",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_megabyte_of_hostile_text_gives_a_short_line(piece: str) -> None:
    text = (piece * (1_000_000 // len(piece) + 1))[:1_000_000]
    assert len(facts_line(extract(text), 64, len)) <= 64


def test_real_conversations(transcripts: Transcripts) -> None:
    """What customers and tools name is found in every conversation."""
    for session in transcripts.airline:
        turns = [turn for turn in to_turns(session["messages"]) if not turn.is_instruction]
        for turn in turns:
            found = {fact.value for fact in extract("\n".join(transcript(turn)), turn.id)}
            for call in turn.tool_calls:
                for fact in extract(call.arguments):
                    assert fact.value in found
