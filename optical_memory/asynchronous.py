"""AsyncOpticalMemory: the same memory for asyncio. Its work is done on threads that all memories share."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from optical_memory.context.base import Context
from optical_memory.errors import StoreUnavailableError
from optical_memory.formats.keywords import When
from optical_memory.memory import OpticalMemory
from optical_memory.recall import RecallTool
from optical_memory.renderers.base import Page
from optical_memory.stores.base import Head
from optical_memory.turns import Role, ToolCall, Turn

if TYPE_CHECKING:
    from optical_memory.asking import Reply
    from optical_memory.budget.advice import Advice
    from optical_memory.budget.drift import Drift
    from optical_memory.context.following import Followed
    from optical_memory.context.forgetting import Receipt
    from optical_memory.readers.base import Reader
    from optical_memory.readers.fidelity import Score

THREADS = min(8, 2 + (os.cpu_count() or 1))
"""Most threads that all memories of a process work on, however many there are."""
T = TypeVar("T")


@cache
def workers() -> ThreadPoolExecutor:
    """Return the threads that the memories of this process share."""
    return ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="optical-memory")


async def on_worker(work: Callable[[], T], threads: ThreadPoolExecutor | None = None) -> T:
    """Do ``work`` on a thread, by default one that all memories share. A caller that is cancelled waits for its end."""
    context = contextvars.copy_context()  # so that what is traced knows what it is part of
    running = asyncio.get_running_loop().run_in_executor(threads or workers(), context.run, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])  # what was begun is finished before the next call
        raise


class AsyncOpticalMemory:
    """The methods of :class:`OpticalMemory` as coroutines; arguments, results and errors are the same.

    Calls of one memory are done one at a time, in the order in which they are made. The store is opened at the first
    call. Nothing blocks the event loop: pages come back drawn.

    Args:
        session: as for OpticalMemory, as all further settings.
        memory: a memory to use instead of opening one; closing it stays with its owner.
        threads: where the work is done; default: threads that all memories share.

    """

    def __init__(
        self,
        session: str = "main",
        *,
        memory: OpticalMemory | None = None,
        threads: ThreadPoolExecutor | None = None,
        **settings: Any,
    ) -> None:
        self._open: Callable[[], OpticalMemory] = partial(OpticalMemory, session, **settings)
        self._memory, self._owns = memory, memory is None
        self._threads = threads or workers()
        self._order = asyncio.Lock()
        self._closed = False

    async def _call(self, work: Callable[[OpticalMemory], T], threads: ThreadPoolExecutor | None = None) -> T:
        def done() -> T:
            if self._memory is None:
                self._memory = self._open()
            return work(self._memory)

        async with self._order:
            if self._closed:
                raise StoreUnavailableError("the memory is closed")
            return await on_worker(done, threads or self._threads)

    @property
    def is_open(self) -> bool:
        """Whether a call was made before, so that what it read of the session is at hand."""
        return self._memory is not None

    async def use(self, work: Callable[[OpticalMemory], T], *, threads: ThreadPoolExecutor | None = None) -> T:
        """Do several calls of the memory as one: ``work`` runs on a thread, and no other call comes in between.

        ``threads``: where it is done; default: where all calls of this memory are.
        """
        return await self._call(work, threads)

    async def add(
        self,
        role: Role,
        content: str | Sequence[Mapping[str, Any]] | None = "",
        *,
        id: str | None = None,
        name: str | None = None,
        pin: bool | str = False,
        importance: float | None = None,
        tool_calls: Sequence[Mapping[str, Any] | ToolCall] = (),
        tool_call_id: str | None = None,
        created_at: When | None = None,
    ) -> Turn:
        """See :meth:`OpticalMemory.add`."""
        return await self._call(
            lambda memory: memory.add(
                role,
                content,
                id=id,
                name=name,
                pin=pin,
                importance=importance,
                tool_calls=tool_calls,
                tool_call_id=tool_call_id,
                created_at=created_at,
            )
        )

    async def extend(self, messages: Iterable[Mapping[str, Any]], *, format: str | None = None) -> list[Turn]:
        """See :meth:`OpticalMemory.extend`."""
        return await self._call(lambda memory: memory.extend(messages, format=format))

    async def add_turns(self, turns: Iterable[Turn]) -> list[Turn]:
        """See :meth:`OpticalMemory.add_turns`."""
        return await self._call(lambda memory: memory.add_turns(turns))

    async def follow(
        self, messages: Iterable[Any], *, format: str | None = None, expected: Head | None = None
    ) -> Followed:
        """See :meth:`OpticalMemory.follow`."""
        return await self._call(lambda memory: memory.follow(messages, format=format, expected=expected))

    async def turns(self) -> list[Turn]:
        """See :meth:`OpticalMemory.turns`."""
        return await self._call(lambda memory: memory.turns())

    async def superseded(self) -> list[Turn]:
        """See :meth:`OpticalMemory.superseded`."""
        return await self._call(lambda memory: memory.superseded())

    async def context(self, *, reserve: int = 0) -> Context:
        """See :meth:`OpticalMemory.context`; the pages are drawn when it returns."""
        return await self._call(lambda memory: memory.context(reserve=reserve, draw=True))

    async def peek(self) -> Context:
        """See :meth:`OpticalMemory.peek`."""
        return await self._call(lambda memory: memory.peek())

    async def observe(self, usage: Any) -> Drift:
        """See :meth:`OpticalMemory.observe`."""
        return await self._call(lambda memory: memory.observe(usage))

    async def advice(self) -> Advice:
        """See :meth:`OpticalMemory.advice`."""
        return await self._call(lambda memory: memory.advice())

    async def messages(self, format: str = "openai") -> list[dict[str, Any]]:
        """See :meth:`OpticalMemory.messages`."""
        return await self._call(lambda memory: memory.messages(format))

    async def request(
        self,
        format: str = "openai",
        *,
        recall: bool = False,
        tools: Sequence[Mapping[str, Any]] = (),
        reserve: int = 0,
    ) -> dict[str, Any]:
        """See :meth:`OpticalMemory.request`."""
        return await self._call(lambda memory: memory.request(format, recall=recall, tools=tools, reserve=reserve))

    async def ask(self, question: str, *, model: Any = None, expand: bool = True) -> Reply:
        """See :meth:`OpticalMemory.ask`."""
        return await self._call(lambda memory: memory.ask(question, model=model, expand=expand))

    async def recall(
        self,
        question: str | None = None,
        *,
        k: int = 5,
        turn_id: str | None = None,
        page: str | Page | None = None,
        line: int | None = None,
        superseded: bool = False,
    ) -> list[Turn]:
        """See :meth:`OpticalMemory.recall`."""
        return await self._call(
            lambda memory: memory.recall(question, k=k, turn_id=turn_id, page=page, line=line, superseded=superseded)
        )

    async def recall_tool(self) -> RecallTool:
        """See :meth:`OpticalMemory.recall_tool`; the tool's call itself is synchronous."""
        return await self._call(lambda memory: memory.recall_tool())

    async def fidelity(self, reader: Reader | str = "mini", *, pages: int | None = None) -> dict[str, Score]:
        """See :meth:`OpticalMemory.fidelity`."""
        return await self._call(lambda memory: memory.fidelity(reader, pages=pages))

    async def pages_by_tier(self, pages: int | None = None) -> dict[str, list[Page]]:
        """See :meth:`OpticalMemory.pages_by_tier`; the pages are drawn when it returns."""
        return await self._call(lambda memory: memory.pages_by_tier(pages, draw=True))

    async def stats(self) -> dict[str, Any]:
        """See :meth:`OpticalMemory.stats`."""
        return await self._call(lambda memory: memory.stats())

    async def forget(
        self, *, turn_id: str | None = None, before: When | None = None, everything: bool = False
    ) -> Receipt:
        """See :meth:`OpticalMemory.forget`."""
        return await self._call(lambda memory: memory.forget(turn_id=turn_id, before=before, everything=everything))

    async def export(self, path: str | Path) -> Path:
        """See :meth:`OpticalMemory.export`."""
        return await self._call(lambda memory: memory.export(path))

    @classmethod
    async def load(cls, path: str | Path, **settings: Any) -> Self:
        """See :meth:`OpticalMemory.load`."""
        memory = cls()
        memory._open = partial(OpticalMemory.load, path, **settings)
        await memory._call(lambda opened: None)
        return memory

    async def close(self) -> None:
        """Release the store and the renderer, once the calls before are done. Closing twice does nothing."""
        if self._closed:
            return
        if self._memory is not None and self._owns:
            await self._call(lambda memory: memory.close())
        self._closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
