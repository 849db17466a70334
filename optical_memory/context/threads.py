"""The threads that all memories of a process share for what is prepared in the background."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

THREADS = 2
"""Threads of a process that prepare epochs, however many memories there are."""
T = TypeVar("T")


class Pool:
    """A few threads, while there are any that use them."""

    def __init__(self) -> None:
        """No thread is started before the first :meth:`submit`."""
        self._lock = threading.RLock()  # one that is not closed leaves when it is collected, whoever runs then
        self._users = 0
        self._threads: ThreadPoolExecutor | None = None

    def enter(self) -> None:
        """Count one more user."""
        with self._lock:
            self._users += 1

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have work done by one of the threads."""
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="optical-memory-ahead")
            return self._threads.submit(work)

    def leave(self, *, wait: bool) -> None:
        """Count one user less; the last ends the threads, and waits for what they do where it is told to."""
        with self._lock:
            self._users -= 1
            if self._users > 0:
                return
            self._users, threads, self._threads = 0, self._threads, None
        if threads is not None:
            threads.shutdown(wait=wait)


POOL = Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.__init__)  # type: ignore[misc]  # threads do not survive a fork
