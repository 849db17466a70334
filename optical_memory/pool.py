"""A pool of open memories over one store and one renderer: what adapters and the service hand sessions out from."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from optical_memory.budget import Profile, get_profile
from optical_memory.errors import InputError
from optical_memory.memory import OpticalMemory
from optical_memory.renderers import default_renderer, get_renderer
from optical_memory.renderers.base import Renderer
from optical_memory.stores import open_store
from optical_memory.stores.base import Store

MOST_OPEN = 256
"""Memories kept open by default. What is closed is opened again when it is asked for; its turns stay in the store."""


@dataclass(slots=True)
class _Open:
    memory: OpticalMemory
    users: int = 0


class MemoryPool:
    """Opens the memory of a session when it is asked for, and closes the one used longest ago past ``most``.

    One that is in use is never closed. Safe for threads. Settings are those of :class:`OpticalMemory`; a store or
    renderer that the pool opened is closed with it.
    """

    def __init__(
        self,
        *,
        store: str | Store = "memory://",
        renderer: str | Renderer | None = None,
        profile: str | Profile = "deepseek-ocr",
        most: int = MOST_OPEN,
        **settings: Any,
    ) -> None:
        if most < 1:
            raise InputError(f"a pool keeps at least 1 memory open, not {most!r}")
        self.profile = get_profile(profile)
        self.store = open_store(store)
        self.renderer = default_renderer() if renderer is None else get_renderer(renderer)
        self._owned = (isinstance(store, str), renderer is None or isinstance(renderer, str))
        self._settings, self._most = settings, most
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Memories open now."""
        return len(self._open)

    @contextmanager
    def use(self, session: str) -> Iterator[OpticalMemory]:
        """Give the memory of a session, which stays open meanwhile."""
        with self._lock:
            held = self._open.get(session) or _Open(self._made(session))
            self._open[session] = held
            self._open.move_to_end(session)
            held.users += 1
            self._trim()
        try:
            yield held.memory
        finally:
            with self._lock:
                held.users -= 1
                self._trim()

    def get(self, session: str) -> OpticalMemory:
        """Return the memory of a session; it stays usable also when the pool lets it go."""
        with self.use(session) as memory:
            return memory

    def close(self) -> None:
        """Let go of all memories, and of the store and renderer that the pool opened."""
        with self._lock:
            self._open.clear()
        owns_store, owns_renderer = self._owned
        if owns_store:
            self.store.close()
        if owns_renderer:
            self.renderer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _made(self, session: str) -> OpticalMemory:
        return OpticalMemory(session, store=self.store, profile=self.profile, renderer=self.renderer, **self._settings)

    def _trim(self) -> None:
        idle = [session for session, held in self._open.items() if not held.users]
        for session in idle[: max(len(self._open) - self._most, 0)]:
            self._open.pop(session).memory.close()
