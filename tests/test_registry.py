"""One registry for stores, renderers, policies, readers and formats: the same entry points, the same errors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from optical_memory.errors import InputError, MissingExtraError, NotFoundError
from optical_memory.formats import from_turns, get_format, to_turns
from optical_memory.policies import get_policy
from optical_memory.readers import load_reader
from optical_memory.registry import Registry
from optical_memory.renderers import get_renderer
from optical_memory.stores import open_store

LOOK_UPS: dict[str, tuple[Callable[[str], object], str]] = {
    "store": (
        lambda name: open_store(f"{name}://"),
        "memory, redis, redis\\+sentinel, rediss, rediss\\+sentinel, sqlite",
    ),
    "renderer": (get_renderer, "chromium, dense"),
    "policy": (get_policy, "age, budgeted, fixed"),
    "reader": (load_reader, "deepseek-ocr, deepseek-ocr-2, endpoint, got-ocr2, mini, rapidocr"),
    "format": (get_format, "anthropic, gemini, huggingface, openai, responses"),
}
PLURALS = {"policy": "policies"}


def _install(folder: Path, monkeypatch: pytest.MonkeyPatch, entry_points: str, code: str = "") -> None:
    (folder / "theirs.py").write_text(code)
    information = folder / "their_package-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(entry_points)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "theirs", raising=False)


@pytest.mark.parametrize("kind", LOOK_UPS)
def test_an_unknown_name_is_not_found_and_the_known_ones_are_listed(kind: str) -> None:
    look_up, known = LOOK_UPS[kind]
    with pytest.raises(NotFoundError, match=f"no {kind} 'telepathy'; there are {known}"):
        look_up("telepathy")


@pytest.mark.parametrize("kind", LOOK_UPS)
def test_a_package_that_cannot_be_loaded_is_named(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = f"optical_memory.{PLURALS.get(kind, kind + 's')}"
    _install(tmp_path, monkeypatch, f"[{group}]\nbroken = theirs:Missing\nfailing = their_other_module:X\n")
    for name in ("broken", "failing"):
        with pytest.raises(InputError, match=f"{kind} '{name}' of the package 'their-package' cannot be loaded"):
            LOOK_UPS[kind][0](name)


def test_a_missing_extra_of_a_package_is_said_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from optical_memory.errors import MissingExtraError\nraise MissingExtraError('quill', 'quills')\n"
    _install(tmp_path, monkeypatch, "[optical_memory.renderers]\nquill = theirs:Quill\n", code)
    with pytest.raises(MissingExtraError, match="quill"):
        get_renderer("quill")


def test_built_in_names_stay_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, monkeypatch, "[optical_memory.policies]\nbudgeted = theirs:Budgeted\nown = theirs:Own\n")
    assert get_policy("budgeted") == get_policy()
    with pytest.raises(NotFoundError, match=r"age, budgeted, fixed, own$"):
        get_policy("telepathy")


def test_a_format_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "from optical_memory.formats.openai import OpenAI\n"
        "class Shouting(OpenAI):\n"
        "    name = 'shouting'\n"
        "    def build(self, run):\n"
        "        return [m | {'content': m['content'].upper()} for m in super().build(run)]\n"
    )
    _install(tmp_path, monkeypatch, "[optical_memory.formats]\nshouting = theirs:Shouting\n", code)
    turns = to_turns([{"role": "user", "content": "a flight"}], "openai")
    assert from_turns(turns, "shouting") == [{"role": "user", "content": "A FLIGHT"}]
    own = to_turns([{"role": "user", "content": "a flight"}], "shouting")
    assert from_turns(own, "shouting") == [{"role": "user", "content": "a flight"}]  # as it came
    assert get_format("shouting") is get_format("shouting")


def test_makers_given_as_text_are_imported_when_asked_for() -> None:
    registry: Registry[object] = Registry("mapping", "optical_memory.nothing", {"ordered": "collections:OrderedDict"})
    assert registry.names() == ("ordered",)
    assert registry.has("ordered")
    assert not registry.has("other")
    assert registry.maker("ordered")() == {}


def test_entry_points_are_not_read_for_built_in_names() -> None:
    program = (
        "import sys\n"
        "from optical_memory.formats import get_format\n"
        "from optical_memory.policies import get_policy\n"
        "from optical_memory.renderers import get_renderer\n"
        "from optical_memory.stores import open_store\n"
        "get_format('openai'), get_policy('age'), get_renderer('dense'), open_store('memory://')\n"
        "print('importlib.metadata' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
