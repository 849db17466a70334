"""Ranked full-text search over turns: an FTS5 table of words, in a store's own database or in memory.

A row's number is its session's number and its place in the session, so that a session is one range of rows.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from optical_memory.stores.base import Store
from optical_memory.stores.words import MOST_TERMS, Term, searchable, terms
from optical_memory.turns import Turn

SEQ_BITS = 36
"""Places in a session: 69 billion; what is left of 63 bits numbers 134 million sessions."""
CREATE = "CREATE VIRTUAL TABLE words USING fts5(text, tokenize = 'porter ascii')"
"""Words come ready-made from :mod:`optical_memory.stores.words`; the tokenizer splits at spaces and stems English."""


_BATCH_TURNS = 1_000


def row_of(number: int, seq: int) -> int:
    """Return the row of a place in the session with this number."""
    return number << SEQ_BITS | seq


def seq_of(row: int) -> int:
    """Return the place in its session of a row."""
    return row & (1 << SEQ_BITS) - 1


class Index:
    """The words of turns in a database that has the table :data:`CREATE`; the caller holds the transactions."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, number: int, turns: Iterable[Turn]) -> None:
        """Add turns to the session with this number."""
        rows = ((row_of(number, turn.seq), searchable(turn)) for turn in turns)
        self._connection.executemany("INSERT INTO words(rowid, text) VALUES (?, ?)", rows)

    def remove(self, rows: Iterable[int]) -> None:
        """Remove rows, and their words from every segment of the index (O(index))."""
        self._connection.executemany("DELETE FROM words WHERE rowid = ?", ((row,) for row in rows))
        # A deletion alone only hides words; merging all segments into one leaves them out.
        self._connection.execute("INSERT INTO words(words) VALUES ('optimize')")

    def remove_session(self, number: int) -> None:
        """Remove all rows of the session with this number (O(index))."""
        found = self._connection.execute("SELECT rowid FROM words WHERE rowid BETWEEN ? AND ?", _range(number))
        self.remove([row for (row,) in found.fetchall()])

    def search(self, number: int, query: str, k: int) -> list[int]:
        """Return the places of at most ``k`` turns: those with all telling terms first, then those with any.

        Within both the order is BM25's, and the newest first among equals.
        """
        wanted = terms(query)
        found: dict[int, None] = {}
        for match in _matches(wanted):
            if len(found) < k:
                found |= dict.fromkeys(self._ranked(number, match, k))
        return [seq_of(row) for row in list(found)[: max(k, 0)]]

    def _ranked(self, number: int, match: str, k: int) -> list[int]:
        rows = self._connection.execute(
            "SELECT rowid FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rank, rowid DESC LIMIT ?",
            (match, *_range(number), k),
        )
        return [row for (row,) in rows.fetchall()]


def _range(number: int) -> tuple[int, int]:
    return row_of(number, 0), row_of(number + 1, 0) - 1


def _matches(wanted: Sequence[Term]) -> list[str]:
    """Return the FTS5 queries to try, the strictest first. Words are letters and digits, always quoted: no syntax."""
    if not wanted:
        return []
    telling = [term for term in wanted if not term.weak] or wanted
    parts = [_quote((part,)) for term in wanted for part in term.parts][:MOST_TERMS]
    return [" AND ".join(map(_any_phrase, telling)), " OR ".join([*map(_any_phrase, wanted), *parts])]


def _any_phrase(term: Term) -> str:
    return "(" + " OR ".join(_quote(phrase) + " *" * term.prefix for phrase in term.phrases) + ")"


def _quote(phrase: Sequence[str]) -> str:
    return '"' + " ".join(phrase) + '"'


class _Mirrored:
    """One session's words in a database in memory."""

    def __init__(self, birth: str) -> None:
        self.birth = birth
        self.last_seq = -1
        self.forgotten = 0
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.connection.execute(CREATE)
        self.index = Index(self.connection)

    def add(self, turns: Iterable[Turn]) -> None:
        self.connection.execute("BEGIN")
        try:
            for turn in turns:
                self.index.add(0, [turn])
                self.last_seq = turn.seq
        finally:  # what came before a failure is right, and known to be there
            self.connection.execute("COMMIT")


class Mirror:
    """Private indexes in memory of the sessions searched last, for stores that keep none. Safe for threads."""

    def __init__(self, most_sessions: int = 64) -> None:
        self._sessions: OrderedDict[str, _Mirrored] = OrderedDict()
        self._most_sessions = most_sessions
        self._lock = threading.Lock()

    def search(self, store: Store, session: str, query: str, k: int) -> list[int]:
        """Bring a session up to date with the store and return the places of at most ``k`` turns, best first."""
        head = store.head(session)
        count = head.length - head.forgotten
        with self._lock:
            if not count:
                self._drop(session)
                return []
            mirrored = self._open(session, head.birth)
            while some := store.turns(session, after=mirrored.last_seq, limit=_BATCH_TURNS):
                mirrored.add(some)
            if head.forgotten != mirrored.forgotten:
                mirrored.index.remove(store.forgotten(session))
                mirrored.forgotten = head.forgotten
            return mirrored.index.search(0, query, min(k, count))

    def forget(self, session: str, places: Sequence[int]) -> None:
        """Remove turns that are forgotten just now."""
        with self._lock:
            mirrored = self._sessions.get(session)
            if mirrored is not None and places:
                mirrored.index.remove(places)
                mirrored.forgotten += len(places)

    def drop(self, session: str) -> None:
        """Free what is held of a session."""
        with self._lock:
            self._drop(session)

    def close(self) -> None:
        """Free the memory."""
        with self._lock:
            for session in list(self._sessions):
                self._drop(session)

    def _drop(self, session: str) -> None:
        if session in self._sessions:
            self._sessions.pop(session).connection.close()

    def _open(self, session: str, birth: str) -> _Mirrored:
        if session in self._sessions and self._sessions[session].birth != birth:
            self._drop(session)
        if session not in self._sessions:
            if len(self._sessions) >= self._most_sessions:
                self._drop(next(iter(self._sessions)))
            self._sessions[session] = _Mirrored(birth)
        self._sessions.move_to_end(session)
        return self._sessions[session]
