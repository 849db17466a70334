"""Gists of few steps: filled with lines of what the steps were about."""

from __future__ import annotations

from typing import Any

import pytest

from optical_memory import OpticalMemory
from optical_memory.context.filling import bare, filled
from optical_memory.context.telling import QUOTED
from optical_memory.renderers.layout import Run, used_rows


def step(name: str, lines: int) -> Run:
    quoted = [f"{QUOTED}{name} line {number}" for number in range(lines)]
    return Run(turn_id=name, role="tool", header="read:", text="\n".join([f"{name} → {lines} lines", *quoted]))


def test_as_many_lines_as_fit_the_same_number_for_each_step_from_beginning_to_end() -> None:
    told = [step("a", 40), Run(turn_id="u", role="user", header="user:", text="Go.\n  on"), step("b", 4)]
    kept = [bare(run) for run in told]
    assert [run.text for run in kept] == ["a → 40 lines", "Go.\n  on", "b → 4 lines"]

    (runs, *fewer) = filled(kept, told, 24, 20)
    assert [run.text.count("\n") for run in runs] == [20, 1, 4]
    assert "  a line 0" in runs[0].text and "  a line 38" in runs[0].text
    assert [[run.text.count("\n") for run in less] for less in fewer] == [[16, 1, 4], [10, 1, 4]]
    assert next(filled(kept, told, 24, 6)) == next(filled(kept, told, 12, 20))  # each line takes two rows
    assert next(filled(kept, told, 100, 20)) == told
    assert not list(filled(kept, told, 0, 20)) and not list(filled([], told, 24, 20))


@pytest.mark.parametrize("profile", ["mini", "gpt-5"])
def test_most_gists_of_a_coding_session_are_more_than_half_full(profile: str, coding_session: dict[str, Any]) -> None:
    gists = half = 0
    with OpticalMemory(profile=profile, budget=8_000, renderer="dense") as memory:
        for message in coding_session["messages"]:
            memory.extend([message])
            for page in memory.context().pages:
                if page.kind == "gist":
                    gists += 1
                    half += used_rows(page.layout) < page.layout.grid.rows / 2
        assert gists and half <= 0.1 * gists
        again = OpticalMemory(profile=profile, budget=8_000, renderer="dense", store=memory.store)
        assert [page.id for page in again.context().pages] == [page.id for page in memory.context().pages]
