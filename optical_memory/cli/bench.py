"""``optical-memory bench``: the repository's benchmarks, by name."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Annotated

import typer

from optical_memory.errors import NotFoundError

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(bench)


def bench(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Which benchmark. Without: list them.")] = None,
) -> None:
    """Run a benchmark of the source checkout; further arguments go to it.

    Example: optical-memory bench dense
    """
    if not FOLDER.is_dir():
        raise NotFoundError("the benchmarks come with the source checkout, not with the installed package")
    scripts = {path.stem: path for path in sorted(FOLDER.glob("*.py")) if not path.stem.startswith("_")}
    if name is None:
        for stem, path in scripts.items():
            first = path.read_text("utf-8").split('"""')[1].splitlines()[0]
            print(f"{stem:<12} {first}")
        return
    if name not in scripts:
        raise NotFoundError(f"no benchmark {name!r}; there are {', '.join(scripts)}")
    import sys

    sys.argv = [str(scripts[name]), *context.args]
    sys.path.insert(0, str(FOLDER))  # as for a script that is run itself
    runpy.run_path(str(scripts[name]), run_name="__main__")
