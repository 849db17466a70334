"""Encryption at rest: each tenant's values under data keys of its own, which a master key wraps.

A stored value is a version byte, the number of its data key (4 bytes), a nonce (12 bytes) and AES-256-GCM text. Its
kind, session (with the tenant) and name are bound to it as associated data. A tenant's keys are one record; destroying
them leaves a mark in its place, so that nothing is written under new keys by mistake and reading says what happened.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from optical_memory.errors import ConflictError, KeyLostError, StoreCorruptError
from optical_memory.service.master import KEY_BYTES, NONCE_BYTES, MasterKey
from optical_memory.service.records import Records
from optical_memory.stores import record
from optical_memory.stores.codec import Kind
from optical_memory.stores.scoped import check_scope, split_id

CACHE_SECONDS = 5.0
"""How long a replica works with a tenant's keys before it reads again whether they are still there."""
MOST_TENANTS = 1_000
"""Most tenants whose keys a replica holds at a time."""
_VERSION = 1
_NUMBER_BYTES = 4
_HEADER = 1 + _NUMBER_BYTES
_ATTEMPTS = 8
_RECORDS = "data-key/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    """A tenant's record: its data keys by number and its fingerprint key, wrapped; or when they were destroyed."""

    keys: tuple[bytes, ...] = ()
    fingerprint: bytes = b""
    destroyed_at: float | None = None

    def pack(self) -> bytes:
        """Return it as bytes."""
        fields = {
            "keys": [base64.b64encode(key).decode() for key in self.keys],
            "fingerprint": base64.b64encode(self.fingerprint).decode(),
            "destroyed_at": self.destroyed_at,
        }
        return json.dumps(fields).encode()

    @classmethod
    def unpack(cls, data: bytes, tenant: str) -> Wrapped:
        """Return what :meth:`pack` packed. Raises StoreCorruptError."""
        try:
            fields: dict[str, Any] = json.loads(data)
            keys = tuple(base64.b64decode(key, validate=True) for key in fields["keys"])
            fingerprint = base64.b64decode(fields["fingerprint"], validate=True)
            return cls(keys=keys, fingerprint=fingerprint, destroyed_at=fields["destroyed_at"])
        except (ValueError, TypeError, KeyError) as error:
            raise StoreCorruptError(f"the record of the data keys of {tenant!r} is damaged: {error}") from error


@dataclass(frozen=True, slots=True)
class _Open:
    record: bytes
    ciphers: tuple[AESGCM, ...]
    fingerprint: bytes
    until: float


