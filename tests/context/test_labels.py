"""What stands as text beside a page of a large result: what is defined on it, exact values, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from optical_memory import OpticalMemory
from optical_memory.budget import count_tokens
from optical_memory.context.mentions import values_on
from optical_memory.context.plan import SHARES
from optical_memory.facts import listed
from optical_memory.renderers.visible import HEADER_MARK

CODE = f"""{HEADER_MARK}tool result (kUpxdK): 1\t// Copyright 2024
2\t// see http://example.org/licence
3\tfn rewrite(rule: &Rule) -> Rule {{ rewrite_inner(rule) }}
4\tfunc (s *Server) Accept(conn net.Conn) error {{
5\t    let result = from_pair(1);
6\t    from_pair(2)
"""


def test_what_is_defined_comes_with_exact_values_and_without_junk() -> None:
    kinds = {fact.value: fact.kind for fact in values_on(CODE)}
    assert kinds == {
        "http://example.org/licence": "url",
        "rewrite": "definition",
        "Accept": "definition",
        "rewrite_inner": "name",
        "from_pair": "name",
    }


def test_names_of_fields_are_no_values() -> None:
    found = {
        fact.value for fact in values_on('[{"flight_number": "HAT047", "total_price": 512, "note": "seat_map_b"}]')
    }
    assert "HAT047" in found
    assert "seat_map_b" in found
    assert not found & {"flight_number", "total_price"}


@pytest.mark.parametrize(("profile", "budget"), [("gpt-5", 8_000), ("claude-4.7", 16_000), ("deepseek-ocr", 8_000)])
def test_labels_of_a_real_session(profile: str, budget: int, coding_session: dict[str, Any]) -> None:
    labels: dict[str, str] = {}
    with OpticalMemory("s", profile=profile, budget=budget, renderer="dense") as memory:
        for message in coding_session["messages"]:
            memory.extend([message])
            pages = [piece.page for piece in memory.context().latest if piece.page is not None]
            labels |= {page.id: page.facts for page in pages}
        marks = {call.id[-6:] for turn in memory.turns() for call in turn.tool_calls}
    assert len(labels) > 5
    assert sum(map(bool, labels.values())) > len(labels) // 2
    most = max(SHARES.label_least, budget * SHARES.label)
    for facts in labels.values():
        assert count_tokens(facts, memory.profile) <= most
        for value in listed(facts):
            assert len(value) >= 4 and any(letter.isalnum() for letter in value), facts
            assert not value.startswith(("//", "/*", "#", "680-")) and value not in marks, facts
