"""No request costs more than its context says: recounted from the JSON that leaves, for every profile and format."""

from __future__ import annotations

from typing import Any

import pytest
from recount import bill, recount

from optical_memory import OpticalMemory, profiles
from optical_memory.budget import count_tokens, get_profile
from optical_memory.formats import FORMATS
from optical_memory.turns import open_calls

WITHOUT_SETTINGS = {("gemini-3", "anthropic"), ("gemini-3", "huggingface")}
"""Pairs in which a tier's setting, and so its price, cannot travel."""


@pytest.mark.parametrize("name", profiles())
def test_a_request_costs_no_more_than_its_context(
    name: str, coding_session: dict[str, Any], airline_sessions: list[dict[str, Any]]
) -> None:
    profile = get_profile(name)
    messages = coding_session["messages"] + airline_sessions[0]["messages"][1:]
    checked = 0
    with OpticalMemory(profile=name, budget=16_000, renderer="dense") as memory:
        for number, message in enumerate(messages):
            memory.extend([message])
            if open_calls(memory.context().recent) or number % 11:  # a request is sent when the results are there
                continue
            for format in FORMATS:
                if (name, format) not in WITHOUT_SETTINGS:
                    request, context = memory.request(format, recall=True), memory.context()
                    assert recount(request, format, profile) <= memory.budget
                    assert recount(request, format, profile, tools=False) <= context.tokens, (number, format)
                    assert len(bill(request, format).images) == len(context.pages)
                    checked += 1
    assert checked > 12


def test_the_recount_counts_by_hand() -> None:
    """Its own figures, by hand: a page of Gemini 3 costs what the setting beside it says."""
    profile = get_profile("gemini-3")
    with OpticalMemory(profile="gemini-3", budget=30_000, renderer="dense") as memory:
        memory.add("system", "Be brief.")
        for number in range(250):
            memory.add("user", f"Row {number}: " + "the quick brown fox jumps over the lazy dog. " * 40)
        request = memory.request("gemini")
        context = memory.context()
    images = [part for content in request["contents"] for part in content["parts"] if "inlineData" in part]
    flat = {"LOW": 280, "MEDIUM": 560, "HIGH": 1120, "ULTRA_HIGH": 2240}
    prices = [flat[part["mediaResolution"]["level"].removeprefix("MEDIA_RESOLUTION_")] for part in images]
    texts = [part["text"] for content in request["contents"] for part in content["parts"] if "text" in part]
    words = sum(count_tokens(text, profile) for text in [*texts, "Be brief."])
    by_hand = sum(prices) + words + profile.message_tokens * (len(request["contents"]) + 1)
    assert recount(request, "gemini", profile) == by_hand <= context.tokens
    assert len(prices) == len(context.pages) > 2
