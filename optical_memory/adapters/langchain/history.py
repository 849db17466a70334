"""A chat message history, for ``RunnableWithMessageHistory`` and code that keeps histories itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from optical_memory.adapters.langchain.messages import LangChainShape
from optical_memory.asynchronous import on_worker
from optical_memory.formats import get_format
from optical_memory.formats.repair import repaired
from optical_memory.memory import OpticalMemory


class OpticalChatMessageHistory(BaseChatMessageHistory):
    """A chat message history whose ``messages`` are the bounded context of one session.

    Args:
        session_id: id of the conversation.
        memory: a ready memory, instead of a new one of that session.
        settings: as for :class:`OpticalMemory`.

    """

    def __init__(self, session_id: str = "main", *, memory: OpticalMemory | None = None, **settings: Any) -> None:
        self.memory = OpticalMemory(session_id, **settings) if memory is None else memory
        self._shape = LangChainShape()

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """What the model should see now: pages of the past, then the recent messages."""
        turns = repaired(self.memory.context(draw=True).turns(), get_format(self._shape.format))
        return self._shape.made(turns)

    async def aget_messages(self) -> list[BaseMessage]:
        """Return :attr:`messages` without blocking the loop."""
        return await on_worker(lambda: self.messages)

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Store messages exactly; those that carry an id are stored once."""
        written = [one for message in messages for one in self._shape.written(message)]
        self.memory.extend(written, format=self._shape.format)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Store messages without blocking the loop."""
        await on_worker(lambda: self.add_messages(messages))

    def clear(self) -> None:
        """Really delete the session."""
        self.memory.forget(everything=True)

    async def aclear(self) -> None:
        """Really delete the session without blocking the loop."""
        await on_worker(self.clear)
