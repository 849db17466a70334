"""The package itself: public names and a light import."""

from __future__ import annotations

import subprocess
import sys

import optical_memory

HEAVY = ("torch", "playwright", "fastapi", "redis", "langchain", "transformers", "typer", "rich", "httpx")
SLOW = ("sqlite3", "rapidfuzz", "importlib.metadata", "optical_memory.facts", "optical_memory.excerpt")
MOST_MODULES = 100


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


def test_importing_the_memory_loads_few_modules_beyond_numpy_and_pillow() -> None:
    """A count, which no busy machine changes; `python -m benchmarks.scale` measures the time."""

    def loaded(code: str) -> int:
        program = f"{code}; import sys; print(len(sys.modules))"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        return int(done.stdout)

    base, ours = "import numpy, PIL.Image", "import numpy, PIL.Image, optical_memory; optical_memory.OpticalMemory"
    assert loaded(ours) - loaded(base) < MOST_MODULES
