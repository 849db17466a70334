"""What stores and deletes a tenant's turns within its quota, one append at a time or many together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from optical_memory.errors import QuotaError, StoreUnavailableError
from optical_memory.service.quotas import Quotas
from optical_memory.service.usage import Usage, kept_by, of_turns
from optical_memory.stores.appends import Append, Commit, Result
from optical_memory.stores.base import Head, State, Store
from optical_memory.stores.scoped import ScopedStore, split_id
from optical_memory.turns import Turn

_MOST_KNOWN = 100_000


class MeteredStore(ScopedStore):
    """A tenant's part of a store, in which it keeps no more than its quota. Appends raise QuotaError past it."""

    def __init__(self, store: Store, scope: str, quotas: Quotas) -> None:
        super().__init__(store, scope)
        self._quotas = quotas

    def append(self, session: str, turns: Sequence[Turn], *, expected: Head | None = None) -> list[Turn]:
        """Store turns atomically, in order; see the protocol. Raises QuotaError."""
        before = self.head(session) if expected is None else expected
        wanted = of_turns(turns) + Usage(sessions=0 if before.birth else 1)
        operation = self._quotas.begin_waiting(self.scope, wanted)
        used, sure = Usage(), True
        try:
            stored = super().append(session, turns, expected=expected)
        except StoreUnavailableError:
            used, sure = wanted, False
            raise
        else:
            fresh = {turn.id: turn for turn in stored if turn.seq >= before.length}
            made = not before.birth and any(turn.seq == 0 for turn in fresh.values())
            used = of_turns(list(fresh.values())) + Usage(sessions=1 if made else 0)
        finally:
            self._quotas.end(self.scope, operation, wanted - used, sure=sure)
        return stored

    def save_state(self, session: str, data: bytes, *, expected: int, birth: str | None = None) -> State:
        """Replace the state; see the protocol. Raises QuotaError where that would make a session too many."""
        with self._making(session):
            return super().save_state(session, data, expected=expected, birth=birth)

    def put_blobs(self, session: str, blobs: dict[str, bytes]) -> None:
        """Cache blobs. Raises QuotaError where that would make a session too many."""
        with self._making(session):
            super().put_blobs(session, blobs)

    @contextmanager
    def _making(self, session: str) -> Iterator[None]:
        """Count a session that is made meanwhile."""
        if self.head(session).birth:
            yield
            return
        operation, spare, sure = self._quotas.begin_waiting(self.scope, Usage(sessions=1)), Usage(), False
        try:
            yield
        finally:
            try:
                spare = Usage(sessions=0 if self.head(session).birth else 1)
                sure = True
            finally:
                self._quotas.end(self.scope, operation, spare, sure=sure)

    def delete_turns(self, session: str, turn_ids: Sequence[str]) -> int:
        """Really delete turns; see the protocol. Their room is free again."""
        with self._freeing() as freed:
            there = self.get(session, turn_ids)
            count = super().delete_turns(session, turn_ids)
            if count == len(there):
                freed.append(of_turns(there))
        return count

    def delete_session(self, session: str) -> int:
        """Really delete a session; see the protocol. Its room is free again."""
        with self._freeing() as freed:
            there, held = self.head(session), kept_by(self, session)
            count = super().delete_session(session)
            if count == held.turns:
                freed.append(held + Usage(sessions=1 if there.birth else 0))
        return count

    @contextmanager
    def _freeing(self) -> Iterator[list[Usage]]:
        """Give back the room that is put into the list; count anew where none is.

        That is where others stored or deleted some of it at the same time, or the store gave no answer.
        """
        operation, freed = self._quotas.begin_waiting(self.scope, Usage()), list[Usage]()
        try:
            yield freed
        finally:
            self._quotas.end(self.scope, operation, sum(freed, Usage()), sure=bool(freed))


