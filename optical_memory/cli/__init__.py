"""The command line: ``optical-memory COMMAND``. Every command explains itself with ``--help``."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from optical_memory.cli import (
    asking,
    bench,
    corpus,
    demo,
    doctor,
    inspection,
    keys,
    mcp,
    pages,
    profiles,
    proxy,
    quotas,
    serve,
    train,
)
from optical_memory.errors import OpticalMemoryError

app = typer.Typer(
    name="optical-memory",
    help="Long-context memory for LLM agents: text while fresh, page images that fade with age.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
demo.register(app)
pages.register(app)
corpus.register(app)
inspection.register(app)
asking.register(app)
profiles.register(app)
bench.register(app)
train.register(app)
keys.register(app)
mcp.register(app)
quotas.register(app)
serve.register(app)
proxy.register(app)
doctor.register(app)


def main() -> None:
    """Run the command line; an error of this library ends it with one clear line and status 1."""
    try:
        app()
    except OpticalMemoryError as error:
        Console(stderr=True).print(f"[bold red]{type(error).__name__}[/]:", end=" ")
        Console(stderr=True, markup=False, highlight=False).print(str(error))
        sys.exit(1)
