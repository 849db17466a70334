"""Which replicas live: each renews a record of its own, so that the others know whose operations will never end."""

from __future__ import annotations

import itertools
import threading
import time
import uuid

from optical_memory.errors import StoreCorruptError, StoreUnavailableError
from optical_memory.service.records import Records

LEASE_SECONDS = 30.0
"""How long after its last word a replica counts as living."""
_PREFIX = "replica/"


class Replicas:
    """The replicas that share the records, of which this process is one. Safe for threads."""

    def __init__(self, records: Records) -> None:
        self.name = uuid.uuid4().hex[:16]
        self._records = records
        self._numbers = itertools.count()
        self._renewed: float | None = None
        self._lock = threading.Lock()

    def operation(self) -> str:
        """Return the name of a new operation of this replica, which counts as living when it is used."""
        with self._lock:
            due = self._renewed is None or time.monotonic() - self._renewed > LEASE_SECONDS / 2
        if due:
            self.renew()
        return f"{self.name}.{next(self._numbers)}"

    def renew(self) -> None:
        """Say that this replica lives."""
        name, until = _PREFIX + self.name, f"{self._records.clock() + LEASE_SECONDS:.3f}".encode()
        while not self._records.swap(name, until, expected=self._records.get(name)):
            pass  # another thread of this replica was faster
        with self._lock:
            self._renewed = time.monotonic()

    def seen(self) -> tuple[set[str], set[str]]:
        """Return the names of the replicas that live, and of those that ended without a word."""
        living, dead, now = set[str](), set[str](), self._records.clock()
        for name in self._records.names(_PREFIX):
            held = self._records.get(name)
            if held is not None:
                (living if _until(name, held) > now else dead).add(name.removeprefix(_PREFIX))
        return living, dead

    def bury(self, dead: str) -> None:
        """Remove the record of a replica that ended without a word, unless it said one since."""
        name = _PREFIX + dead
        held = self._records.get(name)
        if held is not None and _until(name, held) <= self._records.clock():
            self._records.remove(name, expected=held)

    def leave(self) -> None:
        """Say that this replica ends, and nothing of it is under way."""
        try:
            held = self._records.get(_PREFIX + self.name)
            if held is not None:
                self._records.remove(_PREFIX + self.name, expected=held)
        except StoreUnavailableError:
            pass  # then it ends without a word, and its record with the time


def replica_of(operation: str) -> str:
    """Return the name of the replica that an operation is of."""
    return operation.partition(".")[0]


def _until(name: str, held: bytes) -> float:
    try:
        return float(held)
    except ValueError as error:
        raise StoreCorruptError(f"the record {name!r} is no time: {held[:40]!r}") from error
