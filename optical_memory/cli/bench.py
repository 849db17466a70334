"""``optical-memory bench``: the repository's benchmarks, by name."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from optical_memory.errors import NotFoundError

ROOT = Path(__file__).resolve().parents[2]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(bench)


def bench(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Which benchmark. Without: list them.")] = None,
) -> None:
    """Run a benchmark of the source checkout; further arguments go to it, options behind ``--`` too.

    ``read`` comes with the package: it measures what your own model reads, and writes a profile
    (optical-memory bench read -- --help).

    Example: optical-memory bench dense
    """
    if name == "read":
        from optical_memory.cli import reading

        reading.run(context.args)
        return
    benchmarks = _package()
    names: dict[str, str] = benchmarks.catalogue()
    if name is None:
        names = {"read": "What your own model reads at each tier, written as a profile."} | names
        for each, line in names.items():
            print(f"{each:<12} {line}")
    elif name in names:
        benchmarks.run(name, context.args)
    else:
        raise NotFoundError(f"no benchmark {name!r}; there are {', '.join(names)}")


def _package() -> ModuleType:
    """Import the benchmarks of the checkout that this package lies in."""
    try:
        benchmarks = importlib.import_module("benchmarks")
    except ModuleNotFoundError:
        benchmarks = None
    if benchmarks is None or Path(benchmarks.__file__ or "").parent != ROOT / "benchmarks":
        raise NotFoundError("the benchmarks come with the source checkout, not with the installed package")
    return benchmarks
