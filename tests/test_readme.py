"""The README's Python blocks run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from provider_server import Provider

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block_runs(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: Provider) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.url)
    names: dict[str, Any] = {}
    try:
        exec(compile(BLOCKS[number], f"README.md, block {number + 1}", "exec"), names)
    finally:
        if "client" in names:
            names["client"].close()
    assert provider.refused == []
    assert len(provider.requests) == BLOCKS[number].count("client.messages.create(")


def test_first_block_is_a_working_memory_in_fifteen_lines() -> None:
    lines = [line for line in BLOCKS[0].splitlines() if line.strip()]
    assert "OpticalMemory(" in BLOCKS[0]
    assert len(lines) <= 15
