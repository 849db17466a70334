"""A store in one SQLite file: durable when a method returns, shared by any number of processes of one machine."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from optical_memory.stores import record
from optical_memory.stores.base import Head, State
from optical_memory.stores.database import Database
from optical_memory.stores.index import SEQ_BITS, Index, row_of, seq_of
from optical_memory.turns import Turn

_MOST_PARAMETERS = 500
_LAST = (1 << SEQ_BITS) - 1


class SqliteStore:
    """Sessions in the SQLite file at ``path``, which is made if it is not there (its folder must be).

    A write waits at most ``timeout`` seconds for other processes that write. Forgetting rewrites the whole file
    (about 2 seconds for 100 MB), so forget many turns in one call.
    """

    durability = "every write is on disk when its method returns (write-ahead log, synchronous=FULL)"

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 30.0) -> None:
        self._database = Database(os.fspath(path), timeout)

    def append(self, session: str, turns: Sequence[Turn], *, expected: Head | None = None) -> list[Turn]:
        """Store turns atomically, in order; see the protocol."""
        key, records = record.name("session id", session), record.records(turns)
        if not records:
            return []
        with self._database.writing() as db:
            if expected is not None and replace(_head(db, key), forgotten=expected.forgotten) != expected:
                raise record.moved(session)
            number = _made(db, key)
            seq = _length(db, number)
            placed: dict[str, Turn] = {}
            fresh: list[Turn] = []
            for turn in turns:
                if turn.id in placed:
                    continue
                placed[turn.id] = found = _held(db, number, turn, records[turn.id]) or replace(turn, seq=seq)
                if found.seq == seq:
                    row = (row_of(number, seq), number, *records[turn.id])
                    db.execute("INSERT INTO turns(row, session, id, digest, body) VALUES (?, ?, ?, ?, ?)", row)
                    fresh.append(found)
                    seq += 1
            Index(db).add(number, fresh)
        return [placed[turn.id] for turn in turns]

    def turns(
        self, session: str, *, after: int = -1, before: int | None = None, limit: int | None = None
    ) -> list[Turn]:
        """Return turns with ``after < seq < before`` in order, at most ``limit`` of them."""
        first = max(after + 1, 0)
        last = _LAST if before is None else min(before - 1, _LAST)
        most = _LAST if limit is None else min(max(limit, 0), _LAST)
        key = record.name("session id", session)
        if first > last:
            return []
        with self._database.reading() as db:
            number = _number(db, key)
            rows = [] if number is None else _range(db, row_of(number, first), row_of(number, last), most)
        return [record.decode(body, seq_of(row)) for row, body in rows]

    def get(self, session: str, turn_ids: Sequence[str]) -> list[Turn]:
        """Return the turns with these ids that exist, in the session's order."""
        with self._database.reading() as db:
            rows = self._select(db, "row, body", session, turn_ids)
        return [record.decode(body, seq_of(row)) for row, body in sorted(rows)]

    def head(self, session: str) -> Head:
        """Return where the session stands, in one read whose cost does not grow with the session."""
        key = record.name("session id", session)
        with self._database.reading() as db:
            return _head(db, key)

    def count(self, session: str) -> int:
        """Return the number of turns stored now."""
        head = self.head(session)
        return head.length - head.forgotten

    def search(self, session: str, query: str, k: int) -> list[Turn]:
        """Return at most ``k`` turns ranked by relevance to words of ``query``, best first, any language."""
        key = record.name("session id", session)
        with self._database.reading() as db:
            number = _number(db, key)
            if number is None:
                return []
            rows = [row_of(number, seq) for seq in Index(db).search(number, query, min(k, _LAST))]
            found = [pair for row in rows for pair in _range(db, row, row, 1)]
        return [record.decode(body, seq_of(row)) for row, body in found]

    def forgotten(self, session: str) -> dict[int, str]:
        """Return the ids of forgotten turns by their places, in order."""
        key = record.name("session id", session)
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT row, id FROM turns WHERE session = ? AND body IS NULL ORDER BY row", (_number(db, key),)
            ).fetchall()
        return {seq_of(row): record.unpack(turn_id) for row, turn_id in rows}

    def load_state(self, session: str) -> State | None:
        """Return the state, or None where none was saved."""
        key = record.name("session id", session)
        with self._database.reading() as db:
            return _state(db, _number(db, key))

    def save_state(self, session: str, data: bytes, *, expected: int, birth: str | None = None) -> State:
        """Replace the state if its version and the session's birth are these; see the protocol."""
        key, data = record.name("session id", session), record.value("state", data)
        with self._database.writing() as db:
            head = _head(db, key)
            record.check_state(session, head, expected, birth)
            row = (_made(db, key), head.version + 1, data)
            db.execute("INSERT OR REPLACE INTO states VALUES (?, ?, ?)", row)
        return State(version=head.version + 1, data=data)

    def get_blob(self, session: str, key: str) -> bytes | None:
        """Return a cached blob (a page, a layout), or None."""
        keys = record.name("session id", session), record.name("blob key", key)
        with self._database.reading() as db:
            found = db.execute(
                "SELECT data FROM blobs JOIN sessions ON session = number WHERE id = ? AND key = ?", keys
            ).fetchone()
        return None if found is None else bytes(found[0])

    def blob_keys(self, session: str) -> list[str]:
        """Return the keys of all blobs, sorted."""
        key = record.name("session id", session)
        with self._database.reading() as db:
            rows = db.execute("SELECT key FROM blobs WHERE session = ? ORDER BY key", (_number(db, key),)).fetchall()
        return [record.unpack(found) for (found,) in rows]

    def put_blobs(self, session: str, blobs: dict[str, bytes]) -> None:
        """Cache blobs. Losing them costs time only."""
        key = record.name("session id", session)
        rows = [(record.name("blob key", name), record.value("blob", data)) for name, data in blobs.items()]
        if rows:
            with self._database.writing() as db:
                number = _made(db, key)
                db.executemany("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)", ((number, *row) for row in rows))

    def delete_blobs(self, session: str, keys: Sequence[str] | None = None) -> int:
        """Delete these blobs (None: all) and return how many there were."""
        key = record.name("session id", session)
        packed = None if keys is None else [record.name("blob key", name) for name in keys]
        with self._database.writing() as db:
            number = _number(db, key)
            if packed is None:
                return db.execute("DELETE FROM blobs WHERE session = ?", (number,)).rowcount
            return sum(
                db.execute("DELETE FROM blobs WHERE session = ? AND key = ?", (number, name)).rowcount
                for name in packed
            )

    def delete_turns(self, session: str, turn_ids: Sequence[str]) -> int:
        """Really delete turns; see the protocol."""
        with self._database.writing() as db:
            rows = [(row,) for (row,) in self._select(db, "row", session, turn_ids)]
            db.executemany("UPDATE turns SET digest = NULL, body = NULL WHERE row = ?", rows)
            if rows:
                key = record.name("session id", session)
                db.execute("UPDATE sessions SET forgotten = forgotten + ? WHERE id = ?", (len(rows), key))
                Index(db).remove(row for (row,) in rows)
        self._database.scrub()
        return len(rows)

    def delete_session(self, session: str) -> int:
        """Really delete a session; see the protocol."""
        key = record.name("session id", session)
        with self._database.writing() as db:
            head, number = _head(db, key), _number(db, key)
            if number is not None:
                Index(db).remove_session(number)
                for table in ("turns", "states", "blobs"):
                    db.execute(f"DELETE FROM {table} WHERE session = ?", (number,))
                db.execute("DELETE FROM sessions WHERE number = ?", (number,))
        self._database.scrub()
        return head.length - head.forgotten

    def sessions(self) -> list[str]:
        """Return the ids of all sessions, sorted."""
        with self._database.reading() as db:
            rows = db.execute("SELECT id FROM sessions").fetchall()
        return sorted(record.unpack(key) for (key,) in rows)

    def close(self) -> None:
        """Release the file. A closed store raises StoreUnavailableError."""
        self._database.close()

    @staticmethod
    def _select(db: sqlite3.Connection, columns: str, session: str, turn_ids: Sequence[str]) -> list[Any]:
        """Return these columns of the turns with these ids that are stored now."""
        number = _number(db, record.name("session id", session))
        keys = sorted({record.name("turn id", turn_id) for turn_id in turn_ids})
        rows: list[Any] = []
        for start in range(0, len(keys), _MOST_PARAMETERS):
            some = keys[start : start + _MOST_PARAMETERS]
            places = ", ".join("?" * len(some))
            query = f"SELECT {columns} FROM turns WHERE session = ? AND id IN ({places}) AND body IS NOT NULL"
            rows += db.execute(query, (number, *some))
        return rows


