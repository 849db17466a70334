"""Logins: a browser that showed a key holds an opaque token instead; the store keeps the token's hash until it ends.

A login is good for as long as its key: revoking the key ends it, on every replica within the time for which keys are
believed. A link logs in once: its token is short-lived, and whoever comes second is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass

from optical_memory.errors import AccessError, StoreCorruptError
from optical_memory.service.keys import Key, Keyring
from optical_memory.service.records import Records

LINK_SECONDS = 600.0
"""How long a link may be used."""
MOST_CHARACTERS = 200
_LOGIN, _LINK = "login/", "login-link/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A browser that is logged in: its key, and the token that changes must carry beside the cookie."""

    key: Key
    csrf: str


class Logins:
    """Begins, finds and ends logins of ``seconds``. Safe for threads and for many replicas."""

    def __init__(self, records: Records, keyring: Keyring, *, seconds: float) -> None:
        self._records, self._keyring, self.seconds = records, keyring, seconds

    def begin(self, key: Key) -> str:
        """Return the token of a new login, which is nowhere kept."""
        token = secrets.token_urlsafe(32)
        self._records.put(_name(_LOGIN, token), json.dumps({"key": key.id}).encode(), seconds=self.seconds)
        return token

    def find(self, token: str) -> Login:
        """Return the login of a token. Raises AccessError where it ended, or its key did."""
        return Login(key=self._keyring.current(self._key_id(_LOGIN, token)), csrf=csrf_of(token))

    def end(self, token: str) -> None:
        """End a login, on every replica."""
        self._records.put(_name(_LOGIN, token), b"", seconds=1.0)

    def link(self, key: Key) -> str:
        """Return a token that :meth:`follow` takes once."""
        token = secrets.token_urlsafe(32)
        self._records.put(_name(_LINK, token), json.dumps({"key": key.id}).encode(), seconds=LINK_SECONDS)
        return token

    def follow(self, token: str) -> str:
        """Begin a login by a link's token. Raises AccessError for one that was used or is too old."""
        key = self._keyring.current(self._key_id(_LINK, token))
        if self._records.count(f"{_name(_LINK, token)}/used", 1, seconds=2 * LINK_SECONDS) != 1:
            raise AccessError("this link was used before; log in with a key")
        return self.begin(key)

    def _key_id(self, kind: str, token: str) -> str:
        held = self._records.get(_name(kind, token)) if len(token) <= MOST_CHARACTERS else None
        if not held:
            raise AccessError("this login has ended; log in again")
        try:
            return str(json.loads(held)["key"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreCorruptError(f"the record of a login is damaged: {error}") from error


def csrf_of(token: str) -> str:
    """Return what changes must carry in a header: it follows from the cookie, and the cookie not from it."""
    return hmac.new(token.encode("utf-8", "surrogatepass"), b"csrf", hashlib.sha256).hexdigest()


def _name(kind: str, token: str) -> str:
    return kind + hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
