"""Keys of the service's callers: shown once, kept as a hash, found by their id in one lookup.

A key is ``om_ID_SECRET``. The secret is 256 random bits, so its SHA-256 cannot be turned back, and needs no salt and no
slow hash. Tenant and scopes stand in the record and nowhere else: a caller cannot choose them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from optical_memory.errors import AccessError, ConflictError, InputError, NotFoundError, StoreCorruptError
from optical_memory.service.records import Records
from optical_memory.stores.scoped import check_scope

SCOPES = ("read", "write", "forget", "admin")
"""What a key may do: read; add turns; delete; see to keys and to the tenant's encryption."""
CACHE_SECONDS = 2.0
"""How long a replica believes what it read of a key: a revocation works everywhere within this time."""
_MOST_CACHED = 10_000
_ATTEMPTS = 8
_FORM = re.compile(r"om_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_RECORDS = "key/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as it is kept. Times are seconds since 1970; ``digest`` is the SHA-256 (hex) of its secret."""

    id: str
    tenant: str
    scopes: tuple[str, ...]
    digest: str
    name: str = ""
    created_at: float = 0.0
    expires_at: float | None = None
    revoked_at: float | None = None
    replaced_by: str | None = None

    def state(self, now: float) -> str:
        """Return "valid", "revoked" or "expired"."""
        if self.revoked_at is not None:
            return "revoked"
        return "valid" if self.expires_at is None or now < self.expires_at else "expired"

    def shown(self, now: float) -> dict[str, Any]:
        """Return its fields as people may see them, with its state and without the digest."""
        fields = asdict(self)
        del fields["digest"]
        return fields | {"state": self.state(now)}


class Keyring:
    """Makes keys, finds and ends them. Safe for threads; ``clock`` is seconds since 1970."""

    def __init__(
        self, records: Records, *, clock: Callable[[], float] = time.time, cache_seconds: float = CACHE_SECONDS
    ) -> None:
        self._records, self._clock, self._cache_seconds = records, clock, cache_seconds
        self._cache: dict[str, tuple[float, Key]] = {}

    def create(
        self, tenant: str, scopes: Iterable[str] = ("read", "write"), *, name: str = "", seconds: float | None = None
    ) -> tuple[Key, str]:
        """Make a key and return it with its text, which is nowhere kept.

        Args:
            tenant: whose sessions it opens: 1 to 64 ASCII letters, digits and ``_.~-``.
            scopes: of :data:`SCOPES`.
            name: what people call it.
            seconds: how long it is valid; None: for ever.

        Errors: InputError, the records' own.

        """
        check_scope(tenant)
        wanted = set(scopes)
        if not wanted or wanted - set(SCOPES):
            raise InputError(f"scopes are one or more of {', '.join(SCOPES)}, not {sorted(wanted)!r}")
        if seconds is not None and not seconds > 0:
            raise InputError(f"a key is valid for a positive number of seconds, not {seconds!r}")
        if len(name) > 100 or not name.isprintable():
            raise InputError("a key's name has at most 100 printable characters")
        now, secret = self._clock(), secrets.token_urlsafe(32)
        key = Key(
            id=secrets.token_hex(8),
            tenant=tenant,
            scopes=tuple(scope for scope in SCOPES if scope in wanted),
            digest=_digest(secret).hex(),
            name=name,
            created_at=now,
            expires_at=None if seconds is None else now + seconds,
        )
        if not self._records.swap(_RECORDS + key.id, _packed(key), expected=None):
            raise ConflictError(f"the key id {key.id!r} is taken; make the key again")
        return key, f"om_{key.id}_{secret}"

    def cached(self, text: str) -> Key | None:
        """Return the valid key of this text if it was read lately, without asking the records."""
        form = _FORM.fullmatch(text)
        held = self._cache.get(form[1]) if form else None
        if form is None or held is None or held[0] < time.monotonic():
            return None
        key = held[1]
        same = hmac.compare_digest(bytes.fromhex(key.digest), _digest(form[2]))
        return key if same and key.state(self._clock()) == "valid" else None

    def find(self, text: str) -> Key:
        """Return the valid key of this text, by one lookup and a comparison in constant time. Raises AccessError.

        The error does not say whether a key is unknown or its secret wrong; a holder of the whole key is told that it
        expired or was revoked.
        """
        form = _FORM.fullmatch(text)
        key_id, secret = (form[1], form[2]) if form else ("0" * 16, "")
        key = self._read(key_id)
        digest = bytes.fromhex(key.digest) if key is not None else bytes(32)
        if not hmac.compare_digest(digest, _digest(secret)) or key is None or form is None:
            raise AccessError("no such key")
        if (state := key.state(self._clock())) != "valid":
            raise AccessError(f"the key {key.id!r} is {state}")
        self._remember(key)
        return key

    def current(self, key_id: str) -> Key:
        """Return a valid key by its id, for who showed the whole key before. Raises AccessError.

        What was read lately is believed for ``cache_seconds``, as for a key that is shown.
        """
        held = self._cache.get(key_id)
        key = held[1] if held is not None and held[0] >= time.monotonic() else self._read(key_id)
        if key is None:
            raise AccessError("no such key")
        if (state := key.state(self._clock())) != "valid":
            raise AccessError(f"the key {key.id!r} is {state}")
        if held is None or held[1] is not key:
            self._remember(key)
        return key

    def get(self, key_id: str) -> Key:
        """Return a key by its id. Raises NotFoundError."""
        key = self._read(key_id)
        if key is None:
            raise NotFoundError(f"no key {key_id!r}; `optical-memory keys list` shows all")
        return key

    def all(self, tenant: str | None = None) -> list[Key]:
        """Return all keys, of one tenant or of all, oldest first."""
        found = (self._read(name.removeprefix(_RECORDS)) for name in self._records.names(_RECORDS))
        keys = [key for key in found if key is not None and tenant in (None, key.tenant)]
        return sorted(keys, key=lambda key: (key.created_at, key.id))

    def revoke(self, key_id: str) -> Key:
        """End a key now; other replicas follow within ``cache_seconds``. Raises NotFoundError."""
        now = self._clock()
        return self._change(key_id, lambda key: key if key.revoked_at is not None else replace(key, revoked_at=now))

    def rotate(self, key_id: str, *, overlap_seconds: float = 86_400.0) -> tuple[Key, str]:
        """Make a key that may do the same, and let the old one expire after the overlap. Both work until then.

        The new one is valid as long as the old one was from its making. Raises NotFoundError, and InputError for a key
        that is no longer valid or an overlap below 0.
        """
        old, now = self.get(key_id), self._clock()
        if old.state(now) != "valid":
            raise InputError(f"the key {key_id!r} is {old.state(now)}; make a new one")
        if not overlap_seconds >= 0:
            raise InputError(f"an overlap is 0 or more seconds, not {overlap_seconds!r}")
        seconds = None if old.expires_at is None else old.expires_at - old.created_at
        new, text = self.create(old.tenant, old.scopes, name=old.name, seconds=seconds)
        end = now + overlap_seconds

        def ended(key: Key) -> Key:
            return replace(
                key, expires_at=end if key.expires_at is None else min(end, key.expires_at), replaced_by=new.id
            )

        self._change(key_id, ended)
        return new, text

    def _change(self, key_id: str, changed: Callable[[Key], Key]) -> Key:
        for _ in range(_ATTEMPTS):
            key = self.get(key_id)
            after = changed(key)
            if self._records.swap(_RECORDS + key_id, _packed(after), expected=_packed(key)):
                self._cache.pop(key_id, None)
                return after
        raise ConflictError(f"the key {key_id!r} changed {_ATTEMPTS} times meanwhile; repeat")

    def _remember(self, key: Key) -> None:
        if len(self._cache) >= _MOST_CACHED:
            self._cache.clear()
        self._cache[key.id] = (time.monotonic() + self._cache_seconds, key)

    def _read(self, key_id: str) -> Key | None:
        data = self._records.get(_RECORDS + key_id)
        if data is None:
            return None
        try:
            fields: dict[str, Any] = json.loads(data)
            return Key(**{**fields, "scopes": tuple(fields["scopes"])})
        except (ValueError, TypeError, KeyError) as error:
            raise StoreCorruptError(f"the record of key {key_id!r} is damaged: {error}") from error


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _packed(key: Key) -> bytes:
    return json.dumps(asdict(key), sort_keys=True).encode()
