"""No request costs more than its context says: recounted from the JSON that leaves, for every profile and format."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from recount import bill, recount

from optical_memory import OpticalMemory, profiles
from optical_memory.budget import count_tokens, get_profile
from optical_memory.formats import FORMATS
from optical_memory.renderers.png import encode
from optical_memory.turns import open_calls

Message = dict[str, Any]

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


PNG = base64.b64encode(encode(np.zeros((480, 640), np.uint8))).decode()
HI, WELL = {"role": "user", "content": "Hi"}, {"role": "user", "content": "Well?"}
SEEN = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}


def asked(*call_ids: str) -> Message:
    calls = [{"id": one, "type": "function", "function": {"name": "look_it_up", "arguments": "{}"}} for one in call_ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def answered(call_id: str) -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": "x"}


BROKEN: dict[str, list[Message]] = {
    "calls without results": [HI, asked("c1", "c2"), WELL],
    "one call without a result": [HI, asked("c1", "c2"), answered("c2"), WELL],
    "a result without its call": [HI, answered("c9"), WELL],
    "a result too late": [HI, asked("c1"), WELL, answered("c1"), {"role": "user", "content": "Ah."}],
    "ids that a provider refuses": [HI, asked("functions.look:0"), answered("functions.look:0"), WELL],
    "images in a result": [
        HI,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "see", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [SEEN]}]},
        WELL,
    ],
}


@pytest.mark.parametrize("name", ["gpt-5", "claude", "claude-4.7", "gemini-3", "qwen3-vl", "deepseek-ocr"])
@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_mended_on_the_way_out_is_counted(broken: str, name: str) -> None:
    profile = get_profile(name)
    with OpticalMemory(profile=name, budget=16_000, renderer="dense") as memory:
        for message in BROKEN[broken]:
            memory.extend([message])
            if open_calls(memory.context().recent) and message["role"] != "user":
                continue
            for format in FORMATS:
                if (name, format) not in WITHOUT_SETTINGS:
                    sent, context = memory.request(format), memory.context()
                    assert recount(sent, format, profile) <= context.tokens, format
        assert sum(piece.tokens for piece in context.pieces()) == context.tokens


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
