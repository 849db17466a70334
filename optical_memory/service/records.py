"""Small records of the service itself, beside the sessions: keys, wrapped data keys, answers to repeat, counters."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Protocol

from optical_memory.errors import InputError
from optical_memory.service.tally import Tally
from optical_memory.stores import record
from optical_memory.stores.database import Database

PROBE = "probe"
"""A name that is never given: reading it shows that the records can be reached."""


class Records(Protocol):
    """Named bytes that all replicas share. Safe for threads and for many processes; what returned is durable.

    With ``durable=False`` a write is durable no later than the next one that is, to the sessions of the same store too.
    Names are text of 1 to 512 characters. Errors: StoreUnavailableError, StoreCorruptError.
    """

    def get(self, name: str) -> bytes | None:
        """Return a record, or None where there is none or its time is over."""

    def put(self, name: str, data: bytes, *, seconds: float, durable: bool = True) -> None:
        """Keep a record for so many seconds. It is not among :meth:`names`."""

    def swap(self, name: str, data: bytes, *, expected: bytes | None) -> bool:
        """Keep a lasting record where the one there is ``expected`` (None: there is none); else return False."""

    def count(self, name: str, amount: int, *, seconds: float) -> int:
        """Add to a counter, which begins at 0 and ends so many seconds after its first use; return the sum."""

    def begin(
        self, name: str, operation: str, amounts: Sequence[int], most: Sequence[int | None]
    ) -> tuple[bool, tuple[int, ...]]:
        """Begin an operation on counters kept together in a lasting record (a ``Tally``), which adds these amounts.

        It does not begin where a counter that grows would pass its ``most`` (None: no limit). Return whether it began,
        and what the counters are now; none falls below 0. Raises ClosedError while they are counted anew. As with
        :meth:`end`, it is durable no later than the next write that is: that of what the room is taken for.
        """

    def end(self, name: str, operation: str, amounts: Sequence[int]) -> tuple[bool, tuple[int, ...]]:
        """End an operation, which adds these amounts; return whether it was under way, and what the counters are."""

    def remove(self, name: str, *, expected: bytes) -> bool:
        """Remove a lasting record where it is ``expected``; else return False."""

    def names(self, prefix: str) -> list[str]:
        """Return the names of all lasting records that begin with ``prefix``, sorted."""

    def scrub(self, name: str) -> None:
        """Have the files written anew, without what the record of this name was before."""

    def clock(self) -> float:
        """Return the time by the store's clock, in seconds since 1970."""

    def describe(self) -> str:
        """Return what the records are kept on, in words for people."""

    def close(self) -> None:
        """Release connections."""


