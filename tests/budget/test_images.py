from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optical_memory.budget import count_message, detail_for, get_profile, models, profiles, with_detail
from optical_memory.budget.detail import known_detail
from optical_memory.budget.formulas import Formula
from optical_memory.budget.formulas.anthropic import AnthropicPatches
from optical_memory.budget.formulas.deepseek import DeepSeekGrid, DeepSeekQueries, DeepSeekViews, PatchRows
from optical_memory.budget.formulas.google import GeminiFlat, GeminiTiles
from optical_memory.budget.formulas.grids import LlamaTiles, Megapixels, MistralRows, QwenGrid
from optical_memory.budget.formulas.openai import OpenAIPatches, OpenAITiles
from optical_memory.budget.images import image_tokens
from optical_memory.errors import InputError
from optical_memory.turns import Part, Turn

FORMULAS = [
    AnthropicPatches(),
    AnthropicPatches(side=2576, cap=4784),
    DeepSeekGrid(),
    DeepSeekQueries(),
    DeepSeekViews(),
    GeminiFlat(),
    GeminiTiles(),
    OpenAIPatches(cap=1536, factor=1.62),
    LlamaTiles(),
    Megapixels(rate=1000, cap=1792),
    MistralRows(),
    OpenAIPatches(cap=2500, factor=1.2),
    OpenAIPatches(cap=2500, factor=1.2, original=10_000, original_side=6000),
    OpenAITiles(base=85, tile=170),
    PatchRows(),
    QwenGrid(patch=28, least=1, cap=4096, pad=True),
    QwenGrid(patch=28, least=4),
    QwenGrid(patch=32, least=64),
]


@pytest.mark.parametrize(("side", "tokens"), [(512, 73), (640, 111), (1024, 273), (1280, 421)])
def test_deepseek_modes_count_newlines_and_the_separator(side: int, tokens: int) -> None:
    assert image_tokens(DeepSeekViews(), side, side) == tokens


@pytest.mark.parametrize(
    ("size", "tiling"),
    [
        ((1280, 1280), (2, 2)),
        ((650, 1300), (1, 2)),
        ((1300, 650), (2, 1)),
        ((2000, 1000), (4, 2)),
        ((3000, 1000), (3, 1)),
        ((700, 690), (2, 2)),
    ],
)
def test_deepseek_tiles_in_the_arrangement_nearest_to_the_shape(size: tuple[int, int], tiling: tuple[int, int]) -> None:
    across, down = tiling
    assert image_tokens(DeepSeekViews(), *size, "gundam") == 273 + 10 * down * (10 * across + 1)


def test_deepseek_shows_a_small_image_in_one_view() -> None:
    assert image_tokens(DeepSeekViews(), 600, 300) == 273


@pytest.mark.parametrize(
    ("size", "standard", "newer"),
    [  # the table of platform.claude.com/docs/en/build-with-claude/vision, 2026-08
        ((200, 200), 64, 64),
        ((1000, 1000), 1296, 1296),
        ((1092, 1092), 1521, 1521),
        ((1920, 1080), 1560, 2691),
        ((2000, 1500), 1564, 3888),
        ((3840, 2160), 1600, 4824),  # and the note that was measured for images over 2000 px
    ],
)
def test_anthropic_published_examples(size: tuple[int, int], standard: int, newer: int) -> None:
    assert image_tokens(AnthropicPatches(), *size) == standard
    assert image_tokens(AnthropicPatches(side=2576, cap=4784), *size) == newer


@pytest.mark.parametrize(
    ("size", "detail", "tokens"),
    [  # developers.openai.com/api/docs/guides/images-vision: the first three are its own examples
        ((1024, 1024), "high", 765),
        ((2048, 4096), "high", 1105),
        ((4096, 8192), "low", 85),
        ((512, 512), None, 255),
        ((512, 2048), "auto", 765),
    ],
)
def test_openai_tiles_published_examples(size: tuple[int, int], detail: str | None, tokens: int) -> None:
    assert image_tokens(OpenAITiles(base=85, tile=170), *size, detail) == tokens


