"""For frameworks whose memory is the storage itself: one session's list of messages, exact and durable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from optical_memory.adapters.base import Failures, Shape
from optical_memory.errors import OpticalMemoryError
from optical_memory.memory import OpticalMemory
from optical_memory.turns import Turn

M = TypeVar("M")


class KeptList(Generic[M]):
    """The list of a session: read, replaced, added to. Safe for threads.

    Where the store fails, and the full history is to be sent then, the list lives in this process until it can be
    saved again, at the next change of it. A process that never read the list has none, and raises.

    Args:
        memory: the memory of the session.
        shape: converts messages.
        read: makes messages of the session's turns.
        failures: what to do where the store fails.

    """

    def __init__(
        self,
        memory: OpticalMemory,
        shape: Shape[M],
        read: Callable[[Sequence[Turn]], list[M]],
        failures: Failures,
    ) -> None:
        self.memory, self._shape, self._read, self._failures = memory, shape, read, failures
        self._items: list[M] | None = None
        self._away = False

    def all(self) -> list[M]:
        """Return all messages, exactly."""
        with self.memory.lock:
            if not self._away or self._items is None:
                try:
                    self._items = self._read(self.memory.turns())
                except OpticalMemoryError as error:
                    if self._items is None:
                        raise self._failures.raised(error) from error
                    self._failures.seen(error, f"{len(self._items)} messages are given as they were last known")
            return list(self._items)

    def add(self, items: Sequence[M]) -> None:
        """Add messages; when this returns they are durable, or the log says that they are not."""
        written = [one for item in items for one in self._shape.written(item)]
        with self.memory.lock:
            known = self.all() if self._items is None else self._items
            if self._away or any("id" in one for one in written):  # ids of frameworks come twice, with other content
                self.replace([*self.all(), *items])
                return
            try:
                self.memory.extend(written, format=self._shape.format)
            except OpticalMemoryError as error:
                self._unsaved(error, len(items))
            self._items = [*known, *items]

    def replace(self, items: Sequence[M]) -> None:
        """Make the list equal ``items``; what is not in it is kept as superseded."""
        written = [one for item in items for one in self._shape.written(item)]
        with self.memory.lock:
            try:
                self.memory.follow(written, format=self._shape.format)
                self._away = False
            except OpticalMemoryError as error:
                self._unsaved(error, len(items))
            self._items = list(items)

    def clear(self) -> None:
        """Really delete the session."""
        with self.memory.lock:
            try:
                self.memory.forget(everything=True)
            except OpticalMemoryError as error:
                raise self._failures.raised(error) from error
            self._items, self._away = [], False

    def leave(self) -> None:
        """Note that something else is followed now: the session's turns are not this list until it is saved again."""
        with self.memory.lock:
            if not self._away:
                try:
                    self._items = self._read(self.memory.turns())
                except OpticalMemoryError as error:
                    self._failures.seen(error, "what was saved before is not known")
            self._away = True

    def _unsaved(self, error: OpticalMemoryError, count: int) -> None:
        self._failures.seen(error, f"{count} messages are in this process alone, until the next can be saved")
        self._away = True
