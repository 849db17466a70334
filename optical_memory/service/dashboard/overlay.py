"""A session of another store as it was at some age, for memories that look at it: nothing is written to that store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from optical_memory.errors import ConflictError, StoreUnavailableError
from optical_memory.stores.base import Head, State, Store
from optical_memory.turns import Turn

AHEAD = 256
"""Turns fetched at a time where they are read one after the other."""


class Overlay:
    """The turns of one session up to the place ``last``, under a state of its own that lives in this object.

    Turns come from ``store``, pixels too where it has them; the state that a memory saves stays here and goes to
    ``on_state``. Not for threads: the memory above it locks.
    """

    durability = "none: it is looked at, not written"

    def __init__(
        self,
        store: Store,
        session: str,
        head: Head,
        *,
        last: int,
        state: bytes | None,
        on_state: Callable[[bytes], object] | None = None,
    ) -> None:
        """Show the session of ``head`` up to ``last``; ``state`` is what a memory finds, None where there is none."""
        self.last, self.session = last, session
        self._store, self._head = store, head
        self._state = None if state is None else State(version=1, data=state)
        self._on_state = on_state
        self._window: list[Turn] = []
        self._first = self._end = 0  # the window holds the turns of places from first to before end

    def grow(self, last: int, length: int) -> None:
        """Show the session up to the place ``last``; the store's own has ``length`` places by now."""
        self.last = last
        self._head = replace(self._head, length=length)

    def show(self, state: bytes) -> None:
        """Have another state found from now on; nobody is told of it."""
        self._state = State(version=1 if self._state is None else self._state.version + 1, data=state)

    def append(self, session: str, turns: Sequence[Turn], *, expected: Head | None = None) -> list[Turn]:
        """Refuse."""
        raise StoreUnavailableError("a session that is looked at takes no turns")

    def turns(
        self, session: str, *, after: int = -1, before: int | None = None, limit: int | None = None
    ) -> list[Turn]:
        """Return turns with ``after < seq < before`` in order, none behind the age."""
        end = self.last + 1 if before is None else min(before, self.last + 1)
        if end - after == 2 and not self._first <= after + 1 < self._end:  # one turn: others will follow
            self._first, self._end = after + 1, min(after + 1 + AHEAD, self._head.length)
            self._window = self._store.turns(session, after=after, before=self._end)
        if self._first <= after + 1 and end <= self._end:
            found = [turn for turn in self._window if after < turn.seq < end]
            return found if limit is None else found[:limit]
        return self._store.turns(session, after=after, before=end, limit=limit) if after + 1 < end else []

    def get(self, session: str, turn_ids: Sequence[str]) -> list[Turn]:
        """Return the turns with these ids that existed."""
        return [turn for turn in self._store.get(session, turn_ids) if turn.seq <= self.last]

    def head(self, session: str) -> Head:
        """Return where the session stood."""
        version = 0 if self._state is None else self._state.version
        return replace(self._head, length=self.last + 1, version=version)

    def count(self, session: str) -> int:
        """Return the number of turns up to the age."""
        return len(self.turns(session))

    def search(self, session: str, query: str, k: int) -> list[Turn]:
        """Return turns ranked by relevance, none behind the age: of those that the store ranks first."""
        return [turn for turn in self._store.search(session, query, k) if turn.seq <= self.last]

    def forgotten(self, session: str) -> dict[int, str]:
        """Return the ids of forgotten turns by their place."""
        return {place: turn_id for place, turn_id in self._store.forgotten(session).items() if place <= self.last}

    def load_state(self, session: str) -> State | None:
        """Return the state that this object holds."""
        return self._state

    def save_state(self, session: str, data: bytes, *, expected: int, birth: str | None = None) -> State:
        """Keep a state in this object. Raises ConflictError for another version."""
        held = 0 if self._state is None else self._state.version
        if held != expected:
            raise ConflictError(f"the state has version {held}, not {expected}")
        self._state = State(version=held + 1, data=data)
        if self._on_state is not None:
            self._on_state(data)
        return self._state

    def get_blob(self, session: str, key: str) -> bytes | None:
        """Return pixels that the store has."""
        return self._store.get_blob(session, key)

    def blob_keys(self, session: str) -> list[str]:
        """Return no key: this object keeps no blobs."""
        return []

    def put_blobs(self, session: str, blobs: dict[str, bytes]) -> None:
        """Keep nothing: a lost blob costs time only."""

    def delete_blobs(self, session: str, keys: Sequence[str] | None = None) -> int:
        """Delete nothing."""
        return 0

    def delete_turns(self, session: str, turn_ids: Sequence[str]) -> int:
        """Refuse."""
        raise StoreUnavailableError("nothing can be deleted from a session that is looked at")

    def delete_session(self, session: str) -> int:
        """Refuse."""
        raise StoreUnavailableError("nothing can be deleted from a session that is looked at")

    def sessions(self, prefix: str = "", after: str = "", limit: int | None = None) -> list[str]:
        """Return the one session."""
        is_asked = self.session.startswith(prefix) and self.session > after
        return [self.session] if is_asked and limit != 0 else []

    def close(self) -> None:
        """Release nothing: the store is another's."""
