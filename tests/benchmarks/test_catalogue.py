"""Every benchmark is listed with a line, can be imported, and runs by name."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import benchmarks

pytest.importorskip("torch")
MODULES = [module.name for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks.")]


def python_m_benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=benchmarks.ROOT, capture_output=True, text=True, check=False)


def test_every_benchmark_has_a_line() -> None:
    listed = dict(line.split(maxsplit=1) for line in python_m_benchmarks().stdout.splitlines())
    assert listed == benchmarks.catalogue()
    assert {"coding", "gpu", "mini", "scale"} <= listed.keys()
    assert all(line.endswith(".") for line in listed.values())


@pytest.mark.filterwarnings("ignore:open_binary is deprecated:DeprecationWarning")  # bpe_openai, as it loads its ranks
@pytest.mark.parametrize("module", MODULES)
def test_every_module_imports(module: str) -> None:
    """A benchmark that nobody runs for a while still follows the names that the package has today."""
    importlib.import_module(module)
    assert not any(part.startswith("_") and part != "__main__" for part in module.split("."))


def test_one_runs_by_name_with_its_arguments() -> None:
    done = python_m_benchmarks("dense", "--help")
    assert done.returncode == 0 and "--pages" in done.stdout


def test_an_unknown_name_is_refused_with_the_names() -> None:
    done = python_m_benchmarks("nothing")
    assert done.returncode == 2 and "'nothing'" in done.stderr and "coding" in done.stderr
