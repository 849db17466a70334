"""What a tenant keeps: sessions, turns and bytes, of single turns, of a session, and of all that there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optical_memory.errors import ConflictError
from optical_memory.stores import record
from optical_memory.stores.base import Head, Store
from optical_memory.stores.scoped import ScopedStore
from optical_memory.turns import Turn

KINDS = ("sessions", "turns", "bytes")
_PAGE_TURNS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a tenant keeps: sessions, turns, and the bytes of these as they are written down, before encryption."""

    sessions: int = 0
    turns: int = 0
    bytes: int = 0

    @property
    def amounts(self) -> tuple[int, ...]:
        """The amounts in the order of :data:`KINDS`."""
        return (self.sessions, self.turns, self.bytes)

    def __add__(self, other: Usage) -> Usage:
        return of_amounts([mine + theirs for mine, theirs in zip(self.amounts, other.amounts, strict=True)])

    def __sub__(self, other: Usage) -> Usage:
        return of_amounts([mine - theirs for mine, theirs in zip(self.amounts, other.amounts, strict=True)])


def of_amounts(amounts: Sequence[int]) -> Usage:
    """Return the usage of amounts in the order of :data:`KINDS`."""
    sessions, turns, size = amounts
    return Usage(sessions=sessions, turns=turns, bytes=size)


def of_turns(turns: Sequence[Turn]) -> Usage:
    """Return what turns take of a quota. Raises InputError, LimitError for what no store takes."""
    return Usage(turns=len(turns), bytes=sum(len(record.encode(turn).body) for turn in turns))


def kept_by(store: ScopedStore, session: str) -> Usage:
    """Return the turns and bytes of one session."""
    total, last = Usage(), -1
    while some := store.turns(session, after=last, limit=_PAGE_TURNS):
        total, last = total + of_turns(some), some[-1].seq
    return total


class Survey:
    """Counts what a tenant keeps by reading it. Done again, it reads only the sessions that changed.

    ``stopped`` is asked before each session: whether nobody wants the count any more.
    """

    def __init__(self, store: Store, tenant: str, stopped: Callable[[], bool] = lambda: False) -> None:
        self._scope, self._stopped = ScopedStore(store, tenant), stopped
        self._known: dict[str, tuple[Head, Usage]] = {}

    def total(self) -> Usage:
        """Return what there is now. Raises ConflictError where it is stopped."""
        total, after, there = Usage(), "", dict[str, tuple[Head, Usage]]()
        while found := self._scope.sessions("", after, _PAGE_TURNS):
            for session in found:
                if self._stopped():
                    raise ConflictError("the count was stopped: this replica ends; another counts, or repeat it there")
                head = self._scope.head(session)
                known = self._known.get(session)
                counted = known[1] if known is not None and known[0] == head else kept_by(self._scope, session)
                there[session] = head, counted
                total += Usage(sessions=1) + counted
            after = found[-1]
        self._known = there
        return total
