"""Group commit: appends that arrive while others are under way go to the store together, in the order they came.

One append alone costs a thread and several round trips to the store. Under load all that wait share one of each, so the
cost of an append falls as the load grows. Each stays atomic for itself, and none is answered before it is durable. A
group begins at once, unless another began just before it: then it waits for the rest of a few milliseconds, in which
more appends come. A lone append waits for nobody, and a steady load costs half of the processor.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from optical_memory.stores.appends import Append, Appended, Commit, Result

MOST_TOGETHER = 128
"""Most appends of one group: so long nobody waits for others' appends."""
MOST_TURNS = 512
"""Most turns of one group, unless one append alone has more."""
APART_SECONDS = 0.004
"""How long after one group the next may begin."""


class Appending:
    """Does appends in groups, one group at a time, on a thread of its own. Used on one event loop."""

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="optical-memory-append")
        self._waiting: deque[tuple[Append, asyncio.Future[Appended]]] = deque()
        self._running = False
        self._began = -APART_SECONDS

    async def add(self, append: Append) -> Appended:
        """Do one append; when this returns it is durable. What was begun is finished where the caller is cancelled.

        Errors: those of :meth:`optical_memory.stores.appends.GroupStore.append_all`.
        """
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self._waiting.append((append, future))
        if not self._running:
            self._running = True
            self._soon(asyncio.get_running_loop())
        return await future

    def close(self) -> None:
        """End the thread once its work is done."""
        self._thread.shutdown()

    def _soon(self, loop: asyncio.AbstractEventLoop) -> None:
        due = self._began + APART_SECONDS
        if len(self._waiting) >= MOST_TOGETHER or loop.time() >= due:
            self._next(loop)
        else:
            loop.call_at(due, self._next, loop)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._began = loop.time()
        group = self._group()
        appends = [append for append, _ in group]
        running = loop.run_in_executor(self._thread, self._commit, appends)
        running.add_done_callback(lambda done: self._done(loop, group, done))

    def _group(self) -> list[tuple[Append, asyncio.Future[Appended]]]:
        group = [self._waiting.popleft()]
        turns = len(group[0][0].turns)
        while self._waiting and len(group) < MOST_TOGETHER:
            turns += len(self._waiting[0][0].turns)
            if turns > MOST_TURNS:
                break
            group.append(self._waiting.popleft())
        return group

    def _done(
        self,
        loop: asyncio.AbstractEventLoop,
        group: Sequence[tuple[Append, asyncio.Future[Appended]]],
        done: asyncio.Future[Sequence[Result]],
    ) -> None:
        if self._waiting:
            self._soon(loop)
        else:
            self._running = False
        error = done.exception()
        for place, (_, future) in enumerate(group):
            if future.done():  # its caller went away
                continue
            found = error if error is not None else done.result()[place]
            if isinstance(found, BaseException):
                future.set_exception(found)
            else:
                future.set_result(found)