@pytest.mark.parametrize(
    ("cap", "factor", "size", "tokens"),
    [  # the same page: 1,536 patches (2025-08) and 2,500 patches times 1.2 (2026-09)
        (1536, 1.0, (1024, 1024), 1024),
        (1536, 1.0, (1800, 2400), 1452),
        (1536, 1.62, (1024, 1024), 1659),
        (2500, 1.2, (1024, 1024), 1229),
        (2500, 1.2, (2048, 2048), 3000),
    ],
)
def test_openai_patches_published_examples(cap: int, factor: float, size: tuple[int, int], tokens: int) -> None:
    assert image_tokens(OpenAIPatches(cap=cap, factor=factor), *size) == tokens


@pytest.mark.parametrize(
    ("size", "tokens"),
    [
        ((384, 384), 258),
        ((200, 100), 258),
        ((385, 100), 258),
        ((768, 768), 258),
        ((1024, 1024), 1032),
        ((4000, 4000), 4128),
    ],
)
def test_gemini_2_tiles(size: tuple[int, int], tokens: int) -> None:
    assert image_tokens(GeminiTiles(), *size) == tokens


@pytest.mark.parametrize(
    ("setting", "tokens"),
    [(None, 1120), ("low", 280), ("medium", 560), ("high", 1120), ("ultra_high", 2240)],
)
def test_gemini_3_is_flat(setting: str | None, tokens: int) -> None:
    detail = setting and f"media_resolution_{setting}"
    assert image_tokens(GeminiFlat(), 64, 64, detail) == image_tokens(GeminiFlat(), 4096, 512, detail) == tokens


@pytest.mark.parametrize(
    ("patch", "least", "size", "grid"),
    [
        (28, 4, (1120, 784), 40 * 28),
        (28, 4, (1920, 1080), 69 * 39),
        (28, 4, (20, 20), 4),
        (32, 64, (1120, 800), 35 * 25),
        (32, 64, (100, 100), 64),
        (32, 64, (10_000, 10_000), 128 * 128),
    ],
)
def test_qwen_grids_have_two_tokens_around_them(patch: int, least: int, size: tuple[int, int], grid: int) -> None:
    assert image_tokens(QwenGrid(patch=patch, least=least), *size) == grid + 2


@given(st.sampled_from(FORMULAS), st.integers(1, 100_000), st.integers(1, 100_000))
def test_no_image_costs_more_than_the_most(formula: Formula, width: int, height: int) -> None:
    assert 0 < image_tokens(formula, width, height) <= formula.most


@pytest.mark.parametrize("formula", FORMULAS)
def test_what_is_no_image_or_no_setting_is_refused(formula: Formula) -> None:
    with pytest.raises(InputError, match="1 px"):
        image_tokens(formula, 0, 10)
    with pytest.raises(InputError, match="'sharpest'"):
        image_tokens(formula, 10, 10, "sharpest")


MEASURED = Path(__file__).parents[2] / "benchmarks" / "measured" / "image_tokens.csv"


def measured() -> list[dict[str, int]]:
    """Rows of huggingface.co/datasets/JOHNISKING/image-token-cost (CC BY 4.0), as read on 2026-11-28."""
    lines = [line for line in MEASURED.read_text("utf-8").splitlines() if not line.startswith("#")]
    return [{key: int(value) for key, value in row.items()} for row in csv.DictReader(lines)]


@pytest.mark.parametrize(
    ("column", "model", "detail", "exact"),
    [
        ("gpt6_auto", "gpt-6-astra", None, True),
        ("gpt6_high", "gpt-6-astra", "high", True),
        ("gpt55_auto", "gpt-5.5", None, True),
        ("claude45", "claude-haiku-4-5", None, False),
        ("claude55", "claude-opus-5-5", None, False),
        ("gemini", "gemini-3.8-flash", None, False),
    ],
)
def test_each_rule_against_what_others_measured(column: str, model: str, detail: str | None, exact: bool) -> None:
    profile = get_profile(model)
    prompt = {"claude45": 65, "claude55": 77}.get(column, 0)  # the same for every size: what is left is the image
    for row in measured():
        counted, billed = profile.image_tokens(row["width"], row["height"], detail), row[column] - prompt
        assert counted == billed if exact else counted >= billed, row


def test_claudes_rule_is_exact_up_to_two_thousand_pixels() -> None:
    for row in measured():
        if max(row["width"], row["height"]) <= 2000:
            assert get_profile("claude-opus-5-5").image_tokens(row["width"], row["height"]) == row["claude55"] - 77
            assert get_profile("claude-haiku-4-5").image_tokens(row["width"], row["height"]) == row["claude45"] - 65


