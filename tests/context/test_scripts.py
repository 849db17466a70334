"""What a model cannot read of a script is not sent: pages of it stay sharp, become gists in large letters, or text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optical_memory import OpticalMemory, profiles
from optical_memory.budget import get_profile
from optical_memory.policies.ladder import WIDE_PX, is_read, scripts_of
from optical_memory.readers.samples import SCRIPTS, sample


def talk(kind: str, turns: int = 160) -> list[dict[str, str]]:
    """Return a conversation in which all that is said is of one kind of text."""
    return [
        {"role": ("user", "assistant")[number % 2], "content": f"{number}: {sample(kind, 300, seed=number)}"}
        for number in range(turns)
    ]


@pytest.mark.parametrize(
    ("name", "kind"), [*((name, "chinese") for name in profiles()), ("mini", "japanese"), ("gpt-5", "korean")]
)
def test_wide_characters_are_shown_large_enough(name: str, kind: str) -> None:
    profile = get_profile(name)
    with OpticalMemory(profile=name, budget=6_000, renderer="dense") as memory:
        for start in range(0, 160, 20):
            memory.extend(talk(kind)[start : start + 20])
            context = memory.context(draw=True)
            assert context.tokens <= 6_000
            for page in context.pages:
                grid = page.layout.grid
                assert is_read(profile, profile.tier(page.tier), grid, scripts_of(page.layout.text)), page.tier
                assert min(grid.cell_height, 2 * grid.cell_width) * page.size[0] / grid.width >= WIDE_PX


def test_what_was_measured_counts_more_than_the_size() -> None:
    mini = get_profile("mini")
    bad = replace(mini, reads={"chinese": {tier.name: 0.65 for tier in (*mini.tiers, mini.gist)}})
    for profile, shown in ((mini, True), (bad, False)):
        with OpticalMemory(profile=profile, budget=6_000, renderer="dense") as memory:
            memory.extend(talk("chinese"))
            pages = memory.context().pages
            assert bool([page for page in pages if page.tier != "gist"]) is shown
            for page in pages:  # gists are in larger cells, of which the figures say nothing
                assert is_read(profile, profile.tier(page.tier), page.layout.grid, ["chinese"])


@pytest.mark.parametrize("kind", ["prose", "code", "russian", "greek"])
def test_other_scripts_are_shown_as_before(kind: str) -> None:
    mini = get_profile("mini")
    assert all(is_read(mini, tier, mini.grid, scripts_of(sample(kind, 2_000))) for tier in mini.tiers)


def test_scripts_are_told_by_their_share_of_the_letters() -> None:
    for kind in SCRIPTS:
        assert kind in scripts_of(sample(kind, 500)), kind
    assert scripts_of("An English sentence that quotes 一 character of many letters, and no more of them.") == ()
    assert scripts_of("订单 4711 已经发货 order shipped") == ("chinese",)
    assert scripts_of("") == scripts_of("😀 12 — é") == ()


@given(st.text())
def test_any_text_has_scripts(text: str) -> None:
    assert set(scripts_of(text)) <= set(SCRIPTS)