def _number(db: sqlite3.Connection, key: bytes) -> int | None:
    found = db.execute("SELECT number FROM sessions WHERE id = ?", (key,)).fetchone()
    return None if found is None else int(found[0])


def _made(db: sqlite3.Connection, key: bytes) -> int:
    """Return the number of a session, which is made if it is not there."""
    number = _number(db, key)
    query = "INSERT INTO sessions(id, birth) VALUES (?, randomblob(16))"
    return number or int(db.execute(query, (key,)).lastrowid or 0)


def _head(db: sqlite3.Connection, key: bytes) -> Head:
    query = (
        "SELECT number, birth, forgotten, coalesce((SELECT version FROM states WHERE session = number), 0)"
        " FROM sessions WHERE id = ?"
    )
    found = db.execute(query, (key,)).fetchone()
    if found is None:
        return Head(birth="", length=0, version=0, forgotten=0)
    number, birth, forgotten, version = found
    return Head(birth=birth.hex(), length=_length(db, number), version=version, forgotten=forgotten)


def _length(db: sqlite3.Connection, number: int) -> int:
    """Return how many places have been given, forgotten turns included."""
    bounds = (row_of(number, 0), row_of(number, _LAST))
    [last] = db.execute("SELECT max(row) FROM turns WHERE row BETWEEN ? AND ?", bounds).fetchone()
    return 0 if last is None else seq_of(last) + 1


def _held(db: sqlite3.Connection, number: int, turn: Turn, wanted: record.Record) -> Turn | None:
    """Return the turn that has this id already, or None. Raises DuplicateTurnError where it says something else."""
    found = db.execute(
        "SELECT row, digest, body FROM turns WHERE session = ? AND id = ?", (number, wanted.id)
    ).fetchone()
    if found is None:
        return None
    row, digest, body = found
    record.check_same(turn.id, digest, wanted.digest)
    return record.decode(body, seq_of(row))


def _range(db: sqlite3.Connection, first: int, last: int, limit: int) -> list[tuple[int, bytes]]:
    query = "SELECT row, body FROM turns WHERE row BETWEEN ? AND ? AND body IS NOT NULL ORDER BY row LIMIT ?"
    return db.execute(query, (first, last, limit)).fetchall()


def _state(db: sqlite3.Connection, number: int | None) -> State | None:
    found = db.execute("SELECT version, data FROM states WHERE session = ?", (number,)).fetchone()
    return None if found is None else State(version=found[0], data=bytes(found[1]))
