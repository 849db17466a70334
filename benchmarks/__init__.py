"""The benchmarks: one module or package for each thing measured. ``python -m benchmarks`` lists them."""

from __future__ import annotations

import ast
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared/data"
"""Transcripts and questions beside the checkout; benchmarks that read other files take them as arguments."""


def catalogue() -> dict[str, str]:
    """Return each benchmark's name and the first line of its docstring."""
    folder = Path(__file__).parent
    files = {path.stem: path for path in folder.glob("*.py") if not path.stem.startswith("__")}
    files |= {path.parent.name: path for path in folder.glob("*/__main__.py")}
    return {name: _first_line(files[name]) for name in sorted(files)}


def run(name: str, arguments: Sequence[str] = ()) -> None:
    """Run a benchmark of the catalogue in this process, as ``python -m benchmarks.NAME ARGUMENTS`` does."""
    sys.argv = [name, *arguments]
    runpy.run_module(f"{__name__}.{name}", run_name="__main__", alter_sys=True)


def _first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]
