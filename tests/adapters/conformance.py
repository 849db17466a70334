"""What every adapter must do, on real transcripts, in the framework's own message objects and its own loop.

A test file brings a :class:`Driver` of its framework as the fixture ``make_driver`` and imports these tests:
``from conformance import *``.
"""

from __future__ import annotations

import asyncio
import copy
import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from optical_memory import OpticalMemory
from optical_memory.budget import count_message, get_profile
from optical_memory.context.events import Event
from optical_memory.errors import OpticalMemoryError
from optical_memory.formats import to_turns
from optical_memory.turns import open_calls

__all__ = [
    "test_a_cancelled_call_leaves_the_memory_consistent",
    "test_a_memory_that_fails_is_an_error_or_the_full_history",
    "test_a_restart_takes_nothing_in_twice",
    "test_a_session_call_by_call",
    "test_edits_and_rewinds_are_followed",
    "test_no_work_is_done_on_the_event_loop",
    "test_recall_works_in_the_frameworks_own_loop",
    "test_two_threads_are_not_mixed",
]

Chat = dict[str, Any]
"""A message in OpenAI's format."""
PROFILE = "gpt-5"
OK: Chat = {"role": "assistant", "content": "Ok."}


@dataclass
class Sent:
    """One call of the model: the framework's history, and what the model was given, in the framework's own objects."""

    given: list[Any]
    got: list[Any]


class Driver(ABC):
    """Runs one framework with its adapter. ``settings`` go to the adapter."""

    asynchronous: ClassVar[bool] = True
    """Whether the framework's hook is a coroutine."""
    identity: ClassVar[bool] = True
    """Whether messages that are shown as they came are the very objects that were handed in."""
    error: ClassVar[type[Exception]] = OpticalMemoryError
    """What the framework's user sees where the memory fails."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    @abstractmethod
    def objects(self, history: Sequence[Chat]) -> list[Any]:
        """Return a history as the framework's own messages."""

    @abstractmethod
    def chat(self, messages: Sequence[Any]) -> list[Chat]:
        """Return the framework's messages in OpenAI's format, by the framework's own means where it has them."""

    @abstractmethod
    async def send(self, thread: str, given: list[Any]) -> list[Any]:
        """Let the framework call its model with this history of a thread, and return what the model was given."""

    @abstractmethod
    async def recall(self, thread: str, given: list[Any], question: str) -> str:
        """Run the framework's loop with a model that calls ``recall`` once; return the result that it was given."""

    @abstractmethod
    def memory(self, thread: str) -> OpticalMemory:
        """Return the memory of a thread."""

    def turns(self, history: Sequence[Chat]) -> int:
        """Return how many turns a history is."""
        return len(history)

    def recount(self, messages: Sequence[Any]) -> int:
        """Count tokens from what is sent, images by their own sizes and the detail that travels with them."""
        return sum(count_message(turn, get_profile(PROFILE)) for turn in to_turns(self.chat(messages), "openai"))

    @abstractmethod
    def close(self) -> None:
        """Let go of what is open."""


MakeDriver = Callable[..., Driver]


def spoken(session: dict[str, Any]) -> list[Chat]:
    """Return a session without its system prompt, which frameworks keep apart."""
    return [message for message in session["messages"] if message["role"] != "system"]


def calls_of_the_model(history: Sequence[Chat]) -> Iterator[list[Chat]]:
    """Yield the histories with which a model is called: up to each user's message and each run's last result."""
    for end in range(1, len(history) + 1):
        following = history[end]["role"] if end < len(history) else "assistant"
        if history[end - 1]["role"] in ("user", "tool") and following == "assistant":
            yield list(history[:end])


def check_pairs(messages: Sequence[Chat]) -> None:
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] in waiting, "a result without its call"
            waiting.discard(message["tool_call_id"])
        elif message["role"] != "assistant" or not waiting:
            assert not waiting, f"calls without results: {waiting}"
            waiting |= {call["id"] for call in message.get("tool_calls") or ()}
        else:  # some frameworks write each call as a message of its own
            waiting |= {call["id"] for call in message.get("tool_calls") or ()}
    assert not waiting, f"calls without results: {waiting}"


def words(messages: Sequence[Chat]) -> str:
    """Return all text of messages, images left out."""
    parts = [
        part.get("text", "")
        for message in messages
        for part in (message["content"] if isinstance(message.get("content"), list) else [])
    ]
    return "\n".join([*parts, *(str(m["content"]) for m in messages if isinstance(m.get("content"), str))])


