"""What commands share: consoles, progress bars, tables and JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

out = Console()
err = Console(stderr=True)


def progress() -> Progress:
    """Return a progress bar on standard error, so that standard output stays clean.

    Text printed meanwhile appears above the bar where both are on one terminal, else on standard output.
    """
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=err, redirect_stdout=sys.stdout.isatty())


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; the first column is words, the others are figures. Content is never markup."""
    shown = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        shown.add_column(column, justify="left" if place == 0 else "right", no_wrap=place == 0)
    for row in rows:
        shown.add_row(*(Text(str(cell)) for cell in row))
    out.print(shown)


def print_json(value: Any) -> None:
    """Print JSON for programs."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))