class TenantKeys:
    """The data keys of all tenants: made at first use, rotated, wrapped anew, destroyed. Safe for threads."""

    def __init__(self, records: Records, master: MasterKey, *, cache_seconds: float = CACHE_SECONDS) -> None:
        self._records, self._master, self._cache_seconds = records, master, cache_seconds
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._lock = threading.Lock()

    def newest(self, tenant: str) -> tuple[int, AESGCM]:
        """Return the number and the cipher of a tenant's newest key, made if it has none. Raises KeyLostError."""
        ciphers = self._of(tenant).ciphers
        return len(ciphers) - 1, ciphers[-1]

    def cipher(self, tenant: str, number: int) -> AESGCM:
        """Return the cipher of a tenant's key. Raises KeyLostError where there is none of this number."""
        ciphers = self._of(tenant, make=False).ciphers
        if number >= len(ciphers):  # another replica rotated: read again
            ciphers = self._of(tenant, make=False, fresh=True).ciphers
        if number >= len(ciphers):
            raise KeyLostError(f"data key {number} of tenant {tenant!r} is not in the store, which has {len(ciphers)}")
        return ciphers[number]

    def fingerprint(self, tenant: str) -> bytes:
        """Return the key of a tenant's fingerprints, which never changes. Raises KeyLostError."""
        return self._of(tenant).fingerprint

    def rotate(self, tenant: str) -> int:
        """Make a new data key, under which all is written from now on, and return its number; old ones still read.

        Other replicas write under it within ``cache_seconds``. Raises KeyLostError, ConflictError.
        """

        def rotated(held: Wrapped) -> Wrapped:
            number = len(held.keys)
            return replace(held, keys=(*held.keys, self._wrapped(tenant, str(number), secrets.token_bytes(KEY_BYTES))))

        self._of(tenant)
        return len(self._change(tenant, rotated).keys) - 1

    def rewrap(self) -> int:
        """Wrap under the newest master key what is wrapped under an older one; return how many tenants that were.

        Afterwards the older one is not needed any more. Raises KeyLostError, ConflictError.
        """
        count = 0
        for name in self._records.names(_RECORDS):
            tenant = name.removeprefix(_RECORDS)
            _, held = self._read(tenant)
            wrapped = (*held.keys, held.fingerprint)
            if held.destroyed_at is None and not all(self._master.is_current(key) for key in wrapped):
                self._change(tenant, partial(self._anew, tenant))
                count += 1
        return count

    def check(self) -> int:
        """Unwrap the data keys of every tenant, and return how many tenants that were. Raises KeyLostError."""
        count = 0
        for name in self._records.names(_RECORDS):
            tenant = name.removeprefix(_RECORDS)
            data, held = self._read(tenant)
            if data is not None and held.destroyed_at is None:
                self._unwrapped(tenant, data, None)
                count += 1
        return count

    def destroy(self, tenant: str) -> float:
        """Destroy a tenant's keys, and with them all that it stored; return when, in seconds since 1970.

        Other replicas follow within ``cache_seconds``. Backups of the store that hold the wrapped keys can still be
        read with the master key. What was destroyed stays so: a second call returns the first time.
        """
        now = time.time()
        check_scope(tenant)
        gone = self._change(tenant, lambda held: Wrapped(destroyed_at=now), lost=True)
        self._records.scrub(_RECORDS + tenant)
        return gone.destroyed_at or now

    def destroyed_at(self, tenant: str) -> float | None:
        """Return when a tenant's keys were destroyed, or None."""
        return self._read(tenant)[1].destroyed_at

    def _of(self, tenant: str, *, make: bool = True, fresh: bool = False) -> _Open:
        with self._lock:
            held = self._open.get(tenant)
            if held is not None and not fresh and held.until > time.monotonic():
                self._open.move_to_end(tenant)
                return held
        data = self._records.get(_RECORDS + tenant)
        if data is None:
            if held is not None or not make:
                raise KeyLostError(f"the data keys of tenant {tenant!r} are not in the store")
            data = self._made(tenant)
        opened = self._unwrapped(tenant, data, held)
        with self._lock:
            self._open[tenant] = opened
            while len(self._open) > MOST_TENANTS:
                self._open.popitem(last=False)
        return opened

    def _unwrapped(self, tenant: str, data: bytes, held: _Open | None) -> _Open:
        until = time.monotonic() + self._cache_seconds
        if held is not None and held.record == data:
            return replace(held, until=until)
        found = Wrapped.unpack(data, tenant)
        if found.destroyed_at is not None:
            self._forget(tenant)
            raise KeyLostError(f"the data keys of tenant {tenant!r} were destroyed, and its data with them")
        unwrapped = [self._unwrap(tenant, str(number), key) for number, key in enumerate(found.keys)]
        fingerprint = self._unwrap(tenant, "fingerprint", found.fingerprint)
        return _Open(data, tuple(AESGCM(key) for key in unwrapped), fingerprint, until)

    def _made(self, tenant: str) -> bytes:
        """Make the first keys of a tenant, unless another replica was faster, and return its record."""
        first, fingerprint = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_BYTES)
        fresh = Wrapped(
            keys=(self._wrapped(tenant, "0", first),), fingerprint=self._wrapped(tenant, "fingerprint", fingerprint)
        )
        self._records.swap(_RECORDS + tenant, fresh.pack(), expected=None)
        data = self._records.get(_RECORDS + tenant)
        if data is None:
            raise KeyLostError(f"the data keys of tenant {tenant!r} vanished as they were made")
        return data

    def _read(self, tenant: str) -> tuple[bytes | None, Wrapped]:
        data = self._records.get(_RECORDS + tenant)
        return data, Wrapped() if data is None else Wrapped.unpack(data, tenant)

    def _change(self, tenant: str, changed: Callable[[Wrapped], Wrapped], *, lost: bool = False) -> Wrapped:
        for _ in range(_ATTEMPTS):
            data, held = self._read(tenant)
            if held.destroyed_at is not None:
                if lost:
                    return held
                raise KeyLostError(f"the data keys of tenant {tenant!r} were destroyed, and its data with them")
            after = changed(held)
            if self._records.swap(_RECORDS + tenant, after.pack(), expected=data):
                self._forget(tenant)
                return after
        raise ConflictError(f"the data keys of {tenant!r} changed {_ATTEMPTS} times meanwhile; repeat")

    def _anew(self, tenant: str, held: Wrapped) -> Wrapped:
        def anew(part: str, key: bytes) -> bytes:
            return self._wrapped(tenant, part, self._unwrap(tenant, part, key))

        keys = tuple(anew(str(number), key) for number, key in enumerate(held.keys))
        return Wrapped(keys=keys, fingerprint=anew("fingerprint", held.fingerprint))

    def _wrapped(self, tenant: str, part: str, key: bytes) -> bytes:
        return self._master.wrap(key, _bound("data key", tenant, part))

    def _unwrap(self, tenant: str, part: str, key: bytes) -> bytes:
        return self._master.unwrap(key, _bound("data key", tenant, part))

    def _forget(self, tenant: str) -> None:
        with self._lock:
            self._open.pop(tenant, None)


