"""The examples in the documentation of what a context keeps run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from provider_server import Body, Provider, Reply

KEEPING = Path(__file__).resolve().parents[2] / "docs/keeping.md"
BLOCKS = re.findall(r"```python\n(.*?)```", KEEPING.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block_runs(number: int, provider: Provider, capsys: pytest.CaptureFixture[str]) -> None:
    def tell(name: str, request: Body) -> Reply:
        return Reply(text="The user asked to move crates to the halls, and the agent moved every one of them there.")

    provider.script = tell
    exec(compile(BLOCKS[number], f"keeping.md, block {number + 1}", "exec"), {"url": f"{provider.url}/v1"})
    assert provider.refused == [] and "▮" in capsys.readouterr().out


def test_there_is_one() -> None:
    assert any("gists=" in block for block in BLOCKS)
