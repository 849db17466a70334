"""How the conformance suite runs a framework: its history in, what its model is given out."""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from optical_memory import OpticalMemory
from optical_memory.budget import count_message, get_profile
from optical_memory.errors import OpticalMemoryError
from optical_memory.formats import to_turns

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
    def strange(self, words: str) -> Any:
        """Return a message of a kind that the adapter does not know, in which these words stand."""

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
