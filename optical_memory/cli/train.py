"""``optical-memory train``: how the bundled model was made, rerunnable."""

from __future__ import annotations

import time

import typer

from optical_memory.cli import show
from optical_memory.errors import MissingExtraError

EXAMPLE = """Example: optical-memory train prepare data /usr/share/doc /usr/share/fonts
         optical-memory train stage latin data out --state out/state.pt
         optical-memory train pack out weights
"""
_EXTRAS = {"torch": "model", "safetensors": "model", "matplotlib": "dev"}


def register(app: typer.Typer) -> None:
    """Add the command. Its own options belong to :mod:`optical_memory.training.__main__`, which runs without typer."""
    passed_on = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command("train", context_settings=passed_on)(train)


def train(context: typer.Context) -> None:
    """Train the bundled model: prepare data, train stages that resume, plot, pack. `train COMMAND --help` says more.

    Example: optical-memory train stage latin data out --state out/state.pt
    """
    from optical_memory.training import __main__ as training

    arguments = list(context.args) or ["--help"]
    if arguments[0] in ("-h", "--help"):
        show.out.print(EXAMPLE, highlight=False)
    started = time.perf_counter()
    try:
        training.main(arguments)
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        raise MissingExtraError(package, _EXTRAS[package]) from error
    show.err.print(f"{arguments[0]}: {time.perf_counter() - started:,.0f} s", highlight=False)
