"""A codec that encrypts, as the service's will: AES-GCM, keys that rotate, each value bound to where it belongs."""

from __future__ import annotations

import hashlib
import hmac
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class SealingCodec:
    """The last of ``keys`` seals; all of them open. A sealed value is its key's number, a nonce and the ciphertext."""

    searchable = False

    def __init__(self, *keys: bytes) -> None:
        self._keys = keys

    def encode(self, kind: str, session: str, name: str, data: bytes) -> bytes:
        number, nonce = len(self._keys) - 1, os.urandom(12)
        sealed = AESGCM(self._keys[number]).encrypt(nonce, data, _bound(kind, session, name))
        return bytes([number]) + nonce + sealed

    def decode(self, kind: str, session: str, name: str, data: bytes) -> bytes:
        return AESGCM(self._keys[data[0]]).decrypt(data[1:13], data[13:], _bound(kind, session, name))

    def fingerprint(self, session: str, name: str, digest: bytes) -> bytes:
        return hmac.digest(self._keys[0], _bound("digest", session, name) + digest, hashlib.sha256)


def _bound(*parts: str) -> bytes:
    return b"".join(b"%d:%s" % (len(packed), packed) for packed in (p.encode("utf-8", "surrogatepass") for p in parts))
