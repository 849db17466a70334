from __future__ import annotations

from dataclasses import replace

import pytest

from optical_memory.budget import Profile, get_profile, profiles
from optical_memory.errors import InputError
from optical_memory.policies.ladder import LADDER, SHARPNESS, VALUE, legible_tiers, rank, tier_costs


def names(profile: Profile) -> list[str]:
    return [tier.name for tier in legible_tiers(profile)]


def with_legibility(**known: float) -> Profile:
    return replace(get_profile("mini"), legibility=known)


def test_the_ladder_goes_from_sharp_to_less_sharp() -> None:
    assert [rank(name) for name in LADDER] == list(range(len(LADDER)))
    assert list(SHARPNESS) == list(LADDER) and list(SHARPNESS.values()) == sorted(SHARPNESS.values(), reverse=True)
    slopes = [
        (sharp - less) / (SHARPNESS[high] - SHARPNESS[low])
        for sharp, less, high, low in zip(VALUE, VALUE[1:], LADDER, LADDER[1:], strict=False)
    ]
    assert slopes == sorted(slopes), "each further step of sharpness is worth less"
    with pytest.raises(InputError, match="'huge'"):
        rank("huge")


def test_unknown_tiers_are_not_trusted_below_the_last_that_is_known() -> None:
    assert names(get_profile("mini")) == ["large", "base", "small", "tiny"]
    assert names(with_legibility(small=0.9)) == ["large", "base", "small"]
    assert names(with_legibility(nano=0.9)) == ["large", "base", "small", "tiny", "micro", "nano"]


def test_tiers_known_to_be_too_poor_are_left_out() -> None:
    assert names(with_legibility(small=0.9, tiny=0.5)) == ["large", "base", "small"]
    assert names(replace(get_profile("deepseek-ocr"), legible_from=0.9)) == ["gundam", "large", "base", "small"]


def test_where_nothing_is_known_the_sharpest_tier_alone_is_trusted() -> None:
    assert names(with_legibility()) == ["large"]
    assert names(with_legibility(tiny=0.5)) == ["large"]
    assert names(with_legibility(large=0.5)) == []


@pytest.mark.parametrize("name", profiles())
def test_every_profile_has_a_legible_tier_in_ladder_order(name: str) -> None:
    profile = get_profile(name)
    assert legible_tiers(profile)
    assert [rank(tier.name) for tier in profile.tiers] == sorted(rank(tier.name) for tier in profile.tiers)


def test_a_page_never_costs_more_than_its_text() -> None:
    tiers = get_profile("mini").tiers
    assert tier_costs(tiers, text_tokens=280, overhead=8) == {"small": 119, "tiny": 81, "micro": 51, "nano": 29}
    assert tier_costs(tiers, text_tokens=21) == {}
