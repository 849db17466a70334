"""The package itself: public names, a light import, and imports that only point down."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import optical_memory

PACKAGE = Path(optical_memory.__file__).parent
HEAVY = ("torch", "playwright", "fastapi", "redis", "langchain", "transformers", "typer", "rich", "httpx")
FLOORS = [
    {"errors", "turns"},
    {"stores", "renderers", "policies", "budget", "image_cost", "formats"},
    {"context", "facts", "excerpt", "recall", "fidelity", "model", "readers", "epoch", "sealing", "shelf", "tail"}
    | {"gallery", "builder", "forgetting", "pages", "archive"},
    {"memory", "asynchronous"},
    {"adapters", "service", "training", "cli", "report", "transcribe", "spread"},
]


def test_all_is_sorted_and_importable() -> None:
    assert list(optical_memory.__all__) == sorted(optical_memory.__all__)
    for name in optical_memory.__all__:
        assert getattr(optical_memory, name) is not None


def test_importing_the_memory_needs_nothing_heavy() -> None:
    code = (
        f"import sys, optical_memory; optical_memory.OpticalMemory; print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_imports_point_down() -> None:
    place = {name: floor for floor, names in enumerate(FLOORS) for name in names}
    for path in PACKAGE.rglob("*.py"):
        home = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if home == "__init__":
            continue
        for target in _imported(ast.parse(path.read_text("utf-8"))):
            assert place[target] <= place[home], f"{path.relative_to(PACKAGE)} imports {target}"


def _imported(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("optical_memory."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "optical_memory":
            found.update(alias.name for alias in node.names if (PACKAGE / f"{alias.name}.py").exists())
    return found
