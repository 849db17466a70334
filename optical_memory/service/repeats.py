"""Requests sent twice: the first answer is kept under the caller's Idempotency-Key and given again.

Turns are safe without it as well: their ids are made from the key, so the store itself knows them again, also where the
service died between storing them and keeping the answer. Of a list that is followed it is remembered what was about to
change, so that a request sent again takes over what was begun.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import Header, Response

from optical_memory.context.takeover import Begun
from optical_memory.errors import StoreCorruptError
from optical_memory.service.access import Caller
from optical_memory.service.answers import answer
from optical_memory.service.records import answer_kept, keep_answer
from optical_memory.stores.appends import Once
from optical_memory.stores.base import Head
from optical_memory.stores.record import pack
from optical_memory.stores.scoped import scoped_id

KEY_CHARACTERS = 255
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=KEY_CHARACTERS,
        pattern=r"^[\x21-\x7e]+$",
        description="Names this request: sent again with the same body, it is done once and answered alike.",
    ),
]
REPLAYED = "Idempotency-Replayed"
_BEGUN = b"begun "
"""What stands in an answer's place while a list is followed, then what was about to change."""


def repeated(before: bytes, *, status: int = 200) -> Response:
    """Return an answer that was given before, once more."""
    response = answer(before, status=status, revision=json.loads(before)["revision"])
    response.headers[REPLAYED] = "true"
    return response


@dataclass(frozen=True, slots=True)
class Repeat:
    """One request to one session of a caller, by its Idempotency-Key."""

    caller: Caller
    session: str
    name: str
    digest: str

    @classmethod
    def of(cls, caller: Caller, session: str, action: str, key: str, body: Any) -> Repeat:
        """Return the request; what is kept of its body is a digest, keyed where the store encrypts."""
        scoped = scoped_id(caller.tenant, session)
        name = "repeat/" + hashlib.sha256(pack(f"{scoped}\0{action}\0{key}")).hexdigest()
        plain = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
        codec = caller.engine.codec
        return cls(
            caller, session, name, (codec.fingerprint(scoped, name, plain) if codec is not None else plain).hex()
        )

    def turn_id(self, place: int) -> str:
        """Return the id of the turn at a place of the request."""
        return f"k{self.name.removeprefix('repeat/')[:40]}-{place}"

    @property
    def once(self) -> Once:
        """The request as a store that takes appends together knows it."""
        seconds = self.caller.engine.settings.repeat_seconds
        return Once(name=self.name.removeprefix("repeat/"), digest=self.digest, seconds=seconds)

    def answer(self) -> bytes | None:
        """Return the answer that was given before, or None. Raises RepeatError where the body was another one."""
        kept = self._kept()
        return None if kept is None or kept.startswith(_BEGUN) else kept

    def keep(self, answer: bytes) -> None:
        """Keep an answer."""
        engine = self.caller.engine
        keep_answer(engine.records, self.name, self.digest, answer, seconds=engine.settings.repeat_seconds)

    def read(self) -> Begun | None:
        """Return what an earlier try was about to change, or None."""
        kept = self._kept()
        if kept is None or not kept.startswith(_BEGUN):
            return None
        try:
            figures = json.loads(kept.removeprefix(_BEGUN))
            return Begun(**{**figures, "head": Head(**figures["head"])})
        except (ValueError, TypeError, KeyError) as error:
            raise StoreCorruptError(f"what was begun under an Idempotency-Key is damaged: {error}") from error

    def write(self, begun: Begun) -> None:
        """Keep what is about to change until the answer takes its place."""
        self.keep(_BEGUN + json.dumps(asdict(begun)).encode())

    def _kept(self) -> bytes | None:
        return answer_kept(self.caller.engine.records, self.name, self.digest)
