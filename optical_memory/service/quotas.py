"""Quotas: how many sessions, turns and bytes a tenant may keep. What it keeps is counted in the store for all replicas.

Room is taken when an operation begins and given back when it ends, so that replicas together never pass a quota. What a
replica had under way when it was killed, and what the store gave no answer to, is counted anew by those that live.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from optical_memory.errors import (
    ConflictError,
    InputError,
    OpticalMemoryError,
    QuotaError,
    StoreCorruptError,
    StoreUnavailableError,
)
from optical_memory.service.records import Records
from optical_memory.service.replicas import Replicas, replica_of
from optical_memory.service.tally import ClosedError, Tally
from optical_memory.service.usage import KINDS, Survey, Usage, of_amounts
from optical_memory.stores.base import Store
from optical_memory.stores.scoped import check_scope

_log = logging.getLogger(__name__)
_QUOTA, _USAGE = "quota/", "usage/"
_ATTEMPTS = 8
_QUIET_ATTEMPTS = 3
"""How often a recount looks for a moment in which nothing is under way, before it makes one."""
_PAUSE_SECONDS = 0.02
CLOSED_SECONDS = 5.0
"""The longest that a recount keeps a tenant's writes waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """The most that a tenant may keep; None: as much as it likes."""

    sessions: int | None = None
    turns: int | None = None
    bytes: int | None = None

    @property
    def limits(self) -> tuple[int | None, ...]:
        """The limits in the order of :data:`KINDS`."""
        return (self.sessions, self.turns, self.bytes)


