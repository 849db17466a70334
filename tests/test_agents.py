"""The agents in ``examples`` run as they stand, against servers that refuse what the providers refuse."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import provider_rules
import pytest
from provider_server import Body, Provider, Reply
from tiny_qwen_vl import LONG

from optical_memory import OpticalMemory

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
TURNS = ["My member number is QX7TT2.", *(f"Report {number}. {LONG}" for number in range(3)), "Which member number?"]


def remembering(format: str, request: Body) -> Reply:
    """Look up what is asked for, and say what was found; all else is noted. Parallel calls come one by one."""
    newest = json.dumps(request.get("messages", request.get("input", request.get("contents")))[-1])
    if "QX7TT2" in newest and "My member" in newest and "turn " in newest:  # what recall has found
        return Reply(text="It is QX7TT2.")
    if "Which member number?" in newest:
        return Reply(tool="recall", arguments={"question": "my member number"})
    return Reply(text="Noted.")


def run(name: str, *arguments: str, cwd: Path, **environment: str) -> list[str]:
    """Run an example in a folder of its own, and return the lines that it prints."""
    root = str(EXAMPLES.parent)
    variables = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    variables |= {"PYTHONPATH": root, "NO_PROXY": "127.0.0.1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"} | environment
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=variables)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


CLIENTS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "openai_client.py": ((), {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "{url}/v1"}),
    "anthropic_client.py": ((), {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "{url}"}),
    "google_client.py": ((), {"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": "{url}"}),
    "vllm_server.py": ((), {"VLLM_BASE_URL": "{url}/v1"}),
    "litellm_any_provider.py": (
        ("anthropic/claude-opus-5-5",), {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_API_BASE": "{url}"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CLIENTS)
def test_an_agent_remembers(name: str, provider: Provider, tmp_path: Path) -> None:
    provider.script = remembering
    first, variables = CLIENTS[name]
    environment = {key: value.replace("{url}", provider.url) for key, value in variables.items()}
    said = run(name, *first, *TURNS, cwd=tmp_path, **environment)
    assert provider.refused == []
    assert said == ["Noted."] * 4 + ["It is QX7TT2."]
    assert len(provider.requests) == 6  # one for each turn, and one with what recall found
    pictures = [len(list(provider_rules.inline_images(request))) for _, request in provider.requests]
    assert pictures[0] == 0 < pictures[-1], pictures
    # a second process goes on where the first ended
    assert run(name, *first, "Which member number?", cwd=tmp_path, **environment) == ["It is QX7TT2."]
    assert provider.refused == []


def test_litellm_hands_the_settings_of_pages_on_to_gemini(provider: Provider, tmp_path: Path) -> None:
    provider.script = remembering
    variables = {"GEMINI_API_KEY": "k", "GEMINI_API_BASE": provider.url}
    said = run("litellm_any_provider.py", "gemini/gemini-3-pro-preview", *TURNS, cwd=tmp_path, **variables)
    assert said[-1] == "It is QX7TT2." and provider.refused == []
    parts = [part for content in provider.requests[-1][1]["contents"] for part in content["parts"]]
    levels = [part.get("media_resolution", part.get("mediaResolution")) for part in parts if _is_image(part)]
    assert levels and all(levels)


def _is_image(part: dict[str, Any]) -> bool:
    return "inline_data" in part or "inlineData" in part


def test_transformers_sees_the_pages(tiny_qwen_vl: Path, tmp_path: Path) -> None:
    run("transformers_qwen_vl.py", str(tiny_qwen_vl), "Hi", LONG[:24_000], LONG[:20_000], "And now?", cwd=tmp_path)
    store = f"sqlite:///{tmp_path}/agent.db"
    with OpticalMemory("assistant", store=store, profile="qwen3-vl", budget=8_000) as memory:
        context = memory.context()
        assert [turn.role for turn in memory.store.turns("assistant")] == ["system", *(["user", "assistant"] * 4)]
    assert context.pages, "the last question was asked beside pages"


def test_the_bundled_model_finds_words_on_old_pages(tmp_path: Path) -> None:
    said = run("in_process.py", *TURNS[:2], *(f"{LONG[:6_000]}" for _ in range(2)), "find member number", cwd=tmp_path)
    assert len(said) == 1 and "My member number is QX7TT2." in said[0]


@pytest.mark.parametrize("name", [*CLIENTS, "transformers_qwen_vl.py", "in_process.py"])
def test_an_agent_is_under_forty_lines_and_says_what_to_change(name: str) -> None:
    text = (EXAMPLES / name).read_text("utf-8")
    assert len(text.splitlines()) < 40
    said = ast.get_docstring(ast.parse(text)) or ""
    assert f"python examples/{name}" in said and "optical_memory.profiles()" in said
