"""A memory block for what leaves LlamaIndex's short-term memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import BaseMemoryBlock
from pydantic import PrivateAttr

from optical_memory.adapters.base import Bridge
from optical_memory.adapters.llama_index.messages import LlamaShape, MemoryFailedError, sent_turns
from optical_memory.asynchronous import on_worker
from optical_memory.errors import BudgetError, OpticalMemoryError
from optical_memory.memory import OpticalMemory
from optical_memory.turns import Turn


class OpticalMemoryBlock(BaseMemoryBlock[list[ChatMessage]]):
    """Keeps what leaves the short-term memory, exactly, and shows it as pages within a budget of its own.

    ``Memory.from_defaults(session_id="…", memory_blocks=[OpticalMemoryBlock.over(store="sqlite:///memory.db")])``.
    """

    name: str = "optical_memory"
    _bridge: Bridge[ChatMessage] = PrivateAttr()
    _shape: LlamaShape = PrivateAttr(default_factory=LlamaShape)

    @classmethod
    def over(cls, memory: OpticalMemory | None = None, *, priority: int = 0, **settings: Any) -> OpticalMemoryBlock:
        """Return a block over a ready memory of one session, or over a memory for each session with these settings.

        ``on_failure`` is one of the settings: "raise" MemoryFailedError, or "send everything" and log a warning.
        """
        out = cls(priority=priority)
        out._bridge = Bridge(out._shape, memory, error=MemoryFailedError, **settings)
        return out

    def memory(self, session_id: str) -> OpticalMemory:
        """Return the memory of a session, to inspect it, recall or forget."""
        return self._bridge.memory(session_id)

    def close(self) -> None:
        """Release the store and the renderer."""
        self._bridge.close()

    async def _aget(self, messages: list[ChatMessage] | None = None, **block_kwargs: Any) -> list[ChatMessage]:
        session = str(block_kwargs.get("session_id") or "main")
        return await on_worker(lambda: self._got(session))

    async def _aput(self, messages: list[ChatMessage]) -> None:
        session = str(messages[-1].additional_kwargs.get("session_id") or "main") if messages else "main"
        bare = [message.model_copy(update={"additional_kwargs": _without_session(message)}) for message in messages]
        written = [one for message in bare for one in self._shape.written(message)]
        try:
            await on_worker(lambda: self.memory(session).extend(written, format=self._shape.format))
        except OpticalMemoryError as error:
            raise MemoryFailedError(str(error)) from error

    async def atruncate(self, content: list[ChatMessage], tokens_to_truncate: int) -> list[ChatMessage] | None:
        """Show less; None where nothing fits."""
        session = str(content[0].additional_kwargs.get("session_id") or "main") if content else "main"
        try:
            return await on_worker(lambda: self._shown(session, max(tokens_to_truncate, 0)))
        except BudgetError:
            return None
        except OpticalMemoryError as error:
            raise MemoryFailedError(str(error)) from error

    def _got(self, session: str) -> list[ChatMessage]:
        try:
            return self._shown(session, 0)
        except OpticalMemoryError as error:
            self._bridge.failures.seen(error, f"all that session {session!r} holds is sent")
        try:
            return self._marked(session, self.memory(session).turns())
        except OpticalMemoryError as error:
            raise MemoryFailedError(str(error)) from error

    def _shown(self, session: str, reserve: int) -> list[ChatMessage]:
        return self._marked(session, sent_turns(self.memory(session).context(reserve=reserve, draw=True)))

    def _marked(self, session: str, turns: Sequence[Turn]) -> list[ChatMessage]:
        made = self._shape.made(turns)
        marked = {"session_id": session}
        return [one.model_copy(update={"additional_kwargs": one.additional_kwargs | marked}) for one in made]


def _without_session(message: ChatMessage) -> dict[str, Any]:
    return {key: value for key, value in message.additional_kwargs.items() if key != "session_id"}
