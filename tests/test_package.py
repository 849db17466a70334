"""The package itself: public names, a light import, and imports that only point down."""

from __future__ import annotations

import ast
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import optical_memory

PACKAGE = Path(optical_memory.__file__).parent
HEAVY = ("torch", "playwright", "fastapi", "redis", "langchain", "transformers", "typer", "rich", "httpx")
SLOW = ("sqlite3", "rapidfuzz", "importlib.metadata", "optical_memory.facts", "optical_memory.excerpt")
IMPORT_SECONDS = 0.15
FLOORS = [
    {"errors", "registry", "turns"},
    {"stores", "renderers", "policies", "budget", "formats"},
    {"context", "facts", "excerpt", "recall", "model", "readers", "pages"},
    {"memory", "asynchronous"},
    {"adapters", "service", "training", "batch", "cli", "report"},
]


def test_all_is_sorted_and_importable() -> None:
    assert list(optical_memory.__all__) == sorted(optical_memory.__all__)
    for name in optical_memory.__all__:
        assert getattr(optical_memory, name) is not None


def test_importing_the_memory_needs_nothing_heavy() -> None:
    code = (
        "import sys, optical_memory; optical_memory.OpticalMemory\n"
        f"print([m for m in {HEAVY + SLOW!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_memory_takes_little_more_than_numpy_and_pillow(tmp_path: Path) -> None:
    """Processor time, as other work on the machine does not count; with byte code cached, as once installed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path)

    def seconds(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    base, ours = "import numpy, PIL.Image", "import numpy, PIL.Image, optical_memory; optical_memory.OpticalMemory"
    seconds(ours)
    assert statistics.median(seconds(ours) - seconds(base) for _ in range(5)) < IMPORT_SECONDS


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