def open_records(url: str) -> Records:
    """Return the records beside the sessions of a store's URL: in the same file or on the same server.

    Raises InputError for a store that has none, MissingExtraError, and the errors of the store itself.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "memory":
        return SqliteRecords(":memory:")
    if scheme == "sqlite" and rest.removeprefix("/"):
        return SqliteRecords(rest.removeprefix("/"))
    if scheme.removesuffix("+sentinel") in ("redis", "rediss"):
        from optical_memory.service.records_redis import RedisRecords

        return RedisRecords(url)
    raise InputError(
        f"the service keeps its keys in SQLite or Redis, not in {scheme!r}; use sqlite:///…, redis://… or redis+sentinel://…"
    )


def answer_kept(records: Records, name: str, digest: str) -> bytes | None:
    """Return the answer kept of a request whose body has this digest (hex), or None.

    Raises RepeatError where the body was another one.
    """
    held = records.get(name)
    if held is None:
        return None
    before, _, answer = held.partition(b"\n")
    if before.decode() != digest:
        raise record.repeated()
    return answer


def keep_answer(records: Records, name: str, digest: str, answer: bytes, *, seconds: float) -> None:
    """Keep the answer of a request for :func:`answer_kept`."""
    records.put(name, digest.encode() + b"\n" + answer, seconds=seconds)


class SqliteRecords:
    """Records in the SQLite file of a store, in a table of their own."""

    def __init__(self, path: str, *, timeout: float = 30.0) -> None:
        self._database = Database(path, timeout)

    def get(self, name: str) -> bytes | None:
        """Return a record, or None."""
        with self._database.reading() as db:
            return _held(db, name)

    def put(self, name: str, data: bytes, *, seconds: float, durable: bool = True) -> None:
        """Keep a record for so many seconds."""
        now = time.time()
        with self._database.writing(durable=durable) as db:
            db.execute("DELETE FROM records WHERE until < ?", (now,))
            db.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", (_key(name), data, now + seconds))

    def swap(self, name: str, data: bytes, *, expected: bytes | None) -> bool:
        """Keep a lasting record where the one there is ``expected``; else return False."""
        with self._database.writing() as db:
            if _held(db, name) != expected:
                return False
            db.execute("INSERT OR REPLACE INTO records VALUES (?, ?, NULL)", (_key(name), data))
        return True

    def count(self, name: str, amount: int, *, seconds: float) -> int:
        """Add to a counter and return the sum."""
        with self._database.writing() as db:
            held = _held(db, name)
            if held is None:
                row = (_key(name), b"%d" % amount, time.time() + seconds)
                db.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", row)
                return amount
            total = record.number(held) + amount
            db.execute("UPDATE records SET data = ? WHERE name = ?", (b"%d" % total, _key(name)))
        return total

    def begin(
        self, name: str, operation: str, amounts: Sequence[int], most: Sequence[int | None]
    ) -> tuple[bool, tuple[int, ...]]:
        """Begin an operation on counters; return whether it began, and what they are now."""
        with self._database.writing(durable=False) as db:
            before = Tally.parse(_held(db, name), len(amounts))
            after = before.begin(operation, amounts, most, int(time.time() * 1_000))
            return _tallied(db, name, before, after)

    def end(self, name: str, operation: str, amounts: Sequence[int]) -> tuple[bool, tuple[int, ...]]:
        """End an operation; return whether it was under way, and what the counters are now."""
        with self._database.writing(durable=False) as db:
            before = Tally.parse(_held(db, name), len(amounts))
            return _tallied(db, name, before, before.end(operation, amounts))

    def remove(self, name: str, *, expected: bytes) -> bool:
        """Remove a lasting record where it is ``expected``; else return False."""
        with self._database.writing() as db:
            if _held(db, name) != expected:
                return False
            db.execute("DELETE FROM records WHERE name = ?", (_key(name),))
        return True

    def names(self, prefix: str) -> list[str]:
        """Return the names of lasting records, sorted."""
        span = record.span(prefix, "")
        query = "SELECT name FROM records WHERE until IS NULL AND name >= ? AND (? IS NULL OR name < ?) ORDER BY name"
        with self._database.reading() as db:
            return [record.unpack(name) for (name,) in db.execute(query, (span.first, span.end, span.end))]

    def scrub(self, name: str) -> None:
        """Rewrite the file and empty its log."""
        with self._database.writing() as db:
            self._database.mark(db)
        self._database.scrub()

    def clock(self) -> float:
        """Return the time: a file has this machine's clock."""
        return time.time()

    def describe(self) -> str:
        """Return what the records are kept on, in words for people."""
        return f"SQLite {sqlite3.sqlite_version}"

    def close(self) -> None:
        """Release the file."""
        self._database.close()


def _key(name: str) -> bytes:
    return record.name("name of a record", name)


def _tallied(db: sqlite3.Connection, name: str, before: Tally, after: Tally | None) -> tuple[bool, tuple[int, ...]]:
    """Keep a tally that changed."""
    if after is None:
        return False, before.sums
    db.execute("INSERT OR REPLACE INTO records VALUES (?, ?, NULL)", (_key(name), after.packed()))
    return True, after.sums


def _held(db: sqlite3.Connection, name: str) -> bytes | None:
    query = "SELECT data FROM records WHERE name = ? AND (until IS NULL OR until >= ?)"
    found = db.execute(query, (_key(name), time.time())).fetchone()
    return None if found is None else record.whole(found[0])
