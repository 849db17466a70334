"""One SQLite database: its connection, schema, transactions and errors, and the removal of what was deleted."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from optical_memory.errors import InputError, LimitError, OpticalMemoryError, StoreCorruptError, StoreUnavailableError
from optical_memory.stores import index

_log = logging.getLogger(__name__)
APPLICATION_ID = 0x0971CA1
"""Marks a SQLite file as ours (PRAGMA application_id)."""
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        f"PRAGMA application_id = {APPLICATION_ID}",
        "CREATE TABLE sessions(number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE)",
        # A row is a session's number and a place (index.row_of). A forgotten turn keeps its row and its id, without
        # digest and body, so that neither is given again.
        "CREATE TABLE turns(row INTEGER PRIMARY KEY, session INTEGER NOT NULL, id BLOB NOT NULL, digest BLOB,"
        " body BLOB, UNIQUE(session, id))",
        "CREATE INDEX forgotten ON turns(session) WHERE body IS NULL",
        "CREATE TABLE states(session INTEGER PRIMARY KEY, version INTEGER NOT NULL, data BLOB NOT NULL)",
        "CREATE TABLE blobs(session INTEGER NOT NULL, key BLOB NOT NULL, data BLOB NOT NULL, UNIQUE(session, key))",
        index.CREATE,
    ),
    (
        # What a session's head says, without counting: a random birth, and how many of its turns are forgotten.
        "ALTER TABLE sessions ADD COLUMN birth BLOB NOT NULL DEFAULT x''",
        "ALTER TABLE sessions ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0",
        "UPDATE sessions SET birth = randomblob(16),"
        " forgotten = (SELECT count(*) FROM turns WHERE session = number AND body IS NULL)",
    ),
    ("CREATE TABLE unpurged(number INTEGER PRIMARY KEY)",),
    (
        # What the service keeps beside the sessions. ``until`` is when a record ends, NULL for one that lasts.
        "CREATE TABLE records(name BLOB PRIMARY KEY, data BLOB NOT NULL, until REAL) WITHOUT ROWID",
        "CREATE INDEX ending ON records(until) WHERE until IS NOT NULL",
    ),
)
"""The statements that lead from each version of the schema (PRAGMA user_version) to the next; only ever added to."""
_SETTINGS = (
    "synchronous = FULL",  # a commit is in the log on disk before it returns
    "fullfsync = ON",  # macOS: past the drive's cache
    "checkpoint_fullfsync = ON",
    "secure_delete = ON",
    "trusted_schema = OFF",
    "cell_size_check = ON",
)
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_ERROR}


class Stamp(NamedTuple):
    """How a file was when it was looked at, and whether it has no log beside it."""

    modified: int
    size: int
    file: int
    is_alone: bool

    @classmethod
    def of(cls, path: str) -> Stamp | None:
        """Return the stamp of a database, or None where there is no such file."""
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            return None
        return cls(found.st_mtime_ns, found.st_size, found.st_ino, not os.path.exists(f"{path}-wal"))


class Database:
    """A connection to the SQLite file at ``path``, shared by threads under a lock.

    ``timeout`` is in seconds: how long to wait for other processes that write.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self.path = path
        self._timeout = timeout
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._connection: sqlite3.Connection | None = None
        self._still: Stamp | None = None
        """The file as it was opened, where it may not even be locked."""
        with self._errors():
            self._connection = self._connect()
            if self._still is None and self._connection.execute("SELECT 1 FROM unpurged").fetchone():
                self._finish_purge()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Hold one snapshot of the database."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Be the only writer; what was written is durable at the end, or undone on any exception.

        ``durable`` False: all processes see it at the end, and it is durable no later than the next durable write to
        the file, by whichever connection: the log keeps the order. Losing the power before that undoes it.
        """
        with self._lock, self._syncing("FULL" if durable else "NORMAL"):
            with self._transaction("BEGIN IMMEDIATE") as connection:
                yield connection

    @contextmanager
    def _syncing(self, how: str) -> Iterator[None]:
        """Say whether commits wait for the disk meanwhile (sqlite.org/pragma.html#pragma_synchronous, 2026-11)."""
        if how == "FULL":
            yield
            return
        with self._errors():
            connection = self._open()
            connection.execute(f"PRAGMA synchronous = {how}")
            try:
                yield
            finally:
                connection.execute("PRAGMA synchronous = FULL")

    def mark(self, connection: sqlite3.Connection) -> None:
        """Note, in the transaction that deletes, that :meth:`scrub` must follow; else the next opening does it."""
        connection.execute("INSERT INTO unpurged DEFAULT VALUES")

    def scrub(self) -> None:
        """Rewrite the file and empty the log, so that no byte of what was deleted or replaced is left in either.

        ``secure_delete`` alone leaves copies of cells that moved when a page was split.
        """
        if self.path == ":memory:":
            return
        with self._lock, self._errors("deleted, but traces are left on disk until this is repeated: "):
            connection = self._open()
            [last] = connection.execute("SELECT max(number) FROM unpurged").fetchone()
            connection.execute("VACUUM")
            [busy, *_] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise StoreUnavailableError(f"deleted, but a reader kept the log of {self.path!r} open; repeat this")
            connection.execute("DELETE FROM unpurged WHERE number <= ?", (last,))  # not what others mark meanwhile

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock, self._errors():
            connection = self._open()
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreUnavailableError(f"the store {self.path!r} is closed")
        if self._still is not None and self._still != Stamp.of(self.path):
            self._connection.close()
            self._connection = None
            self._connection = self._connect()
        if self._process != os.getpid():
            raise StoreUnavailableError(
                f"the store {self.path!r} was opened by process {self._process}; SQLite connections do not survive"
                " a fork: open the store in each process"
            )
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        """Open the file; where neither it nor its folder may be written, as one that stands still."""
        still, path, is_uri = None if self.path == ":memory:" else Stamp.of(self.path), self.path, False
        if still is not None and still.is_alone and not _may_write(os.path.dirname(self.path) or "."):
            path, is_uri = f"{Path(self.path).absolute().as_uri()}?mode=ro&immutable=1", True
        try:
            connection = sqlite3.connect(path, self._timeout, isolation_level=None, check_same_thread=False, uri=is_uri)
        except ValueError as error:
            raise InputError(f"not a path: {self.path!r}") from error
        try:
            for setting in _SETTINGS:
                connection.execute(f"PRAGMA {setting}")
            if not is_uri:
                self._use_log(connection)
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        self._still = still if is_uri else None
        return connection

    def _finish_purge(self) -> None:
        """Remove what a process deleted that was killed, or refused, before it had rewritten the file."""
        try:
            self.scrub()
        except StoreUnavailableError as error:
            _log.warning("%s", error)

    def _use_log(self, connection: sqlite3.Connection) -> None:
        """Switch to write-ahead logging; SQLite does not itself wait when others open the file at the same time."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        if self._version(connection) == len(MIGRATIONS):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            for number in range(self._version(connection), len(MIGRATIONS)):
                for statement in MIGRATIONS[number]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
                raise
            raise StoreUnavailableError(
                f"{self.path!r} is read-only and of an older version; open it once where it can be written"
            ) from error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _version(self, connection: sqlite3.Connection) -> int:
        """Return the version of the schema. Raises for a database of another program or of a newer version."""
        [version] = connection.execute("PRAGMA user_version").fetchone()
        [application] = connection.execute("PRAGMA application_id").fetchone()
        [tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != APPLICATION_ID and (tables or version):
            raise StoreCorruptError(f"{self.path!r} is a SQLite database of another program")
        if version > len(MIGRATIONS):
            raise StoreUnavailableError(
                f"{self.path!r} has version {version}, written by a newer optical-memory; this one knows"
                f" {len(MIGRATIONS)}: upgrade it"
            )
        return int(version)

    @contextmanager
    def _errors(self, context: str = "") -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translate(error, context) from error

    def _translate(self, error: sqlite3.Error, context: str) -> OpticalMemoryError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code == sqlite3.SQLITE_TOOBIG:
            return LimitError(f"larger than SQLite can hold: {error}")
        if code in _CORRUPT and "no such module" not in str(error):
            return StoreCorruptError(f"{context}{self.path!r} is not a sound store: {error}")
        reasons = {
            sqlite3.SQLITE_FULL: "the disk is full",
            sqlite3.SQLITE_READONLY: "it is read-only",
            sqlite3.SQLITE_CANTOPEN: "it cannot be opened; is its folder there, and writable?",
            sqlite3.SQLITE_BUSY: f"another process kept it locked for {self._timeout:g} seconds",
        }
        return StoreUnavailableError(f"{context}cannot use {self.path!r}: {reasons.get(code, error)} ({error})")


def _may_write(folder: str) -> bool:
    return os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
