"""One tenant's part of a store: a store in which no other tenant's sessions can be reached or seen."""

from __future__ import annotations

import re
from collections.abc import Sequence

from optical_memory.errors import InputError, LimitError, StoreUnavailableError
from optical_memory.stores import record
from optical_memory.stores.base import Head, State, Store
from optical_memory.turns import Turn

SCOPE_CHARACTERS = 64
"""Most characters of a scope."""
SESSION_CHARACTERS = record.NAME_CHARACTERS - SCOPE_CHARACTERS - 1
"""Most characters of a session id within any scope."""
_SCOPE = re.compile(rf"[A-Za-z0-9_.~-]{{1,{SCOPE_CHARACTERS}}}")
_SEPARATOR = "/"


def check_scope(scope: str) -> None:
    """Raise InputError for an impossible scope."""
    if not isinstance(scope, str) or not _SCOPE.fullmatch(scope):
        raise InputError(f"a scope is 1 to {SCOPE_CHARACTERS} ASCII letters, digits and _.~-, not {scope!r}")


def scoped_id(scope: str, session: str) -> str:
    """Return the id under which the store itself knows a session of a scope.

    A scope holds no separator, so the first one ends it: two scopes share no id, and none begins like another's. Raises
    InputError for an impossible scope, LimitError for a session id that is too long.
    """
    check_scope(scope)
    record.name("session id", session)
    if len(session) > SESSION_CHARACTERS:
        raise LimitError(
            f"a session id has at most {SESSION_CHARACTERS} characters within a scope, not {len(session):,}"
        )
    return f"{scope}{_SEPARATOR}{session}"


def split_id(scoped: str) -> tuple[str, str]:
    """Return the scope and the session id that :func:`scoped_id` joined: by the scope a codec finds a tenant's key.

    Raises InputError for an id without a scope.
    """
    scope, separator, session = scoped.partition(_SEPARATOR)
    if not separator:
        raise InputError(f"{scoped!r} is the id of a session without a scope")
    return scope, session


class ScopedStore:
    """The sessions of one ``scope`` in ``store``, under the names that their tenant gave them.

    Everything else about it is as the store does it. A store used with scopes should be used through scopes only:
    without one, every session can be reached. :meth:`close` closes this object, not the store, which others share.
    """

    def __init__(self, store: Store, scope: str) -> None:
        check_scope(scope)
        self.scope = scope
        self._store = store
        self._closed = False

    @property
    def durability(self) -> str:
        """What a write that returned survives, in words for people."""
        return self._store.durability

    def append(self, session: str, turns: Sequence[Turn], *, expected: Head | None = None) -> list[Turn]:
        """Store turns atomically, in order; see the protocol."""
        return self._store.append(self._id(session), turns, expected=expected)

    def turns(
        self, session: str, *, after: int = -1, before: int | None = None, limit: int | None = None
    ) -> list[Turn]:
        """Return turns with ``after < seq < before`` in order, at most ``limit`` of them."""
        return self._store.turns(self._id(session), after=after, before=before, limit=limit)

    def get(self, session: str, turn_ids: Sequence[str]) -> list[Turn]:
        """Return the turns with these ids that exist, in the session's order."""
        return self._store.get(self._id(session), turn_ids)

    def head(self, session: str) -> Head:
        """Return where the session stands."""
        return self._store.head(self._id(session))

    def count(self, session: str) -> int:
        """Return the number of turns stored now."""
        return self._store.count(self._id(session))

    def search(self, session: str, query: str, k: int) -> list[Turn]:
        """Return at most ``k`` turns ranked by relevance to words of ``query``, best first, any language."""
        return self._store.search(self._id(session), query, k)

    def forgotten(self, session: str) -> dict[int, str]:
        """Return the ids of forgotten turns by their places, in order."""
        return self._store.forgotten(self._id(session))

    def load_state(self, session: str) -> State | None:
        """Return the state, or None where none was saved."""
        return self._store.load_state(self._id(session))

    def save_state(self, session: str, data: bytes, *, expected: int, birth: str | None = None) -> State:
        """Replace the state if its version and the session's birth are these; see the protocol."""
        return self._store.save_state(self._id(session), data, expected=expected, birth=birth)

    def get_blob(self, session: str, key: str) -> bytes | None:
        """Return a cached blob (a page, a layout), or None."""
        return self._store.get_blob(self._id(session), key)

    def blob_keys(self, session: str) -> list[str]:
        """Return the keys of all blobs, sorted."""
        return self._store.blob_keys(self._id(session))

    def put_blobs(self, session: str, blobs: dict[str, bytes]) -> None:
        """Cache blobs. Losing them costs time only."""
        self._store.put_blobs(self._id(session), blobs)

    def delete_blobs(self, session: str, keys: Sequence[str] | None = None) -> int:
        """Delete these blobs (None: all) and return how many there were."""
        return self._store.delete_blobs(self._id(session), keys)

    def delete_turns(self, session: str, turn_ids: Sequence[str]) -> int:
        """Really delete turns; see the protocol."""
        return self._store.delete_turns(self._id(session), turn_ids)

    def delete_session(self, session: str) -> int:
        """Really delete a session; see the protocol."""
        return self._store.delete_session(self._id(session))

    def sessions(self, prefix: str = "", after: str = "", limit: int | None = None) -> list[str]:
        """Return ids of the scope's sessions, sorted; see the protocol."""
        begin, passed = self._begin("prefix", prefix), self._begin("session id to go on after", after)
        found = self._store.sessions(begin, passed, limit)
        return [session.removeprefix(self.scope + _SEPARATOR) for session in found]

    def close(self) -> None:
        """Close this object and leave the store open; afterwards it raises StoreUnavailableError."""
        self._closed = True

    def _id(self, session: str) -> str:
        self._check()
        return scoped_id(self.scope, session)

    def _begin(self, kind: str, text: str) -> str:
        """Return what ids begin with in the store itself; "" is the scope's first."""
        self._check()
        record.name(kind, text)
        if len(text) > SESSION_CHARACTERS:
            raise LimitError(f"a {kind} has at most {SESSION_CHARACTERS} characters within a scope")
        return f"{self.scope}{_SEPARATOR}{text}"

    def _check(self) -> None:
        if self._closed:
            raise StoreUnavailableError(f"the store of scope {self.scope!r} is closed")
