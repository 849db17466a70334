"""A store in one SQLite file: durable when a method returns, shared by any number of processes of one machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from optical_memory.stores import record, rows
from optical_memory.stores.base import Head, State
from optical_memory.stores.codec import PLAIN, Codec, Coder
from optical_memory.stores.database import Database
from optical_memory.stores.index import Index, Mirror, row_of, seq_of
from optical_memory.turns import Turn


class SqliteStore:
    """Sessions in the SQLite file at ``path``, which is made if it is not there (its folder must be).

    A write waits at most ``timeout`` seconds for other processes that write. Forgetting rewrites the whole file
    (about 2 seconds for 100 MB), so forget many turns in one call. Where ``codec`` says that words may not be kept,
    the index for searching is in this process's memory: a session is read into it when it is first searched.
    """

    durability = "every write is on disk when its method returns (write-ahead log, synchronous=FULL)"

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 30.0, codec: Codec = PLAIN) -> None:
        self._database = Database(os.fspath(path), timeout)
        self._coder = Coder(codec)
        self._mirror = Mirror()

    def append(self, session: str, turns: Sequence[Turn], *, expected: Head | None = None) -> list[Turn]:
        """Store turns atomically, in order; see the protocol."""
        key, records = record.name("session id", session), self._coder.records(session, turns)
        if not records:
            return []
        with self._database.writing() as db:
            if expected is not None and replace(rows.head(db, key), forgotten=expected.forgotten) != expected:
                raise record.moved(session)
            number = rows.made(db, key)
            seq = rows.length(db, number)
            placed: dict[str, Turn] = {}
            fresh: list[Turn] = []
            for turn in turns:
                if turn.id in placed:
                    continue
                held = rows.held(db, number, turn.id, records[turn.id])
                if held is not None:
                    placed[turn.id] = self._turn(session, *held)
                    continue
                row = (row_of(number, seq), number, *records[turn.id])
                db.execute("INSERT INTO turns(row, session, id, digest, body) VALUES (?, ?, ?, ?, ?)", row)
                placed[turn.id] = replace(turn, seq=seq)
                fresh.append(placed[turn.id])
                seq += 1
            if self._coder.searchable:
                Index(db).add(number, fresh)
        return [placed[turn.id] for turn in turns]

    def turns(
        self, session: str, *, after: int = -1, before: int | None = None, limit: int | None = None
    ) -> list[Turn]:
        """Return turns with ``after < seq < before`` in order, at most ``limit`` of them."""
        first = max(after + 1, 0)
        last = rows.LAST if before is None else min(before - 1, rows.LAST)
        most = rows.LAST if limit is None else min(max(limit, 0), rows.LAST)
        key = record.name("session id", session)
        if first > last:
            return []
        with self._database.reading() as db:
            number = rows.number_of(db, key)
            found = [] if number is None else rows.between(db, row_of(number, first), row_of(number, last), most)
        return [self._turn(session, *pair) for pair in found]

    def get(self, session: str, turn_ids: Sequence[str]) -> list[Turn]:
        """Return the turns with these ids that exist, in the session's order."""
        key = record.name("session id", session)
        with self._database.reading() as db:
            found = rows.select(db, "row, body", key, turn_ids)
        return [self._turn(session, *pair) for pair in sorted(found)]

    def head(self, session: str) -> Head:
        """Return where the session stands, in one read whose cost does not grow with the session."""
        key = record.name("session id", session)
        with self._database.reading() as db:
            return rows.head(db, key)

    def count(self, session: str) -> int:
        """Return the number of turns stored now."""
        head = self.head(session)
        return head.length - head.forgotten

    def search(self, session: str, query: str, k: int) -> list[Turn]:
        """Return at most ``k`` turns ranked by relevance to words of ``query``, best first, any language."""
        key = record.name("session id", session)
        if not self._coder.searchable:
            places = self._mirror.search(self, session, query, k)
            return [turn for seq in places for turn in self.turns(session, after=seq - 1, before=seq + 1)]
        with self._database.reading() as db:
            number = rows.number_of(db, key)
            if number is None:
                return []
            ranked = [row_of(number, seq) for seq in Index(db).search(number, query, min(k, rows.LAST))]
            found = [pair for row in ranked for pair in rows.between(db, row, row, 1)]
        return [self._turn(session, *pair) for pair in found]

    def forgotten(self, session: str) -> dict[int, str]:
        """Return the ids of forgotten turns by their places, in order."""
        key = record.name("session id", session)
        query = "SELECT row, id FROM turns WHERE session = ? AND body IS NULL ORDER BY row"
        with self._database.reading() as db:
            found = db.execute(query, (rows.number_of(db, key),)).fetchall()
        return {seq_of(row): record.unpack(turn_id) for row, turn_id in found}

    def load_state(self, session: str) -> State | None:
        """Return the state, or None where none was saved."""
        key = record.name("session id", session)
        query = "SELECT version, data FROM states WHERE session = ?"
        with self._database.reading() as db:
            found = db.execute(query, (rows.number_of(db, key),)).fetchone()
        if found is None:
            return None
        version, coded = record.number(found[0]), record.whole(found[1])
        return State(version=version, data=self._coder.decode("state", session, "", coded))

    def save_state(self, session: str, data: bytes, *, expected: int, birth: str | None = None) -> State:
        """Replace the state if its version and the session's birth are these; see the protocol."""
        key, coded = record.name("session id", session), self._coder.encode("state", session, "", data)
        with self._database.writing() as db:
            head = rows.head(db, key)
            record.check_state(session, head, expected, birth)
            row = (rows.made(db, key), head.version + 1, coded)
            db.execute("INSERT OR REPLACE INTO states VALUES (?, ?, ?)", row)
        return State(version=head.version + 1, data=bytes(data))

    def get_blob(self, session: str, key: str) -> bytes | None:
        """Return a cached blob (a page, a layout), or None."""
        keys = record.name("session id", session), record.name("blob key", key)
        query = "SELECT data FROM blobs JOIN sessions ON session = number WHERE id = ? AND key = ?"
        with self._database.reading() as db:
            found = db.execute(query, keys).fetchone()
        return None if found is None else self._coder.decode("blob", session, key, record.whole(found[0]))

    def blob_keys(self, session: str) -> list[str]:
        """Return the keys of all blobs, sorted."""
        key = record.name("session id", session)
        query = "SELECT key FROM blobs WHERE session = ? ORDER BY key"
        with self._database.reading() as db:
            found = db.execute(query, (rows.number_of(db, key),)).fetchall()
        return [record.unpack(name) for (name,) in found]

    def put_blobs(self, session: str, blobs: dict[str, bytes]) -> None:
        """Cache blobs. Losing them costs time only."""
        key = record.name("session id", session)
        packed = [
            (record.name("blob key", name), self._coder.encode("blob", session, name, data))
            for name, data in blobs.items()
        ]
        if packed:
            with self._database.writing() as db:
                number = rows.made(db, key)
                db.executemany("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)", ((number, *pair) for pair in packed))

    def delete_blobs(self, session: str, keys: Sequence[str] | None = None) -> int:
        """Delete these blobs (None: all) and return how many there were."""
        key = record.name("session id", session)
        packed = None if keys is None else [record.name("blob key", name) for name in keys]
        with self._database.writing() as db:
            number = rows.number_of(db, key)
            if packed is None:
                return db.execute("DELETE FROM blobs WHERE session = ?", (number,)).rowcount
            return sum(
                db.execute("DELETE FROM blobs WHERE session = ? AND key = ?", (number, name)).rowcount
                for name in packed
            )

    def delete_turns(self, session: str, turn_ids: Sequence[str]) -> int:
        """Really delete turns; see the protocol."""
        key = record.name("session id", session)
        with self._database.writing() as db:
            doomed = [row for (row,) in rows.select(db, "row", key, turn_ids)]
            if doomed:
                db.executemany("UPDATE turns SET digest = NULL, body = NULL WHERE row = ?", ((row,) for row in doomed))
                db.execute("UPDATE sessions SET forgotten = forgotten + ? WHERE id = ?", (len(doomed), key))
                Index(db).remove(doomed)
                self._database.mark(db)
        self._mirror.forget(session, [seq_of(row) for row in doomed])
        self._database.scrub()
        return len(doomed)

    def delete_session(self, session: str) -> int:
        """Really delete a session; see the protocol."""
        key = record.name("session id", session)
        with self._database.writing() as db:
            head, number = rows.head(db, key), rows.number_of(db, key)
            if number is not None:
                Index(db).remove_session(number)
                for table in ("turns", "states", "blobs"):
                    db.execute(f"DELETE FROM {table} WHERE session = ?", (number,))
                db.execute("DELETE FROM sessions WHERE number = ?", (number,))
                self._database.mark(db)
        self._mirror.drop(session)
        self._database.scrub()
        return head.length - head.forgotten

    def sessions(self, prefix: str = "", after: str = "", limit: int | None = None) -> list[str]:
        """Return ids of sessions, sorted; see the protocol."""
        span = record.span(prefix, after)
        with self._database.reading() as db:
            return [record.unpack(key) for key in rows.sessions(db, span, None if limit is None else max(limit, 0))]

    def close(self) -> None:
        """Release the file. A closed store raises StoreUnavailableError."""
        self._mirror.close()
        self._database.close()

    def _turn(self, session: str, row: int, body: bytes) -> Turn:
        return self._coder.turn(session, body, seq_of(row))
