"""What the tests of adapters share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optical_memory.renderers import DenseRenderer

pytest.register_assert_rewrite("conformance", "conformance_foreign", "driver")


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let CrewAI, which sends home what it does, send nothing."""
    monkeypatch.setenv("CREWAI_DISABLE_TELEMETRY", "true")


@pytest.fixture
def memory_settings(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Settings of a memory on disk."""
    renderer = DenseRenderer()
    yield {"store": f"sqlite:///{tmp_path / 'm.db'}", "profile": "gpt-5", "budget": 6_000, "renderer": renderer}
    renderer.close()
