"""What tests share: the data beside the checkout, and how examples are made up."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

pytest_plugins = ["tiny_checkpoint", "transcripts", "provider_server", "redis_server", "tiny_qwen_vl"]
SHARED = Path(__file__).resolve().parents[2] / "shared"
ANY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", ANY_MACHINE)  # other examples each time: pytest --hypothesis-profile search
settings.register_profile("same examples", ANY_MACHINE, derandomize=True)
settings.load_profile("same examples")
# Else examples hold what stands in the modules that are loaded so far, which the order of the tests decides.
providers._get_local_constants = providers.Constants


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """Collect what a file of tests leaves, when all it made is gone.

    What it forgot to close fails one of its own tests, not one that happens to run when the collector comes; and its
    memory goes back to the system.
    """
    yield
    gc.collect()
    if sys.platform == "linux":
        getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)(0)  # glibc has it


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with transcripts and golden numbers; tests that need it are skipped without it, except in CI."""
    if not SHARED.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{SHARED} is missing")
        pytest.skip(f"{SHARED} is not there")
    return SHARED
