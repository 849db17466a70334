"""Stores of both kinds for the service, on real files and a real Redis."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["sqlite", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'memory.db'}"
    return f"{request.getfixturevalue('redis_url')}?prefix={tmp_path.name}"
