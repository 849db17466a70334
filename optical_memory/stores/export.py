"""A session as one file: JSON lines that a person can read and a program can check.

::

    {"format": "optical_memory session", "version": 1, "session": "trip-planning"}
    {"turn": {"id": "…", "role": "user", "text": "…", "seq": 0, …}}
    {"forgotten": {"seq": 1, "id": "…"}}
    {"state": "base64"}
    {"lines": 4, "sha256": "of all bytes before this line"}

Text is UTF-8 in which lone surrogates keep their own three bytes. A file is written by anyone: pixels are never in it
(files of older versions hold them; they are passed over), and its state is given to whoever knows what a state is.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from optical_memory.errors import StoreCorruptError, StoreUnavailableError
from optical_memory.stores import Store, record
from optical_memory.stores.transfer import Entry, Forgotten, SavedState, history, placeholder, restore
from optical_memory.stores.untrusted import checked
from optical_memory.turns import Turn

FORMAT = "optical_memory session"
VERSION = 1
_END = b'{"lines": '
_BLOB = b'{"blob": '
_LONGEST_LINE = 2 * max(record.TURN_BYTES, record.VALUE_BYTES)
_LONGEST_STATE = 4 << 20
StateReader = Callable[[bytes, int], bytes | None]
"""Takes the state in a file and the number of places of its session; returns what to keep of it (None: nothing)."""


def export_session(
    store: Store,
    session: str,
    path: str | os.PathLike[str],
    *,
    state: bytes | None = None,
    leave_out: Collection[str] = (),
) -> Path:
    """Write a session to a file, whole or not at all, and return its path; a file of this name is replaced.

    ``state`` is what the file holds as the session's state. Turns whose ids are in ``leave_out`` are written as
    forgotten. Blobs are caches and stay behind. Raises StoreUnavailableError where the file cannot be written, and the
    store's own errors.
    """
    target = Path(path)
    with _file_errors(target):
        file = tempfile.NamedTemporaryFile(dir=target.parent, prefix=".export-", delete=False)
        try:
            with file:
                for line in session_lines(store, session, state=state, leave_out=leave_out):
                    file.write(line)
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, target)
        except BaseException:
            os.unlink(file.name)
            raise
        _sync_folder(target.parent)
    return target


def session_lines(
    store: Store, session: str, *, state: bytes | None = None, leave_out: Collection[str] = ()
) -> Iterator[bytes]:
    """Yield the lines of a session's file, its checksum last; arguments and errors as for :func:`export_session`."""
    digest, count = hashlib.sha256(), 0
    header = {"format": FORMAT, "version": VERSION, "session": session}
    for value in chain([header], map(_value, _written(store, session, state, leave_out))):
        line = _line(value)
        digest.update(line)
        count += 1
        yield line
    yield _line({"lines": count, "sha256": digest.hexdigest()})


def session_in(path: str | os.PathLike[str]) -> str:
    """Return the id of the session that a file holds, by its first line. Errors as for :func:`load_session`."""
    source = Path(path)
    with _file_errors(source), source.open("rb") as file:
        return str(_header(next(_lines(file, source), b"{}"), source)["session"])


def load_session(
    path: str | os.PathLike[str], store: Store, *, session: str | None = None, state: StateReader | None = None
) -> str:
    """Store the session that a file holds and return its id. The whole file is checked before anything is stored.

    ``session`` stores it under another id. ``state`` says what to keep of its state, which may be made to harm; None
    keeps nothing. Raises StoreCorruptError for a file that is damaged or no export, StoreUnavailableError for one that
    cannot be read or that a newer version wrote, InputError where the store has a session of this id, LimitError
    for a turn larger than a limit, and the store's errors. Nothing stays of what was not loaded whole.
    """
    source = Path(path)
    with _file_errors(source), source.open("rb") as file:
        return load_file(file, store, name=source, session=session, state=state)


def load_file(
    file: IO[bytes], store: Store, *, name: Path, session: str | None = None, state: StateReader | None = None
) -> str:
    """Store the session in an open file that can be read twice; see :func:`load_session`. ``name`` is for errors."""
    found = _check(file, name)
    file.seek(0)
    target = found if session is None else session
    restore(store, target, _read(file, name, state))
    return target