class Quotas:
    """The quotas of all tenants, and what each keeps. Safe for threads.

    Args:
        records: where both are kept.
        store: what is counted anew at a recount.
        default: of tenants for which none was set.
        cache_seconds: how late a replica learns of a quota that was set.
        clock: seconds that only grow.

    """

    def __init__(
        self,
        records: Records,
        store: Store,
        *,
        default: Quota,
        cache_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records, self._store, self._default = records, store, default
        self._cache_seconds, self._clock = cache_seconds, clock
        self._cache: dict[str, tuple[float, Quota]] = {}
        self._seen: dict[str, Usage] = {}
        self._doubted: set[str] = set()
        self._unended: deque[tuple[str, str, Usage]] = deque()
        self._replicas = Replicas(records)
        self._looked = False
        self._stopped = threading.Event()

    def of(self, tenant: str) -> Quota:
        """Return a tenant's quota."""
        held = self._cache.get(tenant)
        if held is None or held[0] < self._clock():
            held = (self._clock() + self._cache_seconds, self._read(tenant))
            self._cache[tenant] = held
        return held[1]

    def set(self, tenant: str, quota: Quota) -> None:
        """Set a tenant's quota; it may be below what the tenant keeps, which then may only shrink.

        Raises InputError, ConflictError.
        """
        check_scope(tenant)
        for kind, limit in asdict(quota).items():
            if limit is not None and not 0 <= limit < 1 << 50:
                raise InputError(f"a quota of {kind} is a number from 0, or none, not {limit!r}")
        name, data = _QUOTA + tenant, json.dumps(asdict(quota)).encode()
        for _ in range(_ATTEMPTS):
            if self._records.swap(name, data, expected=self._records.get(name)):
                self._cache.pop(tenant, None)
                return
        raise ConflictError(f"the quota of {tenant!r} changed {_ATTEMPTS} times meanwhile; repeat")

    def usage(self, tenant: str) -> Usage:
        """Return what a tenant keeps, counted where it never was."""
        name = _USAGE + tenant
        held = self._records.get(name)
        if held is not None:
            return of_amounts(Tally.parse(held, len(KINDS)).sums)
        counted = Tally(sums=Survey(self._store, tenant).total().amounts)
        self._records.swap(name, counted.packed(), expected=None)
        return self.usage(tenant)  # another replica may have been faster, and have taken room since

    def begin(self, tenant: str, wanted: Usage) -> str:
        """Take room for what is about to be stored, or none for what is about to be deleted.

        Returns the name of the operation, which must :meth:`end`. Raises QuotaError where there is too little room, and
        ClosedError while what the tenant keeps is counted anew; then nothing is taken.
        """
        if tenant not in self._seen:
            self.usage(tenant)
        limits, operation = self.of(tenant).limits, self._replicas.operation()
        try:
            done, sums = self._records.begin(_USAGE + tenant, operation, wanted.amounts, limits)
        except ClosedError:
            raise
        except StoreUnavailableError:  # it may have begun
            self._unended.append((tenant, operation, wanted))
            raise
        self._seen[tenant] = of_amounts(sums)
        if done:
            return operation
        for kind, held, more, limit in zip(KINDS, sums, wanted.amounts, limits, strict=True):
            if limit is not None and more > 0 and held + more > limit:
                raise QuotaError(
                    f"the tenant may keep {limit:,} {kind} and keeps {held:,}; delete some, or have the quota raised",
                    quota=kind,
                    limit=limit,
                    used=held,
                )
        raise AssertionError("what was refused is past a limit")

    def begin_waiting(self, tenant: str, wanted: Usage) -> str:
        """Do as :meth:`begin`, but wait on this thread while what the tenant keeps is counted anew."""
        deadline = time.monotonic() + CLOSED_SECONDS
        while time.monotonic() < deadline:
            try:
                return self.begin(tenant, wanted)
            except ClosedError:
                time.sleep(_PAUSE_SECONDS)
        return self.begin(tenant, wanted)

    def end(self, tenant: str, operation: str, spare: Usage, *, sure: bool = True) -> None:
        """End an operation and give back room: what was deleted, or was not stored. Less than nothing takes more.

        One of which it is not ``sure`` what it changed stays under way until what the tenant keeps is counted anew
        (:meth:`heal`), by others should this replica die before.
        """
        if not sure:
            self._unended.append((tenant, operation, spare))
            self._doubted.add(tenant)
            return
        try:
            found, sums = self._records.end(_USAGE + tenant, operation, [-amount for amount in spare.amounts])
        except StoreUnavailableError:  # what was stored is stored: its answer is not lost for a count
            self._unended.append((tenant, operation, spare))
            return
        self._seen[tenant] = of_amounts(sums)
        if not found:  # this replica was taken for dead meanwhile, and counted without it
            self._doubted.add(tenant)

    def heal(self) -> None:
        """Say that this replica lives, and count anew what is in doubt. What cannot be done now stays for later.

        In doubt is what the store gave no answer to, and what replicas that ended without a word had under way.
        """
        try:
            self._replicas.renew()
            self._end_late()
            dead = self._left_behind()
        except OpticalMemoryError as error:
            _log.warning("what tenants keep is looked after later: %s: %s", type(error).__name__, error)
            return
        for tenant in list(self._doubted):
            self._doubted.discard(tenant)  # first: what comes into doubt meanwhile stays so
            try:
                self.recount(tenant)
            except (StoreUnavailableError, ConflictError) as error:
                _log.info("what a tenant keeps is counted later: %s", type(error).__name__)
                self._doubted.add(tenant)
            except OpticalMemoryError as error:  # no recount can read it, now or later
                _log.error("what a tenant keeps cannot be counted: %s: %s", type(error).__name__, error)
        if not self._doubted:
            for name in dead:
                self._replicas.bury(name)

    def stop(self) -> None:
        """Let a recount that is under way end now: reading millions of turns would hold up the end of the service."""
        self._stopped.set()

    def close(self) -> None:
        """Say that this replica ends, unless something of it is under way still, for others to find."""
        if not self._unended:
            self._replicas.leave()

    def headers(self, tenant: str) -> dict[str, str]:
        """Return headers that say what remains, as this process last saw it; none where there are no limits."""
        used = self._seen.get(tenant)
        if used is None:
            return {}
        found = {}
        for kind, held, limit in zip(KINDS, used.amounts, self.of(tenant).limits, strict=True):
            if limit is not None:
                found[f"Quota-{kind.title()}-Limit"] = str(limit)
                found[f"Quota-{kind.title()}-Remaining"] = str(max(limit - held, 0))
        return found

    def recount(self, tenant: str) -> Usage:
        """Count anew what a tenant keeps, by reading all of it, and return it.

        It waits for a moment in which nothing is under way. Where none comes it makes one: the tenant's writes wait for
        as long as it takes to see which sessions changed. Raises ConflictError where even so others were faster.
        """
        name, survey = _USAGE + tenant, Survey(self._store, tenant, self._stopped.is_set)
        for attempt in range(_ATTEMPTS):
            if attempt == _QUIET_ATTEMPTS:
                survey.total()  # the most of it is read before anything waits
            before = self._closed(name) if attempt >= _QUIET_ATTEMPTS else self._records.get(name)
            tally = Tally.parse(before, len(KINDS))
            if self._lives(tally):
                time.sleep(_PAUSE_SECONDS)
                continue
            counted = survey.total()
            if self._records.swap(name, Tally(sums=counted.amounts, begun=tally.begun).packed(), expected=before):
                self._seen[tenant] = counted
                return counted
        raise ConflictError(f"what {tenant!r} keeps changed {_ATTEMPTS} times while it was counted; repeat")

    def _closed(self, name: str) -> bytes:
        """Close a tally, and return it once nothing is under way, or after the longest that may be."""
        until = self._records.clock() + CLOSED_SECONDS
        closing = True
        while True:
            held = self._records.get(name)
            tally = Tally.parse(held, len(KINDS))
            if closing:
                closed = replace(tally, closed_until=int(until * 1_000)).packed()
                closing = not self._records.swap(name, closed, expected=held)
            elif held is not None and (not self._lives(tally) or self._records.clock() > until):
                return held
            else:
                time.sleep(_PAUSE_SECONDS)

    def _lives(self, tally: Tally) -> bool:
        """Whether an operation is under way that may end."""
        if not tally.under_way:
            return False
        living, _ = self._replicas.seen()
        return any(replica_of(operation) in living for operation in tally.under_way)

    def _end_late(self) -> None:
        """End the operations for which the store gave no answer when they ended."""
        for _ in range(len(self._unended)):
            self.end(*self._unended.popleft())

    def _left_behind(self) -> frozenset[str]:
        """Doubt what replicas that ended without a word had under way; return the names of these."""
        living, dead = self._replicas.seen()
        if dead or not self._looked:
            for name in self._records.names(_USAGE):
                tally = Tally.parse(self._records.get(name), len(KINDS))
                if any(replica_of(operation) not in living for operation in tally.under_way):
                    self._doubted.add(name.removeprefix(_USAGE))
            self._looked = True
        return frozenset(dead)

    def _read(self, tenant: str) -> Quota:
        held = self._records.get(_QUOTA + tenant)
        if held is None:
            return self._default
        try:
            return Quota(**json.loads(held))
        except (ValueError, TypeError) as error:
            raise StoreCorruptError(f"the quota of {tenant!r} is damaged: {error}") from error