def line_of(message: Chat) -> str:
    """Return a line of a message by which it can be found."""
    return max(str(message["content"]).splitlines(), key=len)[:80]


def stored(driver: Driver) -> int:
    """Return how many turns of the thread "t" lie in the store, superseded ones among them."""
    memory = driver.memory("t")
    return memory.store.count(memory.session)


def images(messages: Sequence[Chat]) -> int:
    return json.dumps(messages).count('"image_url": {')


async def sent(driver: Driver, thread: str, history: Sequence[Chat]) -> Sent:
    """Send a history, and see that the framework's own messages are left as they were."""
    given = driver.objects(history)
    before, places = copy.deepcopy(given), list(map(id, given))
    got = await driver.send(thread, given)
    assert driver.chat(given) == driver.chat(before) and list(map(id, given)) == places
    return Sent(given, got)


async def test_a_session_call_by_call(
    make_driver: MakeDriver, memory_settings: dict[str, Any], coding_session: dict[str, Any]
) -> None:
    """Pairs whole, order kept, nothing twice, the budget kept, the prefix stable between epochs, history untouched."""
    driver = make_driver(**memory_settings)
    before, epoch, epochs, most = list[str](), -1, set[int](), 0
    kept = 0
    histories = list(calls_of_the_model(spoken(coding_session)))
    for history in histories:
        call = await sent(driver, "t", history)
        written = driver.chat(call.got)
        check_pairs(written)
        assert driver.recount(call.got) <= driver.settings["budget"]
        same = [place for message in call.got for place, one in enumerate(call.given) if one is message]
        assert same == sorted(set(same)), "messages in another order, or twice"
        kept += len(same)
        assert stored(driver) == driver.turns(history)
        now = [json.dumps(message, sort_keys=True) for message in written]
        most = max(most, images(written))
        epochs.add(driver.memory("t").peek().epoch)
        if driver.memory("t").peek().epoch == epoch:
            assert now[: len(before)] == before, "the prefix changed between epochs"
        before, epoch = now, driver.memory("t").peek().epoch
    assert 1 < len(epochs) <= len(histories) / 4
    assert most >= 2 and len(written) < len(history)
    assert kept > len(histories) or not driver.identity, "messages shown as they came are other objects"
    assert line_of(history[-1])[:40] in words(written) or "recall(turn_id=" in words(written[-2:])
    driver.close()


async def test_a_restart_takes_nothing_in_twice(
    make_driver: MakeDriver, memory_settings: dict[str, Any], airline_sessions: list[dict[str, Any]]
) -> None:
    history = spoken(airline_sessions[0])
    histories = list(calls_of_the_model(history))
    memory_settings["budget"] = 3_000
    driver = make_driver(**memory_settings)
    for earlier in histories[:-2]:
        last = driver.chat((await sent(driver, "t", earlier)).got)
    count, epoch = stored(driver), driver.memory("t").peek().epoch
    driver.close()
    driver = make_driver(**memory_settings)
    again = driver.chat((await sent(driver, "t", histories[-3])).got)
    assert again == last
    assert stored(driver) == count and driver.memory("t").peek().epoch == epoch
    await sent(driver, "t", histories[-1])
    assert count < stored(driver) <= count + 2 * (len(histories[-1]) - len(histories[-3]))
    driver.close()


async def test_edits_and_rewinds_are_followed(
    make_driver: MakeDriver, memory_settings: dict[str, Any], airline_sessions: list[dict[str, Any]]
) -> None:
    driver = make_driver(**memory_settings)
    first, rest = {"role": "user", "content": "My member number is QX7TT2, my dog is called Bruno."}, None
    rest = list(calls_of_the_model(spoken(airline_sessions[0])))[-1]
    whole = [first, {"role": "assistant", "content": "Noted."}, *rest]
    await sent(driver, "t", whole)
    first_count = stored(driver)

    edited = [{**first, "content": "My member number is ZZ9ABC, my cat is called Mia."}, *whole[1:]]
    text = words(driver.chat((await sent(driver, "t", edited)).got))
    assert "Bruno" not in text and driver.memory("t").recall("Bruno dog") == []
    assert any("Mia" in turn.text for turn in driver.memory("t").recall("cat called Mia"))

    short = whole[:1]
    call = await sent(driver, "t", short)
    assert words(driver.chat(call.got)) == first["content"]

    count = stored(driver)
    text = words(driver.chat((await sent(driver, "t", whole)).got))
    assert "Bruno" in text and "Mia" not in text
    assert stored(driver) == count == 2 * first_count, "a branch that came back was stored again"
    driver.close()


