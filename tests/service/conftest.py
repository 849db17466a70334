"""Stores of both kinds for the service, on real files and a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from server import Served, served

from optical_memory.service.master import new_master_key


@pytest.fixture(params=["sqlite", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'memory.db'}"
    return f"{request.getfixturevalue('redis_url')}?prefix={tmp_path.name}"


@pytest.fixture
def service(store_url: str) -> Iterator[Served]:
    """A service on each kind of store, which encrypts."""
    with served(store=store_url, master_key=new_master_key(), key_cache_seconds=0.2) as running:
        yield running
