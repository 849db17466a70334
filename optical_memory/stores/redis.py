"""A store on a Redis server or cluster (plain Redis 6.2 or newer, no modules), for agents on many machines."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from optical_memory.errors import InputError, StoreUnavailableError
from optical_memory.stores import record, redis_scripts, redis_server
from optical_memory.stores.appends import Append, Result
from optical_memory.stores.base import Head, State
from optical_memory.stores.codec import PLAIN, Codec, Coder
from optical_memory.stores.index import Mirror
from optical_memory.stores.redis_appends import Appends, head_of
from optical_memory.stores.redis_names import DEFAULT_PREFIX, Keys, Names, Unpurged, chunks
from optical_memory.stores.redis_purging import Purging
from optical_memory.stores.redis_url import parse_redis_url
from optical_memory.turns import Turn

_log = logging.getLogger(__name__)
_MOST_REPLY_BYTES = 8 << 20
_MOST_PLACES = 5_000
_LAST = 1 << 52  # Lua counts in doubles


class RedisStore:
    """Sessions on the Redis at ``url`` (:mod:`optical_memory.stores.redis_url`); a cluster is recognised.

    ``timeout`` is in seconds for each reply. ``durability`` says what the server's settings promise; where that is
    nothing, a warning is logged. Searching reads a session's turns into an index in this process's memory, once,
    and then only what is new. All keys begin with ``key_prefix``, which may stand in the URL instead
    (``?prefix=memory``; default "om"): stores with different ones share a server and do not see each other.
    """

    def __init__(self, url: str, *, timeout: float = 10.0, key_prefix: str | None = None, codec: Codec = PLAIN) -> None:
        self._url = parse_redis_url(url)
        prefix = self._url.prefix
        if prefix is not None and key_prefix is not None and prefix != key_prefix:
            raise InputError(f"two key prefixes: {key_prefix!r}, and {prefix!r} in the URL")
        self._timeout = timeout
        given = prefix if key_prefix is None else key_prefix
        self._keys = Keys(DEFAULT_PREFIX if given is None else given)
        self._names = Names(self._keys, self._use)
        self._unpurged = Unpurged(self._keys, self._use)
        self._purging = Purging(self._ask_to_purge)
        self._coder = Coder(codec)
        self._appends = Appends(url=self._url, keys=self._keys, names=self._names, coder=self._coder, use=self._use)
        self._client: Any = redis_server.connect(self._url, timeout)
        self._mirror = Mirror()
        self._durability = ""
        try:
            if not self.check():
                _log.warning("what is stored in this Redis may be lost: %s", self._durability)
            self._finish_purges()
        except BaseException:
            self.close()
            raise

    @property
    def durability(self) -> str:
        """What a write that returned survives, by the server's settings when they were last checked."""
        return self._durability

    def check(self) -> bool:
        """Read the server's settings again and return whether writes outlive it."""
        with self._use() as client:
            lasts, self._durability = redis_server.durability(client)
        return lasts

    def append(self, session: str, turns: Sequence[Turn], *, expected: Head | None = None) -> list[Turn]:
        """Store turns atomically, in order; see the protocol."""
        record.name("session id", session)
        if not turns:
            return []
        (found,) = self.append_all([Append(session=session, turns=turns, expected=expected)])
        if isinstance(found, Exception):
            raise found
        return list(found.turns)

    def append_all(self, appends: Sequence[Append]) -> list[Result]:
        """Do many appends in one round trip; see :class:`optical_memory.stores.appends.GroupStore`."""
        return self._appends.send(appends)

    def turns(
        self, session: str, *, after: int = -1, before: int | None = None, limit: int | None = None
    ) -> list[Turn]:
        """Return turns with ``after < seq < before`` in order, at most ``limit`` of them."""
        return list(self._turns(session, after, before, limit))

    def get(self, session: str, turn_ids: Sequence[str]) -> list[Turn]:
        """Return the turns with these ids that exist, in the session's order."""
        found: dict[int, Turn] = {}
        for names in chunks(sorted({record.name("turn id", turn_id) for turn_id in turn_ids})):
            found |= self._decoded(session, self._eval(session, redis_scripts.GET, ("ids", "turns"), *names))
        return [found[seq] for seq in sorted(found)]

    def head(self, session: str) -> Head:
        """Return where the session stands, in one round trip."""
        return head_of(self._eval(session, redis_scripts.HEAD, ("meta", "ids", "forgotten")))

    def count(self, session: str) -> int:
        """Return the number of turns stored now."""
        return int(self._call("hlen", self._keys.of(session)["turns"]))

    def search(self, session: str, query: str, k: int) -> list[Turn]:
        """Return at most ``k`` turns ranked by relevance to words of ``query``, best first, any language."""
        places = self._mirror.search(self, session, query, k)
        bodies = self._call("hmget", self._keys.of(session)["turns"], places) if places else []
        found = zip(places, bodies, strict=True)
        return [self._coder.turn(session, body, seq) for seq, body in found if body is not None]

    def forgotten(self, session: str) -> dict[int, str]:
        """Return the ids of forgotten turns by their places, in order."""
        found = self._call("hgetall", self._keys.of(session)["forgotten"])
        return {
            seq: record.unpack(turn_id)
            for seq, turn_id in sorted((record.number(key), value) for key, value in found.items())
        }

    def load_state(self, session: str) -> State | None:
        """Return the state, or None where none was saved."""
        version, data = self._call("hmget", self._keys.of(session)["meta"], ["version", "state"])
        if version is None:
            return None
        return State(version=record.number(version), data=self._coder.decode("state", session, "", data))

    def save_state(self, session: str, data: bytes, *, expected: int, birth: str | None = None) -> State:
        """Replace the state if its version and the session's birth are these; see the protocol."""
        coded = self._coder.encode("state", session, "", data)
        fields = [expected, coded, uuid.uuid4().hex, *([] if birth is None else [record.pack(birth)])]
        made, *held = self._make(session, redis_scripts.SAVE_STATE, ("meta", "ids", "forgotten"), *fields)
        head = head_of(held)
        if made < 0:
            record.check_state(session, head, expected, birth)
        return State(version=head.version, data=bytes(data))

    def get_blob(self, session: str, key: str) -> bytes | None:
        """Return a cached blob (a page, a layout), or None."""
        found = self._call("hget", self._keys.of(session)["blobs"], record.name("blob key", key))
        return None if found is None else self._coder.decode("blob", session, key, found)

    def blob_keys(self, session: str) -> list[str]:
        """Return the keys of all blobs, sorted."""
        return sorted(map(record.unpack, self._call("hkeys", self._keys.of(session)["blobs"])))

    def put_blobs(self, session: str, blobs: dict[str, bytes]) -> None:
        """Cache blobs. Losing them costs time only."""
        record.name("session id", session)
        pairs = [
            (record.name("blob key", key), self._coder.encode("blob", session, key, data))
            for key, data in blobs.items()
        ]
        for pair in pairs:
            self._make(session, redis_scripts.PUT_BLOBS, ("meta", "blobs"), *pair)

    def delete_blobs(self, session: str, keys: Sequence[str] | None = None) -> int:
        """Delete these blobs (None: all) and return how many there were."""
        if keys is None:
            return int(self._eval(session, redis_scripts.DELETE_ALL, ("blobs",)))
        names = [record.name("blob key", key) for key in keys]
        return sum(int(self._call("hdel", self._keys.of(session)["blobs"], *some)) for some in chunks(names))

    def delete_turns(self, session: str, turn_ids: Sequence[str]) -> int:
        """Really delete turns; see the protocol. The server rewrites its files in the background."""
        names = [record.name("turn id", turn_id) for turn_id in turn_ids]
        places: list[int] = []
        self._unpurged.mark(session)
        for some in chunks(names):
            places += self._write(session, redis_scripts.DELETE_TURNS, ("ids", "turns", "forgotten"), *some)
        self._mirror.forget(session, places)
        self._purge(session)
        return len(places)

    def delete_session(self, session: str) -> int:
        """Really delete a session; see the protocol. The server rewrites its files in the background."""
        keys = ("turns", "meta", "ids", "forgotten", "blobs")
        record.name("session id", session)
        self._unpurged.mark(session)
        count = int(self._write(session, redis_scripts.DELETE_ALL, keys))
        self._names.remove(session)
        self._mirror.drop(session)
        self._purge(session)
        return count

    def sessions(self, prefix: str = "", after: str = "", limit: int | None = None) -> list[str]:
        """Return ids of sessions, sorted; see the protocol."""
        return self._names.page(prefix, after, limit)

    def close(self) -> None:
        """Release connections. A closed store raises StoreUnavailableError."""
        if self._client is not None:
            self._purging.close(self._timeout)
        client, self._client = self._client, None
        if client is not None:
            redis_server.disconnect(client)
            self._mirror.close()

    def _turns(self, session: str, after: int, before: int | None, limit: int | None) -> Iterator[Turn]:
        place = min(max(after + 1, 0), _LAST)
        stop = _LAST if before is None else max(min(before, _LAST), 0)
        left = _LAST if limit is None else min(max(limit, 0), _LAST)
        while left and place < stop:
            bounds = (place, stop, left, _MOST_REPLY_BYTES, _MOST_PLACES)
            place, stop, *pairs = self._eval(session, redis_scripts.RANGE, ("ids", "turns"), *bounds)
            yield from self._decoded(session, pairs).values()
            left -= len(pairs) // 2

    def _make(self, session: str, script: str, parts: tuple[str, ...], *fields: Any) -> Any:
        """Run a script that makes the session if it is not there, and list it among the sessions.

        It is listed before, so that a crash leaves no session unlisted (:meth:`sessions` leaves out the names of
        none), and again once it was made, since it may have been deleted, and unlisted, in between.
        """
        self._names.expect(session)
        reply = self._write(session, script, parts, uuid.uuid4().bytes, *fields)
        if reply[0] == 1:
            self._names.add(session)
        return reply

    def _decoded(self, session: str, pairs: Sequence[Any]) -> dict[int, Turn]:
        found = zip(pairs[::2], pairs[1::2], strict=True)
        return {seq: self._coder.turn(session, body, seq) for seq, body in found}

    def _purge(self, session: str) -> None:
        """Ask for new files, now or, where the server still writes some, as soon as it can be asked."""
        self._purging.add(self._ask_to_purge([session]))

    def _ask_to_purge(self, sessions: Sequence[str]) -> list[str]:
        """Ask the servers of sessions, each once; return the sessions of those that must be asked again."""
        left: list[str] = []
        with self._use() as client:
            metas = {session: self._keys.of(session)["meta"] for session in sessions}
            for together in redis_server.by_node(client, metas):
                if redis_server.purge(client, metas[together[0]]):
                    self._unpurged.clear(together)
                else:
                    left += together
        return left

    def _finish_purges(self) -> None:
        """Ask for what a process could not ask any more that was killed after it had deleted."""
        try:
            self._purging.add(self._ask_to_purge(self._unpurged.left()))
        except StoreUnavailableError as error:
            _log.warning("the files of this Redis may keep deleted text until they are rewritten: %s", error)

    def _eval(self, session: str, script: str, parts: tuple[str, ...], *fields: Any) -> Any:
        keys = self._keys.of(session)
        return self._call("eval", script, len(parts), *(keys[part] for part in parts), *fields)

    def _write(self, session: str, script: str, parts: tuple[str, ...], *fields: Any) -> Any:
        """Run a script that writes, and return its reply once as many replicas have it as the URL asks for."""
        keys = self._keys.of(session)
        command = ("EVAL", script, len(parts), *(keys[part] for part in parts), *fields)
        with self._use() as client:
            return redis_server.written(client, command, replicas=self._url.replicas)

    def _call(self, command: str, *arguments: Any) -> Any:
        with self._use() as client:
            return getattr(client, command)(*arguments)

    @contextmanager
    def _use(self) -> Iterator[Any]:
        if self._client is None:
            raise StoreUnavailableError("the Redis store is closed")
        with redis_server.errors(self._url):
            yield self._client
