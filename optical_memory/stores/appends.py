"""Appends as values, so that a store can take many at the cost of one, each atomic for itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from optical_memory.stores.base import Head
from optical_memory.turns import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """Makes an append that is sent again be done once, and answered alike.

    ``name`` is the request's own; ``digest`` (hex) is of all that was sent under it; what was answered is remembered
    for ``seconds``.
    """

    name: str
    digest: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Turns for one session, all or none; ``expected`` as for :meth:`optical_memory.stores.base.Store.append`."""

    session: str
    turns: Sequence[Turn]
    expected: Head | None = None
    once: Once | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What became of an append: its turns with their places, and where the session stood afterwards.

    ``fresh`` are the turns that were not stored before; ``made`` says whether the session was made for them. Where
    the same request was done before (``replayed``), turns and head are those of its first time, and nothing is fresh.
    """

    turns: tuple[Turn, ...]
    head: Head
    fresh: tuple[Turn, ...] = ()
    made: bool = False
    replayed: bool = False


Result = Appended | Exception
"""What became of one append of many."""
Commit = Callable[[Sequence[Append]], Sequence[Result]]
"""Does many appends, each atomic for itself."""


class GroupStore(Protocol):
    """A store that takes many appends together."""

    def append_all(self, appends: Sequence[Append]) -> list[Result]:
        """Do appends in order, and return what became of each: an error of one leaves the others alone.

        The errors are those of :meth:`optical_memory.stores.base.Store.append`, and RepeatError where another request
        came before under the name of its ``once``.
        """
