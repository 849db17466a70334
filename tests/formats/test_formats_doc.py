"""The examples in the documentation of formats, facts and excerpts run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCKS = [
    (name, block)
    for name in ("formats.md", "excerpts.md")
    for block in re.findall(r"```python\n(.*?)```", (DOCS / name).read_text("utf-8"), re.DOTALL)
]


@pytest.mark.parametrize(("name", "block"), BLOCKS)
def test_example_runs(name: str, block: str) -> None:
    exec(compile(block, name, "exec"), {})


def test_every_format_has_a_column() -> None:
    from optical_memory.formats import FORMATS

    header = next(
        line for line in (DOCS / "formats.md").read_text("utf-8").splitlines() if line.startswith("| | openai")
    )
    assert [cell.strip() for cell in header.strip("|").split("|")][1:] == list(FORMATS)
