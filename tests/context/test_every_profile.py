"""Each target model on a real session: within the budget after every turn, and within what a request may hold."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from optical_memory import OpticalMemory, profiles
from optical_memory.budget import Profile, count_tokens, get_profile
from optical_memory.policies.base import PageInfo, Plan
from optical_memory.policies.limits import within_limits
from optical_memory.turns import open_calls

Message = dict[str, Any]


def digests(messages: list[Message]) -> list[bytes]:
    return [hashlib.sha256(json.dumps(message).encode()).digest() for message in messages]


def check_pairs(messages: list[Message]) -> None:
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] in waiting
            waiting.discard(message["tool_call_id"])
        else:
            assert not waiting
            waiting = {call["id"] for call in message.get("tool_calls") or ()}


def texts(message: Message) -> list[str]:
    content = message.get("content") or ""
    parts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    return [*parts, *(call["name"] for call in calls), *(call["arguments"] for call in calls)]


def images(messages: list[Message]) -> list[bytes]:
    parts = [part for message in messages if isinstance(message.get("content"), list) for part in message["content"]]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return [base64.b64decode(url.partition(",")[2]) for url in urls]


def recount(memory: OpticalMemory, profile: Profile, messages: list[Message]) -> int:
    """Count what is sent anew, from the messages and the sizes of the images."""
    pages = memory.context().pages
    assert images(messages) == [page.png for page in pages]
    pixels = sum(profile.image_tokens(*page.size, profile.detail.get(page.tier)) for page in pages)
    words = sum(count_tokens(text, profile) for message in messages for text in texts(message))
    return words + pixels + profile.message_tokens * len(messages)


@pytest.mark.parametrize("name", profiles())
def test_a_coding_session_turn_by_turn(name: str, coding_session: dict[str, Any]) -> None:
    profile, budget = get_profile(name), 16_000
    with OpticalMemory(profile=name, budget=budget, renderer="dense") as memory:
        before, epoch = list[bytes](), 0
        for number, message in enumerate(coding_session["messages"]):
            memory.extend([message])
            context = memory.context()
            assert context.tokens <= budget
            sent = memory.messages()
            if not open_calls(context.recent):  # pages of results follow the last of them
                check_pairs(sent)
                if number % 5 == 0:
                    assert recount(memory, profile, sent) <= context.tokens
            now = digests(sent)
            if context.epoch == epoch:
                assert now[: len(before)] == before, number
            before, epoch = now, context.epoch
        assert 0 < context.epoch <= len(coding_session["messages"]) / 10
        assert [turn.raw for turn in memory.store.turns("main")] == coding_session["messages"]


def test_a_large_budget_does_not_exceed_the_images_and_bytes_of_a_request(
    coding_sessions: list[dict[str, Any]],
) -> None:
    profile = get_profile("claude")
    assert profile.max_images == 100
    with OpticalMemory(profile="claude", budget=120_000, renderer="dense") as memory:
        for session in coding_sessions:
            for start in range(0, len(session["messages"]), 12):
                memory.extend(session["messages"][start : start + 12])
                context = memory.context()
                assert context.tokens <= 120_000
                assert len(context.pages) <= profile.max_images
        pages = memory.context().pages
        assert len(pages) > profile.max_images // 4
        assert max(max(page.size) for page in pages) <= profile.max_side(len(pages))
        assert len(json.dumps(memory.messages("anthropic"))) <= profile.max_request_bytes


def test_the_oldest_images_merge_first_and_pins_never() -> None:
    costs = {"base": 400, "tiny": 100}
    pages = [PageInfo(id=str(n), level=0, costs=costs, floor="tiny" if n == 0 else None) for n in range(6)]
    plan = Plan(tiers={"0": "tiny", "3": "base", "4": "text", "5": "base"}, merges=(("1", "2"),), tokens=1_000)
    sizes = {"base": 10, "tiny": 1, "gist": 2}

    def kept(images: int, size: int) -> tuple[Any, ...]:
        left = within_limits(plan, pages, images=images, size=size, bytes_of=sizes, gist_tokens=90)
        named = [*left.tiers, *left.archived, *(page for run in left.merges for page in run)]
        assert sorted(named) == [page.id for page in pages]
        return left.merges, left.archived, left.tokens

    assert within_limits(plan, pages, images=4, size=23, bytes_of=sizes, gist_tokens=90) is plan
    assert kept(3, 100) == ((("1", "2", "3"),), (), 600)
    assert kept(9, 22) == ((("1", "2", "3"),), (), 600)
    assert kept(2, 100) == ((("1", "2", "3", "5"),), (), 200)
    assert kept(1, 100) == ((), ("1", "2", "3", "5"), 110)
