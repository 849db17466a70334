"""The asynchronous memory: same answers, and the event loop never waits."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from pathlib import Path
from typing import Any

import pytest

from optical_memory import AsyncOpticalMemory, MemoryPool, OpticalMemory
from optical_memory.asynchronous import THREADS
from optical_memory.errors import StoreUnavailableError
from optical_memory.renderers import DenseRenderer
from optical_memory.renderers.base import Raster
from optical_memory.stores import MemoryStore, SqliteStore


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
    for name in names:
        assert inspect.iscoroutinefunction(getattr(AsyncOpticalMemory, name)), name


async def test_two_hundred_tasks_over_fifty_sessions_keep_their_order(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "memory.db")
    settings: dict[str, Any] = {"store": store, "profile": "mini", "renderer": "dense", "budget": 1_000}
    memories = [AsyncOpticalMemory(f"s{number}", **settings) for number in range(50)]

    async def speak(number: int) -> None:
        memory = memories[number % 50]
        for step in range(3):
            await memory.add("user", f"task {number} step {step}")
            if step == 1:
                assert (await memory.context()).tokens <= 1_000

    await asyncio.gather(*(speak(number) for number in range(200)))
    for number, memory in enumerate(memories):
        texts = [turn.text for turn in store.turns(f"s{number}")]
        assert len(texts) == 12
        for task in range(number, 200, 50):
            own = [text for text in texts if text.startswith(f"task {task} ")]
            assert own == [f"task {task} step {step}" for step in range(3)]
        await memory.close()
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("optical-memory_")]
    assert len(ours) <= THREADS
    store.close()


def test_two_hundred_threads_over_fifty_sessions_keep_their_order(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "memory.db")
    failures: list[BaseException] = []
    with MemoryPool(store=store, profile="mini", renderer="dense", budget=1_000, most=10) as pool:

        def speak(number: int) -> None:
            try:
                for step in range(3):
                    with pool.use(f"s{number % 50}") as memory:
                        memory.add("user", f"task {number} step {step}")
                        assert memory.context().tokens <= 1_000
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=speak, args=(number,)) for number in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert len(pool) <= 10
    for number in range(50):
        texts = [turn.text for turn in store.turns(f"s{number}")]
        assert len(texts) == 12
        for task in range(number, 200, 50):
            own = [text for text in texts if text.startswith(f"task {task} ")]
            assert own == [f"task {task} step {step}" for step in range(3)]
    store.close()


async def test_a_call_that_is_cancelled_is_finished_before_the_next_one() -> None:
    async with AsyncOpticalMemory("s", profile="mini", renderer="dense") as memory:
        await memory.add("user", "first")
        begun = asyncio.create_task(memory.extend([{"role": "user", "content": f"turn {n}"} for n in range(500)]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        begun.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await begun
        last = await memory.add("user", "last")
        assert last.seq in (1, 501)


async def test_a_closed_memory_says_so() -> None:
    memory = AsyncOpticalMemory("s", profile="mini", renderer="dense")
    await memory.add("user", "hello")
    await memory.close()
    await memory.close()
    with pytest.raises(StoreUnavailableError):
        await memory.context()


async def test_pages_come_back_drawn(airline_sessions: list[dict[str, Any]]) -> None:
    async with AsyncOpticalMemory("s", profile="mini", renderer="dense", budget=4_000) as memory:
        for session in airline_sessions[:6]:
            await memory.extend(session["messages"][1:])
        pages = (await memory.context()).pages
        assert pages and all(page.cached for page in pages)