@pytest.mark.parametrize(
    ("size", "tokens"),
    [((1260, 1260), 932), ((544, 544), 184), ((100, 100), 184), ((4000, 4000), 994), ((9000, 300), 757)],
)
def test_deepseek_v4_grids_stay_within_their_cap(size: tuple[int, int], tokens: int) -> None:
    assert image_tokens(DeepSeekGrid(), *size) == tokens <= 1024


@pytest.mark.parametrize(("size", "tokens"), [((768, 768), 257), ((1024, 1024), 833), ((3000, 900), 257 + 3 * 144)])
def test_deepseek_ocr_2_views_and_tiles(size: tuple[int, int], tokens: int) -> None:
    assert image_tokens(DeepSeekQueries(), *size) == tokens


def test_rules_of_open_models() -> None:
    assert image_tokens(MistralRows(), 1120, 784) == 28 * 41
    assert image_tokens(LlamaTiles(), 336, 336) == 148 and image_tokens(LlamaTiles(), 5000, 5000) == LlamaTiles().most
    assert image_tokens(Megapixels(rate=1000, cap=1792), 1000, 1000) == 1000
    padded = QwenGrid(patch=28, least=1, cap=4096, pad=True)
    assert image_tokens(padded, 29, 28) == 2 + 2 and image_tokens(QwenGrid(patch=28, least=1), 29, 28) == 1 + 2


# -- the setting that is sent ----------------------------------------------------------------------------------------


def test_a_screenshot_without_a_setting_is_priced_as_it_is_sent_and_given_one_where_it_matters() -> None:
    gpt = get_profile("gpt-6-astra")
    assert gpt.image_tokens(3840, 2160) == 9_792
    assert detail_for(gpt, 3840, 2160) == "high" and gpt.image_tokens(3840, 2160, "high") == 2_931
    assert detail_for(gpt, 1280, 720) is None  # costs the same
    assert detail_for(gpt, None, None) == "high" and gpt.formula.most == 36_000
    assert detail_for(gpt, 3840, 2160, most=10_000) is None
    assert detail_for(get_profile("claude"), 3840, 2160, most=10) is None, "it takes no setting"


@pytest.mark.parametrize("name", [*profiles(), *models()])
def test_the_setting_that_is_named_is_one_that_the_model_has_and_never_dearer(name: str) -> None:
    profile = get_profile(name)
    for size in [(64, 64), (1920, 1080), (4032, 3024), (300, 9000)]:
        for most in (None, 100, 1_000, 5_000):
            detail = detail_for(profile, *size, most=most)
            assert detail is None or detail in profile.formula.settings
            cost, default = profile.image_tokens(*size, detail), profile.image_tokens(*size)
            assert cost <= default
            if most and detail is None and profile.formula.settings:
                assert default <= most or all(
                    profile.image_tokens(*size, d) >= default for d in profile.formula.settings
                )
        for detail in (None, *profile.formula.settings):
            assert profile.image_tokens(*size, detail) <= profile.formula.most_for(detail)


def test_settings_are_known_by_the_names_of_other_providers() -> None:
    assert known_detail(get_profile("gemini-3"), "high") == "media_resolution_high"
    assert known_detail(get_profile("gpt-5.6"), "MEDIA_RESOLUTION_LOW") == "low"
    assert known_detail(get_profile("claude"), "high") is None and known_detail(get_profile("gpt-5"), None) is None


def screenshot(width: int, height: int, **raw: object) -> Turn:
    part = Part(kind="image", url="https://example.org/a.png", width=width, height=height, raw=raw or None)
    return Turn(id="t", role="user", text="look", parts=(Part(kind="text", text="look"), part), raw={"role": "user"})


def test_a_turn_gets_the_setting_only_where_its_caller_left_it_open_and_it_matters() -> None:
    gpt = get_profile("gpt-6-astra")
    large = screenshot(3840, 2160)
    sent = with_detail(large, gpt)
    assert sent.parts[1].raw == {"detail": "high"} and sent.raw is None and sent.text == "look"
    assert count_message(sent, gpt) == count_message(large, gpt) - 9_792 + 2_931
    assert with_detail(screenshot(3840, 2160, detail="auto"), gpt).parts[1].raw == {"detail": "high"}
    for turn in (screenshot(3840, 2160, detail="original"), screenshot(640, 480), Turn(id="t", role="user", text="x")):
        assert with_detail(turn, gpt) is turn
    assert with_detail(large, get_profile("claude")) is large
