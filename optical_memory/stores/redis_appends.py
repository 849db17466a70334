"""Appends to a Redis store, many in one round trip: each is one script, so atomic for itself."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from optical_memory.errors import (
    ConflictError,
    DuplicateTurnError,
    OpticalMemoryError,
    RepeatError,
    StoreCorruptError,
    StoreUnavailableError,
)
from optical_memory.stores import record, redis_scripts, redis_server
from optical_memory.stores.appends import Append, Appended, Result
from optical_memory.stores.base import Head
from optical_memory.stores.codec import Coder
from optical_memory.stores.redis_names import Keys, Names
from optical_memory.stores.redis_url import RedisUrl
from optical_memory.turns import Turn

_PARTS = ("meta", "ids", "turns", "forgotten")


@dataclass(frozen=True, slots=True, kw_only=True)
class Appends:
    """Sends appends of a store together and reads what the server says of each."""

    url: RedisUrl
    keys: Keys
    names: Names
    coder: Coder
    use: Callable[[], AbstractContextManager[Any]]

    def send(self, appends: Sequence[Append]) -> list[Result]:
        """Do appends in order and return what became of each; errors of the connection are those of all."""
        coded = [self._coded(append) for append in appends]
        sent = [(append, made) for append, made in zip(appends, coded, strict=True) if not isinstance(made, Exception)]
        try:
            answers = iter(self._answers(sent))
        except (StoreUnavailableError, StoreCorruptError) as error:
            return [made if isinstance(made, Exception) else error for made in coded]
        return [made if isinstance(made, Exception) else next(answers) for made in coded]

    def _coded(self, append: Append) -> dict[str, record.Record] | Exception:
        try:
            record.name("session id", append.session)
            return self.coder.records(append.session, append.turns)
        except Exception as error:  # also one that nobody expected spoils its own append alone
            return error

    def _answers(self, sent: Sequence[tuple[Append, dict[str, record.Record]]]) -> list[Result]:
        """List the sessions, append, and list again those that were made: see ``RedisStore._make``."""
        if not sent:
            return []
        self.names.expect_all([append.session for append, _ in sent])
        commands = [self._command(append, records) for append, records in sent]
        with self.use() as client:
            replies = redis_server.together(client, commands, replicas=self.url.replicas)
        answers = [self._answer(*one, reply) for one, reply in zip(sent, replies, strict=True)]
        made = [
            append.session
            for (append, _), reply in zip(sent, replies, strict=True)
            if isinstance(reply, list) and reply[:2] == [b"stored", 1]
        ]
        if made:
            self.names.add_all(made)
        return answers

    def _command(self, append: Append, records: dict[str, record.Record]) -> tuple[Any, ...]:
        keys = self.keys.of(append.session)
        names = [keys[part] for part in _PARTS]
        stamps: tuple[Any, ...] = (stamp(append.expected), uuid.uuid4().hex) if append.expected else ("", "")
        once: tuple[Any, ...] = ("", 0, "")
        if append.once is not None:
            names.append(self.keys.once(append.session, append.once.name))
            times = json.dumps([turn.created_at for turn in append.turns])
            once = (append.once.digest, max(int(append.once.seconds * 1_000), 1), times)
        fields = [part for found in records.values() for part in (found.id, found.digest.hex(), found.body)]
        return ("EVAL", redis_scripts.APPEND, len(names), *names, uuid.uuid4().bytes, *stamps, *once, *fields)

    def _answer(self, append: Append, records: dict[str, record.Record], reply: Any) -> Result:
        try:
            if isinstance(reply, Exception):
                with redis_server.errors(self.url):
                    raise reply
            if reply[0] == b"stored":
                return self._stored(append, records, reply[1:])
            if reply[0] == b"before":
                return _before(append, reply[1])
            return _refused(append.session, reply)
        except OpticalMemoryError as error:
            return error

    def _stored(self, append: Append, records: dict[str, record.Record], reply: Sequence[Any]) -> Appended:
        made, head = reply[0] == 1, head_of(reply[1:5])
        places = dict(zip(records, zip(reply[5::2], reply[6::2], strict=True), strict=True))
        stored = {turn.id: turn for turn in reversed(append.turns)}
        fresh = []
        for turn_id, (seq, body) in places.items():
            if body is None:
                raise StoreCorruptError(f"the turn at {seq} of {append.session!r} is missing")
            held = self.coder.turn(append.session, body, seq) if body else replace(stored[turn_id], seq=seq)
            stored[turn_id] = held
            fresh += [] if body else [held]
        turns = tuple(stored[turn.id] for turn in append.turns)
        if append.once is not None and len(fresh) < len(places):
            self._correct(append, turns)
        return Appended(turns=turns, head=head, fresh=tuple(fresh), made=made)

    def _correct(self, append: Append, turns: Sequence[Turn]) -> None:
        """Remember the times of turns that were held already, rather than those that came."""
        assert append.once is not None
        key = self.keys.once(append.session, append.once.name)
        with self.use() as client:
            kept = client.get(key)
            if kept is not None:
                body = kept.partition(b"[")[0] + json.dumps([turn.created_at for turn in turns]).encode()
                client.set(key, body, px=max(int(append.once.seconds * 1_000), 1))


def _before(append: Append, kept: bytes) -> Appended:
    """Return the answer of the same request's first time, from what the script kept of it."""
    try:
        figures, bracket, times = kept.partition(b"[")
        birth, length, version, forgotten, *places = figures.decode().split()
        created = json.loads(bracket + times)
        by_id = dict(zip(dict.fromkeys(turn.id for turn in append.turns), map(int, places), strict=True))
        turns = tuple(
            replace(turn, seq=by_id[turn.id], created_at=float(when))
            for turn, when in zip(append.turns, created, strict=True)
        )
        head = Head(birth=birth, length=int(length), version=int(version), forgotten=int(forgotten))
    except ValueError as error:
        raise StoreCorruptError(f"an answer kept for {append.session!r} is damaged: {error}") from error
    return Appended(turns=turns, head=head, replayed=True)


def _refused(session: str, reply: Sequence[Any]) -> RepeatError | ConflictError | DuplicateTurnError:
    if reply[0] == b"other":
        return record.repeated()
    if reply[0] == b"moved":
        return record.moved(session)
    return record.taken(record.unpack(reply[1]), forgotten=reply[0] == b"forgotten")


def stamp(head: Head) -> bytes:
    """Return a head as the scripts compare it."""
    return b"=%s:%d:%d" % (bytes.fromhex(head.birth), head.length, head.version)


def head_of(reply: Sequence[Any]) -> Head:
    """Return the head that a script replied."""
    birth, length, version, forgotten = reply
    return Head(birth=(birth or b"").hex(), length=length, version=record.number(version or 0), forgotten=forgotten)
