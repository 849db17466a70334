"""A session as a stream of entries, from any store and into any store, with its places and what was forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from optical_memory.errors import ConflictError, InputError, StoreCorruptError
from optical_memory.stores import record
from optical_memory.stores.base import Store
from optical_memory.turns import Turn

_BATCH_TURNS = 200
_BATCH_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """A place and an id that stay taken."""

    seq: int
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedState:
    """The data of a session's state."""

    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A cached blob."""

    key: str
    data: bytes


Entry = Turn | Forgotten | SavedState | Blob


def copy_session(source: Store, target: Store, session: str) -> None:
    """Copy a session with its turns, their places, what was forgotten, its state and its blobs.

    Raises InputError where ``target`` has a session of this name, and the errors of both stores.
    """
    restore(target, session, entries(source, session))


def entries(store: Store, session: str) -> Iterator[Entry]:
    """Yield all of a session: one turn or forgotten turn for each place, then its state, then its blobs.

    While others append it is a moment's view: the state is never newer than the turns.
    """
    state = store.load_state(session)
    yield from history(store, session)
    if state is not None:
        yield SavedState(data=state.data)
    for key in store.blob_keys(session):
        data = store.get_blob(session, key)
        if data is not None:
            yield Blob(key=key, data=data)


def restore(store: Store, session: str, found: Iterable[Entry]) -> None:
    """Store the entries of a session under a name that is free (else InputError); all of them, or none on an error.

    Forgotten turns are stored empty first, so that their places are given, and forgotten again at the end. Raises
    StoreCorruptError where places do not follow one another, an id comes twice, or a state does.
    """
    if store.head(session).birth:
        raise InputError(f"the store has a session {session!r} already; delete it first or use another store")
    try:
        _restore(store, session, _sound(found))
    except ConflictError:  # another process writes to the session: what it stored is not ours to delete
        raise
    except BaseException:
        store.delete_session(session)
        raise


def _sound(found: Iterable[Entry]) -> Iterator[Entry]:
    """Yield entries that one session can have; what is wrong with others must not look like another process's work."""
    ids: set[str] = set()
    states = 0
    for entry in found:
        if isinstance(entry, Turn | Forgotten):
            if entry.seq != len(ids) or entry.id in ids:
                raise StoreCorruptError(f"turn {entry.id!r} comes at place {entry.seq}, after {len(ids)} others")
            ids.add(entry.id)
        states += isinstance(entry, SavedState)
        if states > 1:
            raise StoreCorruptError("a session has one state, not two")
        yield entry


def _restore(store: Store, session: str, found: Iterable[Entry]) -> None:
    turns: list[Turn] = []
    size = 0
    gone: list[str] = []
    for entry in found:
        match entry:
            case Turn():
                turns.append(entry)
                size += len(record.encode(entry).body)
            case Forgotten():
                turns.append(placeholder(entry))
                gone.append(entry.id)
            case SavedState():
                store.save_state(session, entry.data, expected=0)
            case Blob():
                store.put_blobs(session, {entry.key: entry.data})
        if len(turns) == _BATCH_TURNS or size > _BATCH_BYTES:
            _append(store, session, turns)
            turns, size = [], 0
    _append(store, session, turns)
    if gone:
        store.delete_turns(session, gone)


def placeholder(entry: Forgotten) -> Turn:
    """Return the turn that holds the place of a forgotten one until it is forgotten again."""
    return Turn(id=entry.id, role="user", seq=entry.seq)


def _append(store: Store, session: str, turns: list[Turn]) -> None:
    if store.append(session, turns) != turns:
        raise ConflictError(f"another process writes to session {session!r} while it is being restored")


def history(store: Store, session: str) -> Iterator[Turn | Forgotten]:
    """Yield the turns of a session, a forgotten one for each place whose turn is gone."""
    place = 0
    gone: dict[int, str] = {}
    for turn in _turns(store, session):
        gap = range(place, turn.seq)
        if not gone.keys() >= set(gap):
            gone = store.forgotten(session)
            if not gone.keys() >= set(gap):
                raise StoreCorruptError(f"session {session!r} lacks turns between {place} and {turn.seq}")
        yield from (Forgotten(seq=seq, id=gone[seq]) for seq in gap)
        yield turn
        place = turn.seq + 1
    gone = store.forgotten(session)
    while place in gone:
        yield Forgotten(seq=place, id=gone[place])
        place += 1


def _turns(store: Store, session: str) -> Iterator[Turn]:
    last = -1
    while some := store.turns(session, after=last, limit=_BATCH_TURNS):
        yield from some
        last = some[-1].seq
