"""What tests share: the data beside the checkout, and how examples are made up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tiny_checkpoint", "transcripts", "provider_server", "redis_server", "tiny_qwen_vl"]
SHARED = Path(__file__).resolve().parents[2] / "shared"
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")  # no example fails because the machine is busy


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with transcripts and golden numbers; tests that need it are skipped without it, except in CI."""
    if not SHARED.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{SHARED} is missing")
        pytest.skip(f"{SHARED} is not there")
    return SHARED
