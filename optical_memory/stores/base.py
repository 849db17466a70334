"""The store: append-only, exact and durable. Everything else in the library is a cache of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from optical_memory.turns import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The plan of a session as its last epoch left it: opaque bytes and a version for compare-and-set."""

    version: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where a session stands: what tells whether anything of it has changed since.

    ``birth`` is a random text that a session gets when it is made, and that a new one of the same name does not
    share ("": there is no such session). ``length`` is the number of places given, forgotten turns included;
    ``forgotten`` the number of these. ``version`` is the state's (0: none). Blobs leave no mark.
    """

    birth: str
    length: int
    version: int
    forgotten: int


class Store(Protocol):
    """Turns, one small state and named blobs for each session. Safe for threads and for many processes.

    A method that returns has done its work as durably as ``durability`` says. Session ids are any non-empty text up
    to 512 characters; turn ids and blob keys have the same limit. What is larger than a limit of
    :mod:`optical_memory.stores.record` is a LimitError.
    Errors: StoreUnavailableError, StoreCorruptError; others where named.
    """

    @property
    def durability(self) -> str:
        """What a write that returned survives, in words for people."""

    def append(self, session: str, turns: Sequence[Turn], *, expected: Head | None = None) -> list[Turn]:
        """Store turns atomically, in order, and return them with their ``seq``.

        Where ``expected`` is given and the session has another birth, length or version, ConflictError. A turn whose
        id is stored already with an equal digest is returned as it is stored; one with another digest raises
        DuplicateTurnError. Then nothing of the call is stored. Ids of forgotten turns stay taken.
        """

    def turns(
        self, session: str, *, after: int = -1, before: int | None = None, limit: int | None = None
    ) -> list[Turn]:
        """Return turns with ``after < seq < before`` in order, at most ``limit`` of them."""

    def get(self, session: str, turn_ids: Sequence[str]) -> list[Turn]:
        """Return the turns with these ids that exist, in the session's order."""

    def head(self, session: str) -> Head:
        """Return where the session stands, in one read whose cost does not grow with the session."""

    def count(self, session: str) -> int:
        """Return the number of turns stored now."""

    def search(self, session: str, query: str, k: int) -> list[Turn]:
        """Return at most ``k`` turns ranked by relevance to words of ``query``, best first, any language."""

    def forgotten(self, session: str) -> dict[int, str]:
        """Return the ids of forgotten turns by their ``seq``, in order: both stay taken."""

    def load_state(self, session: str) -> State | None:
        """Return the state, or None where none was saved."""

    def save_state(self, session: str, data: bytes, *, expected: int, birth: str | None = None) -> State:
        """Replace the state if its version is ``expected`` (0: none yet); else raise ConflictError.

        With ``birth`` it is a ConflictError too where the session has another one (:attr:`Head.birth`; "": where
        there is a session). Versions alone do not tell a session from an earlier one of its name.
        """

    def get_blob(self, session: str, key: str) -> bytes | None:
        """Return a cached blob (a page, a layout), or None."""

    def blob_keys(self, session: str) -> list[str]:
        """Return the keys of all blobs, sorted."""

    def put_blobs(self, session: str, blobs: dict[str, bytes]) -> None:
        """Cache blobs. Losing them costs time only."""

    def delete_blobs(self, session: str, keys: Sequence[str] | None = None) -> int:
        """Delete these blobs (None: all) and return how many there were."""

    def delete_turns(self, session: str, turn_ids: Sequence[str]) -> int:
        """Really delete turns, with every index entry and the freed space, and return how many there were.

        What was deleted or replaced before in any other way (state, blobs) is purged with them: do those first. For
        turns that are gone already it purges too, so that a call which was cut off can be repeated.
        """

    def delete_session(self, session: str) -> int:
        """Really delete a session with its turns, state and blobs; return how many turns there were.

        Nothing of it stays, forgotten ids included: a new session may take its name and begins at 0.
        """

    def sessions(self, prefix: str = "", after: str = "", limit: int | None = None) -> list[str]:
        """Return the ids of sessions that begin with ``prefix`` and follow ``after``, sorted by code points.

        With ``limit`` at most so many, and no more than these are read: the next page is after the last of them.
        """

    def close(self) -> None:
        """Release connections. A closed store raises StoreUnavailableError."""
