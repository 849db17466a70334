"""The shape of a page is the best there is by the provider's price, or as good as that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optical_memory import OpticalMemory
from optical_memory.budget import get_profile, profiles
from optical_memory.budget.shapes import DEAREST, SLACK, others, own, shaped


@pytest.mark.parametrize("name", profiles())
def test_the_page_of_every_profile_has_the_best_shape_by_its_price(name: str) -> None:
    profile = get_profile(name)
    mine, further = own(profile)[0], others(profile)
    assert bool(further) == bool(profile.formula.unit and not profile.formula.is_flat)
    assert all(shape.tokens <= DEAREST for shape in further)
    assert not further or mine.density >= SLACK * further[0].density
    assert shaped(profile) is profile


@pytest.mark.parametrize("name", ["gpt-5", "claude-4.7", "gemini-2.5", "grok"])
def test_a_page_of_a_bad_shape_gets_a_better_one_with_all_its_tiers(name: str) -> None:
    profile = get_profile(name)
    width, height = (512, 600) if name == "gpt-5" else (800, 300) if name == "gemini-2.5" else (290, 290)
    tiers = tuple(
        replace(tier, width=width >> at, height=height >> at, tokens=profile.image_tokens(width >> at, height >> at))
        for at, tier in enumerate(profile.tiers)
    )
    bad = replace(profile, tiers=tiers, grid=replace(profile.grid, width=width, height=height))
    good = shaped(bad)
    mine, further = own(good)[0], others(good)
    assert own(bad)[0].density < SLACK * further[0].density <= mine.density
    assert (good.grid.width, good.grid.height) == (mine.width, mine.height)
    assert (good.grid.cell_width, good.grid.cell_height) == (bad.grid.cell_width, bad.grid.cell_height)
    for tier in good.tiers:
        assert tier.tokens == good.image_tokens(tier.width, tier.height, good.detail.get(tier.name))
    assert sorted(good.tiers, key=lambda tier: -tier.tokens) == list(good.tiers)
    assert shaped(good) is good


def test_a_memory_takes_a_profile_whose_shape_was_chosen() -> None:
    claude = get_profile("claude-4.7")
    small = tuple(replace(tier, width=308, height=308, tokens=claude.image_tokens(308, 308)) for tier in claude.tiers)
    bad = replace(claude, tiers=small, grid=replace(claude.grid, width=308, height=308))
    widths = set()
    with OpticalMemory("s", profile=shaped(bad), budget=16_000, renderer="dense") as memory:
        for day in range(120):
            memory.add("user", f"Day {day}: crate C-{day * 37 % 101} goes to hall {day % 7}. " * 6)
            memory.add("assistant", f"It stands in hall {day % 7}. " * 6)
            context = memory.context()
            assert context.fits
            widths |= {page.size[0] for page in context.pages if page.kind == "leaf"}
    assert widths == {shaped(bad).tiers[0].width} != {308}
