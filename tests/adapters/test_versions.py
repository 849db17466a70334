"""The range of versions that each document states is the one that is allowed and tested; what is absent is named."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]
MODULES = {
    "agent-framework": "agent_framework",
    "crewai": "crewai",
    "google-adk": "google.adk",
    "haystack": "haystack",
    "langchain": "langchain",
    "llama-index": "llama_index",
    "mcp": "mcp",
    "openai-agents": "agents",
    "pydantic-ai": "pydantic_ai",
}
"""The module that each extra brings."""
NOT_HOOKS = {"Access", "Authenticate", "MemoryFailedError", "OpticalRegistration"}
"""Public names that are no way in."""
STATED = re.compile(r"([a-z-]+) ([0-9.]+) to ([0-9.]+)")


def stated(extra: str) -> dict[str, tuple[str, str]]:
    """Return the lowest and the newest version of each package that the extra's document names."""
    text = (ROOT / "docs" / "adapters" / f"{extra.replace('-', '_')}.md").read_text("utf-8")
    tested = text.partition("Tested with ")[2].partition("\n\n")[0].replace("\n", " ")
    return {package: (low, high) for package, low, high in STATED.findall(tested)}


def numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"[0-9]+", text)))


@pytest.mark.parametrize("extra", MODULES)
def test_a_document_states_the_range_that_is_allowed(extra: str) -> None:
    allowed = dict(requirement.split(">=") for requirement in EXTRAS[extra])
    found = stated(extra)
    assert {package: low for package, (low, _) in found.items() if package in allowed} == allowed


@pytest.mark.parametrize("extra", MODULES)
def test_what_is_installed_is_the_lowest_or_at_least_the_newest_that_is_stated(extra: str) -> None:
    for package, (low, high) in stated(extra).items():
        try:
            here = numbers(version(package))
        except PackageNotFoundError:
            pytest.skip(f"{package} is not installed")
        assert here >= numbers(high) or here[: len(numbers(low))] == numbers(low), f"{package} {here}"


@pytest.mark.parametrize("extra", MODULES)
def test_a_framework_that_is_absent_is_an_error_that_names_the_extra(extra: str) -> None:
    code = (
        f"import sys; sys.modules[{MODULES[extra]!r}] = None\n"
        "from optical_memory.errors import MissingExtraError\n"
        f"try: import optical_memory.adapters.{extra.replace('-', '_')}\n"
        "except MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    package = EXTRAS[extra][0].partition(">=")[0]
    assert done.stdout.strip() == f"{package!r} is not installed; run: pip install 'optical-memory[{extra}]'"


def test_the_table_of_hooks_in_the_readme_is_whole_and_true() -> None:
    """Each public name of an adapter stands in it, beside the document that says how it is used."""
    table = (ROOT / "README.md").read_text("utf-8").partition("| framework | hook | page |")[2].partition("\n\n")[0]
    rows = [
        (set(re.findall(r"`(\w+)`", row)), re.findall(r"\(docs/adapters/(\w+)\.md\)", row))
        for row in table.splitlines()
    ]
    listed = {(page, name) for names, pages in rows for page in pages for name in names}
    for extra in MODULES:
        page = extra.replace("-", "_")
        source = ROOT / "optical_memory" / "adapters" / page
        code = (source / "__init__.py" if source.is_dir() else source.with_suffix(".py")).read_text("utf-8")
        public = set(re.findall(r'"(\w+)"', code.partition("__all__ = [")[2].partition("]")[0])) - NOT_HOOKS
        text = (ROOT / "docs" / "adapters" / f"{page}.md").read_text("utf-8")
        for name in public:
            assert (page, name) in listed, f"{name} is not in the README"
            assert name in text, f"{name} is not in {page}.md"