class EncryptingCodec:
    """A store's codec that encrypts each value under its tenant's newest data key. The store is used through scopes."""

    searchable = False

    def __init__(self, keys: TenantKeys) -> None:
        self._keys = keys

    def encode(self, kind: Kind, session: str, name: str, data: bytes) -> bytes:
        """Return ``data`` encrypted. Raises KeyLostError."""
        number, cipher = self._keys.newest(split_id(session)[0])
        header, nonce = bytes([_VERSION]) + number.to_bytes(_NUMBER_BYTES, "big"), os.urandom(NONCE_BYTES)
        return header + nonce + cipher.encrypt(nonce, data, header + _bound(kind, session, name))

    def decode(self, kind: Kind, session: str, name: str, data: bytes) -> bytes:
        """Return what was encrypted. Raises KeyLostError, StoreCorruptError for a value that was changed or moved."""
        tenant = split_id(session)[0]
        what = f"the {kind} {name!r} of session {session!r}" if name else f"the {kind} of session {session!r}"
        header, nonce, sealed = data[:_HEADER], data[_HEADER : _HEADER + NONCE_BYTES], data[_HEADER + NONCE_BYTES :]
        if len(header) < _HEADER or header[0] != _VERSION:
            raise StoreCorruptError(f"{what} is not encrypted as this version does; copy the session to a new store")
        cipher = self._keys.cipher(tenant, int.from_bytes(header[1:], "big"))
        try:
            return cipher.decrypt(nonce, sealed, header + _bound(kind, session, name))
        except (InvalidTag, ValueError) as error:
            raise StoreCorruptError(f"{what} is damaged: it was changed, or moved from another place") from error

    def fingerprint(self, session: str, name: str, digest: bytes) -> bytes:
        """Return an HMAC-SHA-256 of the digest under the tenant's fingerprint key. Raises KeyLostError."""
        key = self._keys.fingerprint(split_id(session)[0])
        return hmac.digest(key, _bound("digest", session, name) + digest, hashlib.sha256)


def _bound(*parts: str) -> bytes:
    """Join texts so that no two lists of them give the same bytes."""
    return b"".join(b"%d:%s" % (len(packed), packed) for packed in map(record.pack, parts))
