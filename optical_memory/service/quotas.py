"""Quotas: how many sessions, turns and bytes a tenant may keep. What it keeps is counted in the store for all replicas.

Room is taken before turns are stored and given back where they were not, so that replicas together never pass a quota.
Where the store gave no answer, the room stays taken until what is there was counted (:meth:`Quotas.recount`); a replica
that was killed in between leaves it so until somebody asks for a recount.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from optical_memory.errors import ConflictError, InputError, QuotaError, StoreCorruptError, StoreUnavailableError
from optical_memory.service.records import Records
from optical_memory.stores import record
from optical_memory.stores.base import Store
from optical_memory.stores.scoped import ScopedStore, check_scope
from optical_memory.turns import Turn

_log = logging.getLogger(__name__)
KINDS = ("sessions", "turns", "bytes")
_QUOTA, _USAGE = "quota/", "usage/"
_ATTEMPTS = 8
_PAGE_TURNS = 1_000
_QUIET_SECONDS = 0.2
"""How long nothing may be under way before a recount: far longer than an append takes."""


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
        if held is None and not self._records.swap(name, _packed(self._count(tenant)), expected=None):
            held = self._records.get(name)  # another replica was faster, and may have taken room since
        return self.usage(tenant) if held is None else _parsed(held, tenant)

    def take(self, tenant: str, wanted: Usage) -> None:
        """Take room for what is about to be stored. Raises QuotaError where there is too little; then none is taken."""
        if tenant not in self._seen:
            self.usage(tenant)
        limits = self.of(tenant).limits
        done, sums = self._records.add(_USAGE + tenant, wanted.amounts, limits)
        self._seen[tenant] = of_amounts(sums)
        if done:
            return
        for kind, held, more, limit in zip(KINDS, sums, wanted.amounts, limits, strict=True):
            if limit is not None and more > 0 and held + more > limit:
                raise QuotaError(
                    f"the tenant may keep {limit:,} {kind} and keeps {held:,}; delete some, or have the quota raised",
                    quota=kind,
                    limit=limit,
                    used=held,
                )
        raise AssertionError("what was refused is past a limit")

    def give_back(self, tenant: str, usage: Usage) -> None:
        """Give back room: what was deleted, or was not stored. Less than nothing takes more, past any quota."""
        if not any(usage.amounts):
            return
        try:
            _, sums = self._records.add(_USAGE + tenant, [-amount for amount in usage.amounts], (None,) * len(KINDS))
            self._seen[tenant] = of_amounts(sums)
        except StoreUnavailableError:  # what was stored is stored: its answer is not lost for a count
            self.doubt(tenant)

    def doubt(self, tenant: str) -> None:
        """Have what a tenant keeps counted anew soon (:meth:`settle`)."""
        self._doubted.add(tenant)

    def settle(self) -> None:
        """Count anew where that is in doubt; what cannot be counted now stays so."""
        for tenant in list(self._doubted):
            try:
                self.recount(tenant)
                self._doubted.discard(tenant)
            except (StoreUnavailableError, ConflictError) as error:
                _log.info("what a tenant keeps is counted later: %s", type(error).__name__)

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

        It waits until nothing is under way for a moment. Raises ConflictError where that does not come to be.
        """
        name = _USAGE + tenant
        for _ in range(_ATTEMPTS):
            before = self._records.get(name)
            time.sleep(_QUIET_SECONDS)
            if self._records.get(name) != before:
                continue
            counted = self._count(tenant)
            if self._records.swap(name, _packed(counted), expected=before):
                self._seen[tenant] = counted
                return counted
        raise ConflictError(f"what {tenant!r} keeps changed {_ATTEMPTS} times while it was counted; repeat")

    def _count(self, tenant: str) -> Usage:
        scope, total, after = ScopedStore(self._store, tenant), Usage(), ""
        while found := scope.sessions("", after, _PAGE_TURNS):
            for session in found:
                total += Usage(sessions=1) + kept_by(scope, session)
            after = found[-1]
        return total

    def _read(self, tenant: str) -> Quota:
        held = self._records.get(_QUOTA + tenant)
        if held is None:
            return self._default
        try:
            return Quota(**json.loads(held))
        except (ValueError, TypeError) as error:
            raise StoreCorruptError(f"the quota of {tenant!r} is damaged: {error}") from error


def kept_by(store: ScopedStore, session: str) -> Usage:
    """Return the turns and bytes of one session."""
    total, last = Usage(), -1
    while some := store.turns(session, after=last, limit=_PAGE_TURNS):
        total, last = total + of_turns(some), some[-1].seq
    return total


def _packed(usage: Usage) -> bytes:
    return " ".join(map(str, usage.amounts)).encode()


def _parsed(held: bytes, tenant: str) -> Usage:
    try:
        return of_amounts([int(word) for word in held.split()])
    except ValueError as error:
        raise StoreCorruptError(f"what {tenant!r} keeps is counted in a record that is damaged: {error}") from error
