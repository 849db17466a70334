"""AsyncOpticalMemory: the same memory for asyncio. Its work is done on a thread of its own; the loop never waits."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from optical_memory.context.base import Context
from optical_memory.context.forgetting import Receipt
from optical_memory.memory import OpticalMemory
from optical_memory.readers.fidelity import Score
from optical_memory.recall import RecallTool
from optical_memory.turns import Turn


class AsyncOpticalMemory:
    """The methods of :class:`OpticalMemory` as coroutines; arguments, results and errors are the same.

    Calls of one memory are done in the order in which they are made. The store is opened at the first call.
    """

    def __init__(self, session: str = "main", **settings: Any) -> None:
        self._open = partial(OpticalMemory, session, **settings)
        self._memory: OpticalMemory | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="optical-memory")

    async def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        def work() -> Any:
            if self._memory is None:
                self._memory = self._open()
            return getattr(self._memory, method)(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def add(self, *args: Any, **kwargs: Any) -> Turn:
        """See :meth:`OpticalMemory.add`."""
        turn: Turn = await self._call("add", *args, **kwargs)
        return turn

    async def extend(self, *args: Any, **kwargs: Any) -> list[Turn]:
        """See :meth:`OpticalMemory.extend`."""
        turns: list[Turn] = await self._call("extend", *args, **kwargs)
        return turns

    async def context(self) -> Context:
        """See :meth:`OpticalMemory.context`."""
        context: Context = await self._call("context")
        return context

    async def messages(self, format: str = "openai") -> list[dict[str, Any]]:
        """See :meth:`OpticalMemory.messages`."""
        messages: list[dict[str, Any]] = await self._call("messages", format)
        return messages

    async def recall(self, *args: Any, **kwargs: Any) -> list[Turn]:
        """See :meth:`OpticalMemory.recall`."""
        turns: list[Turn] = await self._call("recall", *args, **kwargs)
        return turns

    async def recall_tool(self) -> RecallTool:
        """See :meth:`OpticalMemory.recall_tool`; the tool's call itself is synchronous."""
        tool: RecallTool = await self._call("recall_tool")
        return tool

    async def fidelity(self, *args: Any, **kwargs: Any) -> dict[str, Score]:
        """See :meth:`OpticalMemory.fidelity`."""
        scores: dict[str, Score] = await self._call("fidelity", *args, **kwargs)
        return scores

    async def stats(self) -> dict[str, Any]:
        """See :meth:`OpticalMemory.stats`."""
        stats: dict[str, Any] = await self._call("stats")
        return stats

    async def forget(self, **what: Any) -> Receipt:
        """See :meth:`OpticalMemory.forget`."""
        receipt: Receipt = await self._call("forget", **what)
        return receipt

    async def export(self, path: str | Path) -> Path:
        """See :meth:`OpticalMemory.export`."""
        written: Path = await self._call("export", path)
        return written

    @classmethod
    async def load(cls, path: str | Path, **settings: Any) -> Self:
        """See :meth:`OpticalMemory.load`."""
        memory = cls()
        memory._open = partial(OpticalMemory.load, path, **settings)
        await memory._call("stats")
        return memory

    async def close(self) -> None:
        """Release the store, the renderer and the thread."""
        if self._memory is not None:
            await self._call("close")
        self._thread.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
