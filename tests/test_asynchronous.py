"""The asynchronous memory: same answers, and the event loop never waits."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import Any

from optical_memory import AsyncOpticalMemory, OpticalMemory


async def test_same_answers_as_the_synchronous_memory(airline_sessions: list[dict[str, Any]]) -> None:
    messages = [message for session in airline_sessions[:6] for message in session["messages"][1:]]
    messages = [message | {"id": f"m{number}"} for number, message in enumerate(messages)]
    settings: dict[str, Any] = {"profile": "mini", "renderer": "dense", "budget": 4_000}
    async with AsyncOpticalMemory("s", **settings) as memory:
        await memory.extend(messages)
        turn = await memory.add("user", "And my code is QX7TT2.", id="last")
        assert (await memory.recall("QX7TT2"))[0].id == turn.id
        context = await memory.context()
        assert context.tokens <= 4_000
        sent = await memory.messages("anthropic")
        assert (await memory.stats())["turns"] == len(messages) + 1
        assert (await memory.forget(turn_id="last")).turn_ids == ("last",)
    with OpticalMemory("s", **settings) as same:
        same.extend(messages)
        same.add("user", "And my code is QX7TT2.", id="last")
        assert same.messages("anthropic") == sent


async def test_the_loop_does_not_wait(airline_sessions: list[dict[str, Any]]) -> None:
    messages = [message for session in airline_sessions[:30] for message in session["messages"][1:]]
    late = 0.0

    async def beat() -> None:
        nonlocal late
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.005)
            late = max(late, time.perf_counter() - start - 0.005)

    heart = asyncio.create_task(beat())
    async with AsyncOpticalMemory("s", profile="mini", renderer="dense", budget=8_000) as memory:
        start = time.perf_counter()
        await memory.extend(messages)
        await memory.messages()
        worked = time.perf_counter() - start
    heart.cancel()
    assert late < max(0.5 * worked, 0.25)


def test_every_public_method_has_a_coroutine() -> None:
    names = [n for n, f in inspect.getmembers(OpticalMemory, inspect.isfunction) if not n.startswith("_")]
    for name in set(names) - {"add_turns", "turns_to_send", "pages_by_tier"}:
        assert inspect.iscoroutinefunction(getattr(AsyncOpticalMemory, name)), name
