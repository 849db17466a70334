"""Which profile an id leads to, as clients, gateways and clouds spell ids, and a user's own file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from optical_memory import OpticalMemory
from optical_memory.budget import AssumedProfileWarning, Price, get_profile, load_profile, models, profiles
from optical_memory.budget.catalog import _catalog
from optical_memory.budget.naming import plain
from optical_memory.errors import InputError, NotFoundError

IN_USE = {
    "claude-fable-5.2": "claude-fable-5-2",
    "claude-fable-5-2": "claude-fable-5-2",
    "claude-fable-5-1": "claude-fable-5-1",
    "claude-fable-5": "claude-fable-5",
    "claude-opus-5-5": "claude-opus-5-5",
    "claude-opus-5.5": "claude-opus-5-5",
    "claude-sonnet-5-5": "claude-sonnet-5-5",
    "claude-haiku-5-5": "claude-haiku-5-5",
    "claude-opus-5": "claude-opus-5",
    "claude-sonnet-5": "claude-sonnet-5",
    "claude-opus-4-8": "claude-opus-4-8",
    "claude-opus-4-7-20260416": "claude-opus-4-7",
    "claude-opus-4-6": "claude-opus-4-6",
    "claude-sonnet-4-6": "claude-sonnet-4-6",
    "claude-opus-4-5-20251101": "claude-opus-4-5",
    "claude-sonnet-4-5-20250929": "claude-sonnet-4-5",
    "claude-haiku-4-5-20251001": "claude-haiku-4-5",
    "claude-opus-4-1-20250805": "claude-opus-4-1",
    "claude-sonnet-4-20250514": "claude-sonnet-4",
    "claude-3-7-sonnet-20250219": "claude-sonnet-4",
    "claude-3-5-haiku-20241022": "claude-3-5-haiku",
    "claude-sonnet-4-5[1m]": "claude-sonnet-4-5",
    "anthropic/claude-opus-5-5": "claude-opus-5-5",
    "openrouter/anthropic/claude-sonnet-5.5:thinking": "claude-sonnet-5-5",
    "us.anthropic.claude-opus-4-5-20251101-v1:0": "claude-opus-4-5",
    "anthropic.claude-sonnet-4-5-20250929-v1:0": "claude-sonnet-4-5",
    "global.anthropic.claude-haiku-5-5": "claude-haiku-5-5",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-5-5-v1:0": "claude-opus-5-5",
    "claude-opus-4-5@20251101": "claude-opus-4-5",
    "vertex_ai/claude-sonnet-4-6@default": "claude-sonnet-4-6",
    "databricks-claude-sonnet-4-5": "claude-sonnet-4-5",
    "openai-gpt-5.5": "gpt-5.5",
    "zai-glm-4.5v": "glm-4.5v",
    "accounts/fireworks/models/glm-5p3-flash": "glm-5.3-flash",
    "qwen/qwen-3.8-flash": "qwen3.8-flash",
    "gpt-6-astra": "gpt-6-astra",
    "gpt-6.1-sol": "gpt-6.1-sol",
    "gpt-6.1-terra": "gpt-6.1-terra",
    "gpt-6.2-sol": "gpt-6.2-sol",
    "gpt-6.2-astra": "gpt-6.2-astra",
    "gpt-6-luna": "gpt-6-luna",
    "gpt-6-sol": "gpt-6-sol",
    "gpt-5.6-sol": "gpt-5.6-sol",
    "gpt-5.6-terra": "gpt-5.6-terra",
    "gpt-5.6-luna": "gpt-5.6-luna",
    "gpt-5.5-2026-04-23": "gpt-5.5",
    "gpt-5.4-2026-03-05": "gpt-5.4",
    "gpt-5.4-mini": "gpt-5.4-mini",
    "gpt-5.2-codex": "gpt-5.2",
    "gpt-5.1-codex-max": "gpt-5.1",
    "gpt-5-2025-08-07": "gpt-5",
    "gpt-5-chat-latest": "gpt-5",
    "gpt-5-mini-2025-08-07": "gpt-5-mini",
    "gpt-5-nano": "gpt-5-nano",
    "gpt-4.1-mini-2025-04-14": "gpt-4.1-mini",
    "gpt-4.1": "gpt-4.1",
    "gpt-4o-2024-11-20": "gpt-4o",
    "gpt-4o-mini": "gpt-4o-mini",
    "o4-mini-2025-04-16": "o4-mini",
    "o3": "o3",
    "openai/gpt-6.2-sol": "gpt-6.2-sol",
    "azure/gpt-6-astra": "gpt-6-astra",
    "ft:gpt-4o-2024-08-06:acme::abc123": "gpt-4o",
    "gemini-4-argon": "gemini-4-argon",
    "gemini-4-carbon": "gemini-4-carbon",
    "gemini-4-hydrogen": "gemini-4-hydrogen",
    "gemini-3.5-flash": "gemini-3.5-flash",
    "gemini-3.6-flash": "gemini-3.6-flash",
    "gemini-3.7-flash": "gemini-3.7-flash",
    "gemini-3.8-flash": "gemini-3.8-flash",
    "gemini-3.1-pro-preview": "gemini-3-pro",
    "gemini-3-flash-preview": "gemini-3-flash",
    "gemini-2.5-pro": "gemini-2.5-pro",
    "gemini-2.5-flash-preview-09-2025": "gemini-2.5-flash",
    "models/gemini-3.8-flash": "gemini-3.8-flash",
    "publishers/google/models/gemini-4-argon": "gemini-4-argon",
    "google/gemini-4-carbon": "gemini-4-carbon",
    "qwen3.8": "qwen3.8-max",
    "qwen3.8-max": "qwen3.8-max",
    "qwen3.8-flash": "qwen3.8-flash",
    "qwen3-vl-plus": "qwen3-vl",
    "Qwen/Qwen3-VL-8B-Instruct": "qwen3-vl",
    "deepseek-v4.1": "deepseek-v4.1",
    "deepseek-v4.1-flash": "deepseek-v4.1",
    "deepseek-flash": "deepseek-v4.1",
    "deepseek/deepseek-v4-flash-vision-exp": "deepseek-v4.1",
    "grok-4.7": "grok-4.7",
    "x-ai/grok-4.7": "grok-4.7",
    "grok-4-0709": "grok-4",
    "kimi-k3": "kimi-k3",
    "moonshotai/kimi-k3": "kimi-k3",
    "kimi-k3.1-pro": "kimi-k3.1-pro",
    "mistral-medium-3.5": "mistral-medium-3.5",
    "mistral-medium-3-5-26-04": "mistral-medium-3.5",
    "mistral-medium-latest": "mistral-medium-3.5",
    "glm-5v": "glm-5v",
    "glm-5v-turbo": "glm-5v",
    "z-ai/glm-4.5v": "glm-4.5v",
    "llama-4": "llama-4",
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": "llama-4",
    "gemma-4": "gemma-4",
    "google/gemma-4-31b-it": "gemma-4",
    "deepseek-ai/DeepSeek-OCR": "deepseek-ocr",
    "deepseek-ai/DeepSeek-OCR-2": "deepseek-ocr-2",
}


@pytest.mark.parametrize("asked", IN_USE)
def test_ids_in_use_lead_to_their_profile(asked: str) -> None:
    assert get_profile(asked).name == IN_USE[asked]
    assert get_profile(asked.upper()) is get_profile(asked) and not get_profile(asked).assumed


def test_no_name_leads_to_two_profiles() -> None:
    spelled = [plain(name) for key, table in _catalog().tables.items() for name in (key, *table["aliases"])]
    assert len(spelled) == len(set(spelled))


def test_models_have_their_own_price_and_the_ladder_of_their_profile() -> None:
    opus, base = get_profile("claude-opus-5-5"), get_profile("claude-4.7")
    assert opus.base == base.name and opus.tiers == base.tiers and opus.formula == base.formula
    assert opus.price == Price(fresh=4.0, cached=0.2, written=5.0, output=20.0)
    assert get_profile("gpt-6-astra").price.written == 12.5, "writing the cache is charged since GPT-5.6"
    assert get_profile("claude-sonnet-5").price.fresh == 2.0 and get_profile("gpt-5.5").price.fresh == 5.0
    fable = get_profile("claude-fable-5").legibility
    assert fable["small"] == 0.988 and fable["large"] == base.legibility["large"]


@pytest.mark.parametrize(
    ("name", "tokens", "fresh"),
    [
        ("gpt-6.1-terra", 272_000, 1.0),
        ("gpt-6.1-terra", 272_001, 2.0),
        ("claude-haiku-5-5", 100_001, 0.5),
        ("claude-opus-5-5", 900_000, 4.0),
    ],
)
def test_a_long_request_costs_its_own_price(name: str, tokens: int, fresh: float) -> None:
    assert get_profile(name).price.at(tokens).fresh == fresh


@pytest.mark.parametrize(
    ("asked", "base", "like"),
    [
        ("claude-opus-6", "claude-4.7", "claude-opus-5-5"),
        ("claude-nova-4-9-20270101", "claude-4.7", "claude-opus-5-5"),
        ("anthropic/claude-3-sonnet", "claude", "claude-sonnet-4-5"),
        ("gpt-7", "gpt-5.6", "gpt-6.2-sol"),
        ("gpt-5.7-sol", "gpt-5.6", "gpt-6.2-sol"),
        ("gemini-5-xenon", "gemini-3", "gemini-4-hydrogen"),
        ("gemini-2.0-flash-001", "gemini-2.5", "gemini-2.5-flash"),
        ("qwen3-vl-30b-a3b-instruct", "qwen3-vl", "qwen3.8-flash"),
        ("grok-5", "grok", "grok-4.7"),
        ("kimi-k4", "kimi-k3", "kimi-k3"),
        ("glm-6v", "glm-5v", "glm-5v"),
        ("pixtral-large-2411", "mistral-medium-3.5", "mistral-medium-3.5"),
    ],
)
def test_an_unknown_member_of_a_family_is_taken_for_another_and_says_so(asked: str, base: str, like: str) -> None:
    with pytest.warns(AssumedProfileWarning, match=rf"'{asked}' is not known; assumed are .*{base}.*{like} \("):
        profile = get_profile(asked)
    assert profile.name == asked and profile.tiers == get_profile(base).tiers
    assert profile.price == get_profile(like).price and not profile.confirmed and base in profile.assumed


@pytest.mark.parametrize("asked", ["deepseek-v4-pro", "qwen3-max", "glm-5.2", "gpt-3.5-turbo", "claude-2.1"])
def test_a_model_that_reads_no_images_has_no_profile_and_says_why(asked: str) -> None:
    with pytest.raises(NotFoundError, match=r"reads? no images"):
        get_profile(asked)


@pytest.mark.parametrize("asked", ["", "my-deployment", "text-embedding-3-large", "/", ":::", "[1m]", "x" * 10_000])
def test_what_is_no_model_is_not_found(asked: str) -> None:
    with pytest.raises(NotFoundError, match="optical-memory profiles"):
        get_profile(asked)


# -- a user's own ----------------------------------------------------------------------------------------------------

OWN = """
["my-model"]
like = "gpt-6-astra"
context_tokens = 64_000
price = { fresh = 1.0, cached = 0.5, written = 1.0 }
legibility = { base = 0.99 }
legibility_source = "measured here"
reads = { chinese = { large = 0.5 } }
"""


def test_a_users_file_is_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN, encoding="utf-8")
    profile = get_profile(path)
    assert profile == get_profile(str(path)) == get_profile(f"{path}#my-model") == load_profile(path, "my-model")
    assert profile.name == "my-model" and profile.context_tokens == 64_000 and profile.price.cached == 0.5
    assert profile.legibility["base"] == 0.99 and profile.legibility["large"] == 0.989
    assert profile.reads["chinese"]["large"] == 0.5
    with OpticalMemory(profile=str(path), renderer="dense") as memory:
        memory.add("user", "hello")
        assert memory.profile == profile and memory.messages()


def test_a_users_table_may_have_the_name_of_what_it_is_like(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('[gpt-5]\nlike = "openai/gpt-5-2025-08-07"\ncontext_tokens = 1_000', encoding="utf-8")
    own = get_profile(path)
    assert own.name == "gpt-5" and own.context_tokens == 1_000 and own.tiers == get_profile("gpt-5").tiers
    path.write_text('[a]\nlike = "b"\n[b]\nlike = "a"', encoding="utf-8")
    with pytest.raises(NotFoundError, match="or like it in turn"):
        get_profile(f"{path}#a")


def test_a_profile_object_is_taken_as_it_is() -> None:
    own = replace(get_profile("mini"), name="own")
    with OpticalMemory(profile=own, renderer="dense") as memory:
        assert memory.profile is own


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("not toml", InputError, "is not TOML"),
        (OWN + OWN.replace("my-model", "other"), InputError, "has 2 profiles; name one: own.toml#my-model"),
        ('[a]\nlike = "nothing"', NotFoundError, "'nothing', which is not known"),
        ("[a]\nname = 1", InputError, "is not whole"),
        ('[a]\nlike = "claude"\ncolour = "red"', InputError, "unknown 'colour'"),
        ('[a]\nlike = "claude"\nformula = { kind = "cubic" }', InputError, "unknown formula kind 'cubic'"),
        ('[a]\nlike = "claude"\nformula = { kind = "rows", edge = 1 }', InputError, "does not take these figures"),
    ],
)
def test_a_users_file_that_is_not_as_it_should_be(tmp_path: Path, text: str, error: type[Exception], says: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=says):
        get_profile(path)


def test_a_file_or_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no profile file"):
        get_profile(tmp_path / "none.toml")
    (tmp_path / "own.toml").write_text(OWN, encoding="utf-8")
    with pytest.raises(NotFoundError, match="there are my-model"):
        get_profile(f"{tmp_path / 'own.toml'}#other")


def test_every_profile_and_model_is_listed_once() -> None:
    assert len(profiles()) >= 20 and len(models()) >= 70