@dataclass(slots=True)
class _Group:
    """Appends that are done together: for which room was taken, by which operations of each tenant, and refusals."""

    appends: Sequence[Append]
    taken: dict[int, Usage] = field(default_factory=dict)
    refused: dict[int, Exception] = field(default_factory=dict)
    begun: dict[str, list[str]] = field(default_factory=dict)


class Metered:
    """Does appends of many tenants together within their quotas: room is taken once for all of a tenant's."""

    def __init__(self, commit: Commit, store: Store, quotas: Quotas) -> None:
        self._commit, self._store, self._quotas = commit, store, quotas
        self._known: set[str] = set()

    def __call__(self, appends: Sequence[Append]) -> list[Result]:
        """Return what became of each append; QuotaError for those for which there is no room."""
        group = _Group(appends)
        of_tenants: dict[str, dict[int, Usage]] = {}
        for place, append in enumerate(appends):
            try:
                wanted = of_turns(append.turns) + Usage(sessions=0 if append.session in self._known else 1)
            except Exception as error:  # what no store takes is refused here, and spoils its own append alone
                group.refused[place] = error
            else:
                of_tenants.setdefault(split_id(append.session)[0], {})[place] = wanted
        for tenant, some in of_tenants.items():
            self._take(tenant, some, group)
        places, done = sorted(group.taken), dict[int, Result]()
        try:
            done |= zip(places, self._commit([appends[place] for place in places]) if places else (), strict=True)
        finally:
            for tenant in group.begun:
                self._end(tenant, [place for place in of_tenants[tenant] if place in group.taken], group, done)
        return [group.refused[place] if place in group.refused else done[place] for place in range(len(appends))]

    def forget(self, session: str) -> None:
        """Take a session, by its scoped id, no more for one that is there."""
        self._known.discard(session)

    def _take(self, tenant: str, wanted: Mapping[int, Usage], group: _Group) -> None:
        """Take room for all together; where there is too little, for those that find some."""
        try:
            self._begin(tenant, wanted, group)
        except QuotaError:
            if len(wanted) == 1:
                (place,) = wanted
                self._take_exactly(tenant, place, group)
                return
            items = list(wanted.items())
            for some in (items[: len(items) // 2], items[len(items) // 2 :]):
                self._take(tenant, dict(some), group)
        except Exception as error:
            group.refused |= dict.fromkeys(wanted, error)

    def _take_exactly(self, tenant: str, place: int, group: _Group) -> None:
        """Take room for what is really new: nothing that is there, as when a request comes again."""
        append = group.appends[place]
        try:
            there = self._store.head(append.session).birth
            held = {turn.id for turn in self._store.get(append.session, [turn.id for turn in append.turns])}
            fresh = of_turns([turn for turn in append.turns if turn.id not in held])
            self._begin(tenant, {place: fresh + Usage(sessions=0 if there else 1)}, group)
        except Exception as error:
            group.refused[place] = error

    def _begin(self, tenant: str, wanted: Mapping[int, Usage], group: _Group) -> None:
        operation = self._quotas.begin(tenant, sum(wanted.values(), Usage()))
        group.begun.setdefault(tenant, []).append(operation)
        group.taken |= wanted

    def _end(self, tenant: str, places: Sequence[int], group: _Group, done: Mapping[int, Result]) -> None:
        """End a tenant's operations. What got no answer may be stored: its room stays taken until it is counted."""
        spare, sure = Usage(), True
        for place in places:
            result = done.get(place, StoreUnavailableError("no answer"))
            if isinstance(result, StoreUnavailableError):
                sure = False
            else:
                spare += group.taken[place] - self._used(group.appends[place], result)
        for operation in group.begun[tenant]:
            self._quotas.end(tenant, operation, spare, sure=sure)
            spare = Usage()

    def _used(self, append: Append, done: Result) -> Usage:
        if isinstance(done, Exception):
            return Usage()
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        if done.head.birth and not done.replayed:
            self._known.add(append.session)
        return of_turns(done.fresh) + Usage(sessions=1 if done.made else 0)
