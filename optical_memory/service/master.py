"""Master keys: what wraps the tenants' data keys. From a file, the environment, or a key service behind a hook."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from optical_memory.errors import InputError, KeyLostError, MissingExtraError, StoreUnavailableError

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError as error:
    raise MissingExtraError("cryptography", "service") from error

KEY_BYTES = 32
"""AES-256."""
NONCE_BYTES = 12
_ID_BYTES = 8


class MasterKey(Protocol):
    """Wraps and unwraps data keys: the shape of a key service (KMS). Safe for threads.

    ``context`` is what the data key belongs to; it must be the same both times.
    """

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Return a data key wrapped. Raises StoreUnavailableError where the service cannot be reached."""

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return a data key. Raises KeyLostError where no master key opens it, StoreUnavailableError."""

    def is_current(self, wrapped: bytes) -> bool:
        """Whether it was wrapped under the newest master key."""


class LocalMasterKey:
    """Master keys in this process's memory: the first wraps, all of them unwrap.

    What is wrapped is the key's id (8 bytes of its SHA-256), a nonce and the ciphertext of AES-256-GCM.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise InputError(f"a master key has {KEY_BYTES} bytes; make one with `optical-memory keys master`")
        self._keys = {_id(key): AESGCM(key) for key in keys}
        self._first = _id(keys[0])

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Return a data key wrapped under the first master key."""
        nonce = os.urandom(NONCE_BYTES)
        return self._first + nonce + self._keys[self._first].encrypt(nonce, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return a data key. Raises KeyLostError."""
        cipher = self._keys.get(wrapped[:_ID_BYTES])
        if cipher is None:
            raise KeyLostError(
                f"a data key is wrapped under the master key {wrapped[:_ID_BYTES].hex()}, which is not at hand;"
                " put it back, below the new one"
            )
        nonce, sealed = wrapped[_ID_BYTES : _ID_BYTES + NONCE_BYTES], wrapped[_ID_BYTES + NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, sealed, context)
        except (InvalidTag, ValueError) as error:
            raise KeyLostError("a wrapped data key is damaged, or belongs to another tenant") from error

    def is_current(self, wrapped: bytes) -> bool:
        """Whether it was wrapped under the first master key."""
        return wrapped[:_ID_BYTES] == self._first


def new_master_key() -> str:
    """Return a new master key as text."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def parse_master_keys(text: str) -> LocalMasterKey:
    """Return the master keys of a text: base64, one a line or separated by spaces, the newest first.

    Lines that begin with "#" are comments. Raises InputError, which does not say what the text was.
    """
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    try:
        keys = [base64.b64decode(word, validate=True) for line in lines for word in line.split()]
    except (binascii.Error, ValueError) as error:
        raise InputError("a master key is base64; make one with `optical-memory keys master`") from error
    return LocalMasterKey(keys)


def read_master_keys(path: str | os.PathLike[str]) -> LocalMasterKey:
    """Return the master keys of a file that its owner alone may read.

    Raises InputError for a file that others may read or that holds no keys, StoreUnavailableError.
    """
    file = Path(path)
    try:
        mode = file.stat().st_mode
        text = file.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreUnavailableError(f"cannot read the master key file {str(file)!r}: {error}") from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputError(f"others may read the master key file {str(file)!r}: run chmod 600 {file}")
    return parse_master_keys(text)


def _id(key: bytes) -> bytes:
    return hashlib.sha256(b"optical-memory master key" + key).digest()[:_ID_BYTES]
