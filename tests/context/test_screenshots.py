"""A user's own screenshots: counted as they are sent, and bounded where the caller left that open."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image

from optical_memory import OpticalMemory
from optical_memory.budget import get_profile


def message(width: int, height: int, **setting: str) -> dict[str, Any]:
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    image = {"type": "image_url", "image_url": {"url": url, **setting}}
    return {"role": "user", "content": [{"type": "text", "text": "What is wrong here?"}, image]}


@pytest.mark.parametrize(
    ("setting", "sent", "tokens"), [({}, "high", 2_931), ({"detail": "original"}, "original", 9_792)]
)
def test_a_screenshot_without_a_setting_is_sent_with_one_and_counted_so(
    setting: dict[str, str], sent: str, tokens: int
) -> None:
    profile = get_profile("gpt-6.2-sol")
    with OpticalMemory(profile=profile, budget=16_000, renderer="dense") as memory:
        memory.extend([message(3840, 2160, **setting)])
        (shown,) = memory.messages()
        assert shown["content"][1]["image_url"]["detail"] == sent
        assert tokens < memory.context().tokens < tokens + 50
        assert memory.store.turns("main")[0].raw == message(3840, 2160, **setting), "what was said stays as it was"


def test_three_screenshots_do_not_break_the_budget() -> None:
    with OpticalMemory(profile="gpt-6-astra", budget=16_000, renderer="dense") as memory:
        for _ in range(3):
            memory.extend([message(3840, 2160), {"role": "assistant", "content": "I see."}])
            assert memory.context().tokens <= 16_000
        assert len(memory.messages()) == 6
