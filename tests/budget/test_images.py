from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optical_memory.budget.images import (
    AnthropicPatches,
    DeepSeekViews,
    Formula,
    GeminiFlat,
    GeminiTiles,
    OpenAIPatches,
    OpenAITiles,
    PatchRows,
    QwenGrid,
    image_tokens,
)
from optical_memory.errors import InputError

FORMULAS = [
    AnthropicPatches(),
    AnthropicPatches(side=2576, cap=4784),
    DeepSeekViews(),
    GeminiFlat(),
    GeminiTiles(),
    OpenAIPatches(cap=1536, factor=1.62),
    OpenAIPatches(cap=2500, factor=1.2),
    OpenAITiles(base=85, tile=170),
    PatchRows(),
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
        ((3840, 2160), 1560, 4784),
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
