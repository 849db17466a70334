"""A memory for agents and chat engines."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import BaseMemory
from llama_index.core.tools import FunctionTool, ToolMetadata
from pydantic import PrivateAttr

from optical_memory.adapters.base import Failures, OnFailure
from optical_memory.adapters.kept import KeptList
from optical_memory.adapters.llama_index.messages import LlamaShape, MemoryFailedError, sent_turns
from optical_memory.adapters.recall_arguments import RecallArguments
from optical_memory.asynchronous import on_worker
from optical_memory.errors import InputError, OpticalMemoryError
from optical_memory.memory import OpticalMemory


class OpticalChatMemory(BaseMemory):
    """A memory whose ``get`` is the bounded context of one session; ``get_all`` gives every message exactly.

    ``await agent.run("…", memory=OpticalChatMemory.from_defaults(session="user-17", store="sqlite:///memory.db"))``.
    """

    _memory: OpticalMemory = PrivateAttr()
    _failures: Failures = PrivateAttr()
    _kept: KeptList[ChatMessage] = PrivateAttr()
    _shape: LlamaShape = PrivateAttr(default_factory=LlamaShape)

    @classmethod
    def from_defaults(
        cls, memory: OpticalMemory | None = None, on_failure: OnFailure = "raise", **settings: Any
    ) -> OpticalChatMemory:
        """Return a memory over a ready OpticalMemory, or over a new one with these ``settings`` (session, store, …).

        ``on_failure``: "raise" MemoryFailedError, or "send everything" and log a warning.
        """
        if memory is not None and settings:
            raise InputError("give a memory, or settings for a new one, not both")
        out = cls()
        out._memory = OpticalMemory(**settings) if memory is None else memory
        out._failures = Failures(on_failure, MemoryFailedError)
        out._kept = KeptList(out._memory, out._shape, out._shape.made, out._failures)
        return out

    @property
    def memory(self) -> OpticalMemory:
        """The memory itself, to inspect it, recall or forget."""
        return self._memory

    def get(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:
        """Return what the model should see. Raises MemoryFailedError."""
        try:
            turns = sent_turns(self._memory.context(draw=True))
        except OpticalMemoryError as error:
            self._failures.seen(error, f"the whole history of session {self._memory.session!r} is sent")
            return self.get_all()
        return self._shape.made(turns)

    async def aget(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:
        """Do :meth:`get` without holding the event loop."""
        return await on_worker(self.get)

    def get_all(self) -> list[ChatMessage]:
        """Return every message of the conversation, exactly."""
        return self._kept.all()

    async def aget_all(self) -> list[ChatMessage]:
        """Do :meth:`get_all` without holding the event loop."""
        return await on_worker(self.get_all)

    def put(self, message: ChatMessage) -> None:
        """Store a message, exactly and durably."""
        self._kept.add([message])

    async def aput(self, message: ChatMessage) -> None:
        """Do :meth:`put` without holding the event loop."""
        await on_worker(lambda: self.put(message))

    def put_messages(self, messages: list[ChatMessage]) -> None:
        """Store messages, exactly and durably."""
        self._kept.add(messages)

    async def aput_messages(self, messages: list[ChatMessage]) -> None:
        """Do :meth:`put_messages` without holding the event loop."""
        await on_worker(lambda: self.put_messages(messages))

    def set(self, messages: list[ChatMessage]) -> None:
        """Make the conversation equal ``messages``; what is not in it is kept as superseded."""
        self._kept.replace(messages)

    async def aset(self, messages: list[ChatMessage]) -> None:
        """Do :meth:`set` without holding the event loop."""
        await on_worker(lambda: self.set(messages))

    def reset(self) -> None:
        """Really delete the conversation."""
        self._kept.clear()

    async def areset(self) -> None:
        """Do :meth:`reset` without holding the event loop."""
        await on_worker(self.reset)

    def recall_tool(self) -> FunctionTool:
        """Return the recall tool, for an agent's tools."""
        tool = self._memory.recall_tool()

        def recall(**asked: Any) -> str:
            return tool({key: value for key, value in asked.items() if value is not None})

        async def recall_async(**asked: Any) -> str:
            return await on_worker(lambda: recall(**asked))

        told = ToolMetadata(name=tool.name, description=tool.description, fn_schema=RecallArguments)
        return FunctionTool(recall, told, async_fn=recall_async)
