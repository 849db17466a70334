"""What stores and deletes a tenant's turns within its quota, one append at a time or many together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from optical_memory.errors import QuotaError, StoreUnavailableError
from optical_memory.service.quotas import Quotas, Usage, kept_by, of_turns
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
        before = self.head(session)
        wanted = of_turns(turns) + Usage(sessions=0 if before.birth else 1)
        self._quotas.take(self.scope, wanted)
        used = Usage()
        try:
            stored = super().append(session, turns, expected=expected)
        except StoreUnavailableError:
            used = wanted
            self._quotas.doubt(self.scope)
            raise
        else:
            fresh = {turn.id: turn for turn in stored if turn.seq >= before.length}
            made = not before.birth and any(turn.seq == 0 for turn in fresh.values())
            used = of_turns(list(fresh.values())) + Usage(sessions=1 if made else 0)
        finally:
            self._quotas.give_back(self.scope, wanted - used)
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
        self._quotas.take(self.scope, Usage(sessions=1))
        try:
            yield
        finally:
            if not self.head(session).birth:
                self._quotas.give_back(self.scope, Usage(sessions=1))

    def delete_turns(self, session: str, turn_ids: Sequence[str]) -> int:
        """Really delete turns; see the protocol. Their room is free again."""
        there = self.get(session, turn_ids)
        count = super().delete_turns(session, turn_ids)
        if count == len(there):
            self._quotas.give_back(self.scope, of_turns(there))
        else:  # others deleted some of them at the same time
            self._quotas.doubt(self.scope)
        return count

    def delete_session(self, session: str) -> int:
        """Really delete a session; see the protocol. Its room is free again."""
        there, held = self.head(session), kept_by(self, session)
        count = super().delete_session(session)
        if count == held.turns:
            self._quotas.give_back(self.scope, held + Usage(sessions=1 if there.birth else 0))
        else:  # others stored or deleted turns of it at the same time
            self._quotas.doubt(self.scope)
        return count


class Metered:
    """Does appends of many tenants together within their quotas: room is taken once for all of a tenant's."""

    def __init__(self, commit: Commit, store: Store, quotas: Quotas) -> None:
        self._commit, self._store, self._quotas = commit, store, quotas
        self._known: set[str] = set()

    def __call__(self, appends: Sequence[Append]) -> list[Result]:
        """Return what became of each append; QuotaError for those for which there is no room."""
        found = [self._wanted(append) for append in appends]
        refused = {place: one for place, one in enumerate(found) if isinstance(one, Exception)}
        taken: dict[int, Usage] = {}
        of_tenants: dict[str, dict[int, Usage]] = {}
        for place, one in enumerate(found):
            if isinstance(one, Usage):
                of_tenants.setdefault(split_id(appends[place].session)[0], {})[place] = one
        for tenant, wanted in of_tenants.items():
            self._take(tenant, wanted, appends, taken, refused)
        places = sorted(taken)
        done = dict(zip(places, self._commit([appends[place] for place in places]) if places else (), strict=True))
        for tenant, wanted in of_tenants.items():
            theirs = [place for place in wanted if place in done]
            if any(isinstance(done[place], StoreUnavailableError) for place in theirs):
                self._quotas.doubt(tenant)  # what got no answer may be stored: its room stays taken until it is counted
            spare = (taken[place] - self._used(appends[place], taken[place], done[place]) for place in theirs)
            self._quotas.give_back(tenant, sum(spare, Usage()))
        return [refused[place] if place in refused else done[place] for place in range(len(appends))]

    def forget(self, session: str) -> None:
        """Take a session, by its scoped id, no more for one that is there."""
        self._known.discard(session)

    def _wanted(self, append: Append) -> Usage | Exception:
        try:
            return of_turns(append.turns) + Usage(sessions=0 if append.session in self._known else 1)
        except Exception as error:  # what no store takes is refused here, and spoils its own append alone
            return error

    def _take(
        self,
        tenant: str,
        wanted: Mapping[int, Usage],
        appends: Sequence[Append],
        taken: dict[int, Usage],
        refused: dict[int, Exception],
    ) -> None:
        """Take room for all together; where there is too little, for those that find some."""
        try:
            self._quotas.take(tenant, sum(wanted.values(), Usage()))
            taken |= wanted
        except QuotaError:
            if len(wanted) == 1:
                (place,) = wanted
                self._take_exactly(tenant, place, appends[place], taken, refused)
                return
            items = list(wanted.items())
            for some in (items[: len(items) // 2], items[len(items) // 2 :]):
                self._take(tenant, dict(some), appends, taken, refused)
        except Exception as error:
            refused |= dict.fromkeys(wanted, error)

    def _take_exactly(
        self, tenant: str, place: int, append: Append, taken: dict[int, Usage], refused: dict[int, Exception]
    ) -> None:
        """Take room for what is really new: nothing that is there, as when a request comes again."""
        try:
            there = self._store.head(append.session).birth
            held = {turn.id for turn in self._store.get(append.session, [turn.id for turn in append.turns])}
            fresh = of_turns([turn for turn in append.turns if turn.id not in held])
            wanted = fresh + Usage(sessions=0 if there else 1)
            self._quotas.take(tenant, wanted)
            taken[place] = wanted
        except Exception as error:
            refused[place] = error

    def _used(self, append: Append, taken: Usage, done: Result) -> Usage:
        if isinstance(done, Exception):
            return taken if isinstance(done, StoreUnavailableError) else Usage()
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        if done.head.birth and not done.replayed:
            self._known.add(append.session)
        return of_turns(done.fresh) + Usage(sessions=1 if done.made else 0)