def is_begun(file: IO[bytes], store: Store, *, name: Path, session: str) -> bool:
    """Whether all that a session holds is the start of a file's, as loading leaves it that was cut off by a crash.

    Places of turns that are to be forgotten may hold their placeholders still. Errors as for :func:`load_file`.
    """
    _check(file, name)
    file.seek(0)
    wanted = (entry for entry in _read(file, name, None) if isinstance(entry, Turn | Forgotten))
    for held in history(store, session):
        entry = next(wanted, None)
        if entry is None or (entry.seq, entry.id) != (held.seq, held.id):
            return False
        digest = entry.digest if isinstance(entry, Turn) else placeholder(entry).digest
        if isinstance(held, Turn) and held.digest != digest:
            return False
        if isinstance(held, Forgotten) and isinstance(entry, Turn):
            return False
    return True


def _read(file: IO[bytes], path: Path, state: StateReader | None) -> Iterator[Entry]:
    """Yield the entries of a file that was checked, its state last."""
    length, states = 0, list[SavedState]()
    for line in islice(_lines(file, path), 1, None):
        if line.startswith((_END, _BLOB)):
            continue
        entry = _entry(line, path)
        if isinstance(entry, SavedState):
            states.append(entry)
        else:
            length += 1
            yield entry
    if len(states) > 1:
        raise StoreCorruptError(f"{str(path)!r} has {len(states)} states: a session has one")
    kept = state(states[0].data, length) if states and state is not None else None
    if kept is not None:
        yield SavedState(data=kept)


def _written(store: Store, session: str, state: bytes | None, leave_out: Collection[str]) -> Iterator[Entry]:
    for entry in history(store, session):
        yield Forgotten(seq=entry.seq, id=entry.id) if entry.id in leave_out else entry
    if state is not None:
        yield SavedState(data=state)


def _check(file: IO[bytes], path: Path) -> str:
    """Return the id of the session in a file that is whole. Raises StoreCorruptError, StoreUnavailableError."""
    digest, count = hashlib.sha256(), 0
    header: dict[str, Any] = {}
    end: Any = None
    for line in _lines(file, path):
        if end is not None:
            raise StoreCorruptError(f"{str(path)!r} goes on after its end")
        if line.startswith(_END):
            end = _parsed(line, path)
            continue
        if count == 0:
            header = _header(line, path)
        digest.update(line)
        count += 1
    if end != {"lines": count, "sha256": digest.hexdigest()}:
        raise StoreCorruptError(f"{str(path)!r} is {'damaged: its checksum differs' if end else 'cut off'}")
    if header["version"] > VERSION:
        raise StoreUnavailableError(
            f"{str(path)!r} has version {header['version']}, written by a newer optical-memory; this one knows"
            f" {VERSION}: upgrade it"
        )
    return str(header["session"])


def _header(line: bytes, path: Path) -> dict[str, Any]:
    match _parsed(line, path):
        case {"format": str(name), "version": int(), "session": str()} as header if name == FORMAT:
            return dict(header)
    raise StoreCorruptError(f"{str(path)!r} is no exported session")


def _lines(file: IO[bytes], path: Path) -> Iterator[bytes]:
    while line := file.readline(_LONGEST_LINE):
        if not line.endswith(b"\n"):
            raise StoreCorruptError(f"{str(path)!r} is cut off, or no exported session")
        yield line


def _value(entry: Entry) -> dict[str, Any]:
    match entry:
        case Turn():
            return {"turn": entry.to_dict()}
        case Forgotten():
            return {"forgotten": {"seq": entry.seq, "id": entry.id}}
        case SavedState():
            return {"state": base64.b64encode(entry.data).decode()}
    raise AssertionError(f"no entry of an export: {entry!r}")


def _entry(line: bytes, path: Path) -> Entry:
    try:
        match json.loads(line.decode("utf-8", "surrogatepass")):
            case {"turn": dict(turn)}:
                return checked(Turn.from_dict(turn))
            case {"forgotten": {"seq": int(seq), "id": str(turn_id)}}:
                return Forgotten(seq=seq, id=turn_id)
            case {"state": str(data)} if len(data) <= _LONGEST_STATE:
                return SavedState(data=base64.b64decode(data, validate=True))
            case other:
                raise StoreCorruptError(f"{str(path)!r} has a line that is no entry: {str(other)[:80]!r}")
    except (ValueError, RecursionError) as error:  # an InputError of a turn too
        raise StoreCorruptError(f"{str(path)!r} has a line that is no entry: {error}") from error


def _line(value: dict[str, Any]) -> bytes:
    return record.pack(json.dumps(value, ensure_ascii=False)) + b"\n"


def _parsed(line: bytes, path: Path) -> Any:
    try:
        return json.loads(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise StoreCorruptError(f"{str(path)!r} is no exported session, or damaged: {error}") from error


def _sync_folder(folder: Path) -> None:
    """Make the new name durable, where folders can be synced (not on Windows)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailableError(f"cannot use {str(path)!r}: {error}") from error