async def test_two_threads_are_not_mixed(
    make_driver: MakeDriver, memory_settings: dict[str, Any], airline_sessions: list[dict[str, Any]]
) -> None:
    driver = make_driver(**memory_settings)
    marked = {
        name: [{"role": "user", "content": f"The password is {name}-swordfish."}, OK, *spoken(session)]
        for name, session in zip(("alpha", "beta"), airline_sessions, strict=False)
    }
    for one, other in zip(*(calls_of_the_model(history) for history in marked.values()), strict=False):
        for name, history in (("alpha", one), ("beta", other)):
            text = words(driver.chat((await sent(driver, name, history)).got))
            assert {"alpha": "beta", "beta": "alpha"}[name] + "-swordfish" not in text
    for name, other in (("alpha", "beta"), ("beta", "alpha")):
        found = " ".join(turn.text for turn in driver.memory(name).recall("password swordfish"))
        assert f"{name}-swordfish" in found and f"{other}-swordfish" not in found
    driver.close()


async def test_no_work_is_done_on_the_event_loop(
    make_driver: MakeDriver, memory_settings: dict[str, Any], coding_session: dict[str, Any]
) -> None:
    """Where the memory asks for the time, and tells what it did, is where it works."""
    at = set[int]()

    def clock() -> float:
        at.add(threading.get_ident())
        return time.time()

    def heard(event: Event) -> None:
        at.add(threading.get_ident())

    driver = make_driver(**memory_settings, clock=clock, on_event=heard)
    if not driver.asynchronous:
        pytest.skip("the framework's hook is called synchronously, on the thread that runs the agent")
    history = list(calls_of_the_model(spoken(coding_session)))[20]
    await sent(driver, "t", history)
    assert driver.memory("t").peek().pages
    assert at and threading.get_ident() not in at
    at.clear()
    await driver.recall("t", driver.objects(history), line_of(history[0]))
    assert at and threading.get_ident() not in at
    driver.close()


async def test_a_cancelled_call_leaves_the_memory_consistent(
    make_driver: MakeDriver, memory_settings: dict[str, Any], coding_session: dict[str, Any]
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def clock() -> float:
        entered.set()
        assert go_on.wait(60)
        return time.time()

    driver = make_driver(**memory_settings, clock=clock)
    if not driver.asynchronous:
        pytest.skip("the framework's hook is called synchronously: there is nothing to cancel")
    histories = list(calls_of_the_model(spoken(coding_session)))
    going = asyncio.create_task(driver.send("t", driver.objects(histories[30])))
    assert await asyncio.to_thread(entered.wait, 60)
    going.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await going
    written = driver.chat((await sent(driver, "t", histories[31])).got)
    check_pairs(written)
    turns = driver.memory("t").store.turns(driver.memory("t").session)
    fresh = make_driver(**{**memory_settings, "store": "memory://"})
    await sent(fresh, "t", histories[31])
    assert [turn.text for turn in turns] == [turn.text for turn in fresh.memory("t").turns()]
    assert open_calls(turns) == {}
    driver.close()
    fresh.close()


async def test_recall_works_in_the_frameworks_own_loop(
    make_driver: MakeDriver, memory_settings: dict[str, Any], coding_session: dict[str, Any]
) -> None:
    driver = make_driver(**memory_settings)
    history = [
        {"role": "user", "content": "Remember: the vault's code is 7391-KLM-0045."},
        {"role": "assistant", "content": "I will."},
        *list(calls_of_the_model(spoken(coding_session)))[-1],
    ]
    given = driver.objects(history)
    result = await driver.recall("t", given, "What is the vault's code?")
    assert "7391-KLM-0045" in result
    driver.close()


async def test_a_memory_that_fails_is_an_error_or_the_full_history(
    make_driver: MakeDriver,
    memory_settings: dict[str, Any],
    airline_sessions: list[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    history = list(calls_of_the_model(spoken(airline_sessions[0])))[-1]
    driver = make_driver(**{**memory_settings, "budget": 8})
    with pytest.raises(driver.error):
        await sent(driver, "t", history)
    driver.close()
    driver = make_driver(**{**memory_settings, "budget": 8}, on_failure="send everything")
    call = await sent(driver, "t", history)
    assert driver.chat(call.got) == driver.chat(call.given)
    assert "whole history" in caplog.text
    driver.close()
