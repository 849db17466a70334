"""A real Chromium for the tests of renderers: missing it is an error in CI, and a reason to skip elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from optical_memory.renderers import ChromiumRenderer


@pytest.fixture(scope="module")
def chromium() -> Iterator[ChromiumRenderer]:
    if not ChromiumRenderer.available():
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing")
        pytest.skip("Chromium is not installed")
    renderer = ChromiumRenderer()
    yield renderer
    renderer.close()
