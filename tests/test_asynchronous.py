"""The asynchronous memory: same answers, and the event loop never waits."""

from __future__ import annotations

import inspect
import threading
from typing import Any

from optical_memory import AsyncOpticalMemory, OpticalMemory
from optical_memory.renderers import DenseRenderer
from optical_memory.renderers.base import Raster
from optical_memory.stores import MemoryStore


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


async def test_nothing_works_on_the_threads_of_the_loop(airline_sessions: list[dict[str, Any]]) -> None:
    """No store is asked and no page drawn there, so that the loop never waits, however busy the machine is."""
    threads = set()

    class Store(MemoryStore):
        def __getattribute__(self, name: str) -> Any:
            threads.add(threading.get_ident())
            return super().__getattribute__(name)

    class Renderer(DenseRenderer):
        def draw(self, *args: Any, **kwargs: Any) -> list[Raster]:
            threads.add(threading.get_ident())
            return super().draw(*args, **kwargs)

    messages = [message for session in airline_sessions[:6] for message in session["messages"][1:]]
    store, renderer = Store(), Renderer()
    threads.clear()
    async with AsyncOpticalMemory("s", store=store, profile="mini", renderer=renderer, budget=8_000) as memory:
        await memory.extend(messages)
        assert any("image" in str(message) for message in await memory.messages())
    assert threads and threading.get_ident() not in threads


def test_every_public_method_has_a_coroutine() -> None:
    names = [n for n, f in inspect.getmembers(OpticalMemory, inspect.isfunction) if not n.startswith("_")]
    for name in set(names) - {"add_turns", "turns_to_send", "pages_by_tier"}:
        assert inspect.iscoroutinefunction(getattr(AsyncOpticalMemory, name)), name
