"""``optical-memory profiles`` as a user runs it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from optical_memory.budget import AssumedProfileWarning, get_profile, models, profiles
from optical_memory.cli import app
from optical_memory.cli.profiles import page_costs
from optical_memory.errors import NotFoundError

run = CliRunner().invoke


def test_it_lists_every_profile_and_every_model() -> None:
    listed = run(app, ["profiles", "--markdown"]).stdout
    assert [line.split(" | ")[0].strip("| ") for line in listed.splitlines()[2:]] == list(profiles())
    listed = run(app, ["profiles", "--models", "--markdown"]).stdout
    assert [line.split(" | ")[0].strip("| ") for line in listed.splitlines()[2:]] == list(models())
    assert "claude-4.7" in run(app, ["profiles"]).stdout


def test_it_explains_one_with_its_sources_and_what_is_not_confirmed() -> None:
    said = run(app, ["profiles", "anthropic/claude-fable-5.2"]).stdout
    for text in (
        "claude-fable-5-2",
        "8/0.2/10",
        "confirmed    no",
        "what the cache costs",
        "2026-11-10",
        "pxpipe/pull/272",
    ):
        assert text in said, text
    said = run(app, ["profiles", "gpt-6.1-terra"]).stdout
    assert "times 2 for a request of more than 272,000 tokens" in said and "exact: o200k_base" in said
    with pytest.warns(AssumedProfileWarning):
        assert "images, tokens and legibility as claude-4.7" in run(app, ["profiles", "claude-opus-7"]).stdout


def test_it_compares_several_and_says_whether_images_pay() -> None:
    compared = run(app, ["profiles", "claude-opus-5-5", "gpt-5-mini", "gpt-4o-mini"], terminal_width=200)
    assert compared.exit_code == 0 and compared.stdout.count("gpt-5-mini") == 3
    assert {cost.tier: cost.pays for cost in page_costs(get_profile("gpt-4o-mini"))} == dict.fromkeys(
        ("large", "base", "gist"), False
    )
    fable = {cost.tier: cost for cost in page_costs(get_profile("claude-fable-5"))}
    opus = {cost.tier: cost for cost in page_costs(get_profile("claude-opus-5-5"))}
    assert fable["small"].pays and not opus["small"].pays and opus["base"].pays
    assert fable["small"].image_dollars == 400 * 10 / 1_000


def test_it_gives_programs_json_and_refuses_what_is_no_model() -> None:
    (found,) = json.loads(run(app, ["profiles", "gemini-4-argon", "--json"]).stdout)
    assert (
        found["price"]["cached"] == 0.2
        and found["pages"][0]["pays"] is True
        and found["formula"]["kind"] == "GeminiFlat"
    )
    assert isinstance(run(app, ["profiles", "nobody"]).exception, NotFoundError)


def test_its_help_teaches() -> None:
    assert "Example" in run(app, ["profiles", "--help"]).output


def test_it_shows_the_shapes_of_a_page_with_their_price_and_why_the_profile_has_its_own() -> None:
    said = run(app, ["profiles", "gpt-5", "mini", "gemini-3", "--shapes", "--markdown"]).stdout
    assert "| gpt-5 | 512×2048 | high | 630 | 6,400 |" in said and "another shape" in said
    assert "gpt-5: 512×2048 holds" in said and "mini: The model sees images of these sizes alone." in said
    assert "gemini-3: Every image costs 2,240 tokens" in said
    assert "1536×1536" not in said  # its short side would be scaled to 768 px
