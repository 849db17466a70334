"""The rows of a session in SQLite: what the store asks of its tables, inside transactions that the caller holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from optical_memory.stores import record
from optical_memory.stores.base import Head
from optical_memory.stores.index import SEQ_BITS, row_of, seq_of

LAST = (1 << SEQ_BITS) - 1
"""The last place that a session can have."""
_MOST_PARAMETERS = 500


def number_of(db: sqlite3.Connection, key: bytes) -> int | None:
    """Return the number of a session, or None."""
    found = db.execute("SELECT number FROM sessions WHERE id = ?", (key,)).fetchone()
    return None if found is None else int(found[0])


def made(db: sqlite3.Connection, key: bytes) -> int:
    """Return the number of a session, which is made if it is not there."""
    number = number_of(db, key)
    query = "INSERT INTO sessions(id, birth) VALUES (?, randomblob(16))"
    return number or int(db.execute(query, (key,)).lastrowid or 0)


def head(db: sqlite3.Connection, key: bytes) -> Head:
    """Return where a session stands."""
    query = (
        "SELECT number, birth, forgotten, coalesce((SELECT version FROM states WHERE session = number), 0)"
        " FROM sessions WHERE id = ?"
    )
    found = db.execute(query, (key,)).fetchone()
    if found is None:
        return Head(birth="", length=0, version=0, forgotten=0)
    number, birth, forgotten, version = found
    return Head(
        birth=record.whole(birth).hex(),
        length=length(db, number),
        version=record.number(version),
        forgotten=record.number(forgotten),
    )


def length(db: sqlite3.Connection, number: int) -> int:
    """Return how many places have been given, forgotten turns included."""
    bounds = (row_of(number, 0), row_of(number, LAST))
    [last] = db.execute("SELECT max(row) FROM turns WHERE row BETWEEN ? AND ?", bounds).fetchone()
    return 0 if last is None else seq_of(last) + 1


def held(db: sqlite3.Connection, number: int, turn_id: str, wanted: record.Record) -> tuple[int, bytes] | None:
    """Return row and body of the turn that has this id already, or None.

    Raises DuplicateTurnError where it says something else.
    """
    query = "SELECT row, digest, body FROM turns WHERE session = ? AND id = ?"
    found = db.execute(query, (number, wanted.id)).fetchone()
    if found is None:
        return None
    row, digest, body = found
    record.check_same(turn_id, digest, wanted.digest)
    return row, body


def between(db: sqlite3.Connection, first: int, last: int, limit: int) -> list[tuple[int, bytes]]:
    """Return rows and bodies from one row to another, forgotten ones left out."""
    query = "SELECT row, body FROM turns WHERE row BETWEEN ? AND ? AND body IS NOT NULL ORDER BY row LIMIT ?"
    return db.execute(query, (first, last, limit)).fetchall()


def select(db: sqlite3.Connection, columns: str, session: bytes, turn_ids: Sequence[str]) -> list[Any]:
    """Return these columns of the turns with these ids that are stored now."""
    number = number_of(db, session)
    keys = sorted({record.name("turn id", turn_id) for turn_id in turn_ids})
    found: list[Any] = []
    for start in range(0, len(keys), _MOST_PARAMETERS):
        some = keys[start : start + _MOST_PARAMETERS]
        places = ", ".join("?" * len(some))
        query = f"SELECT {columns} FROM turns WHERE session = ? AND id IN ({places}) AND body IS NOT NULL"
        found += db.execute(query, (number, *some))
    return found


def sessions(db: sqlite3.Connection, span: record.Span, limit: int | None) -> list[bytes]:
    """Return the ids of sessions in a span, sorted; read from the index of ids."""
    query = f"SELECT id FROM sessions WHERE id {'>=' if span.inclusive else '>'} ?"
    query += " AND id < ?" if span.end is not None else ""
    bounds = [bound for bound in (span.first, span.end) if bound is not None]
    return [key for (key,) in db.execute(f"{query} ORDER BY id LIMIT ?", (*bounds, -1 if limit is None else limit))]
