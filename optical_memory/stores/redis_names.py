"""The keys of a Redis store, the sorted list of its sessions, and those whose deletion was not finished."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any
from urllib.parse import quote

from optical_memory.errors import InputError
from optical_memory.stores import record, redis_scripts, redis_server

DEFAULT_PREFIX = "om"
MOST_NAMES = 1_000
"""Most names in one command."""
PATIENCE_SECONDS = 60.0
"""How long a deletion may take before another process takes it for cut off."""
_PREFIX = re.compile(r"[^{}\s]{1,64}")
_PARTS = ("meta", "ids", "turns", "forgotten", "blobs")
_MOST_LISTED = 10_000


class Keys:
    """The names of keys, all of which begin with ``prefix``: stores with different ones share a server unseen."""

    def __init__(self, prefix: str = DEFAULT_PREFIX) -> None:
        if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
            raise InputError(f"a key prefix is 1 to 64 characters without braces and spaces, not {prefix!r}")
        self.prefix = prefix
        self.sessions = f"{prefix}:names"
        self.unpurged = f"{prefix}:unpurged"
        self.unsorted = f"{prefix}:sessions"
        """The set that listed the sessions before they were kept sorted."""

    def of(self, session: str) -> dict[str, str]:
        """Return the keys of a session by part, all of one cluster slot.

        The session's id is the hash tag, escaped so that it is whole.
        """
        tag = quote(record.name("session id", session), safe="")
        return {part: f"{self.prefix}:{{{tag}}}:{part}" for part in _PARTS}

    def once(self, session: str, name: str) -> str:
        """Return the key of the answer to a request that adds to a session, in the session's slot."""
        return f"{self.of(session)['meta'].removesuffix('meta')}once:{name}"


class Names:
    """The sorted list of a store's sessions. A name in it may be that of a session that is not there."""

    def __init__(self, keys: Keys, use: Callable[[], AbstractContextManager[Any]]) -> None:
        self._keys = keys
        self._use = use
        self._listed: set[str] = set()

    def expect(self, session: str) -> None:
        """List a session that is about to be made, unless that was done before."""
        self.expect_all([session])

    def expect_all(self, sessions: Sequence[str]) -> None:
        """List sessions that are about to be made, but for those for which that was done before."""
        fresh = [session for session in dict.fromkeys(sessions) if session not in self._listed]
        if fresh:
            self.add_all(fresh)
            if len(self._listed) >= _MOST_LISTED:
                self._listed.clear()
            self._listed.update(fresh)

    def add(self, session: str) -> None:
        """List a session."""
        self.add_all([session])

    def add_all(self, sessions: Sequence[str]) -> None:
        """List sessions."""
        commands = [
            ("EVAL", redis_scripts.LIST, 1, self._keys.sessions, 0, record.pack(session)) for session in sessions
        ]
        with self._use() as client:
            for reply in redis_server.together(client, commands):
                if isinstance(reply, Exception):
                    raise reply

    def remove(self, session: str) -> None:
        """List a session no more, unless it was made again in between, by another process."""
        self._listed.discard(session)
        with self._use() as client:
            client.zrem(self._keys.sessions, record.pack(session))
            client.srem(self._keys.unsorted, record.pack(session))
            if client.hlen(self._keys.of(session)["meta"]):
                self.add(session)

    def page(self, prefix: str, after: str, limit: int | None) -> list[str]:
        """Return ids of sessions that are there, sorted; see the protocol."""
        span = record.span(prefix, after)
        if limit is not None and limit <= 0:
            return []
        with self._use() as client:
            self._sort(client)
            return list(islice(self._there(client, span, min(limit or MOST_NAMES, MOST_NAMES)), limit))

    def _there(self, client: Any, span: record.Span, step: int) -> Iterator[str]:
        """Yield the names of a span that are sessions', read ``step`` at a time."""
        start = (b"[" if span.inclusive else b"(") + span.first
        end = b"+" if span.end is None else b"(" + span.end
        while names := client.zrangebylex(self._keys.sessions, start, end, start=0, num=step):
            pipeline = client.pipeline(transaction=False)
            found = [record.unpack(name) for name in names]
            for session in found:
                pipeline.hlen(self._keys.of(session)["meta"])
            yield from (session for session, fields in zip(found, pipeline.execute(), strict=True) if fields)
            start = b"(" + names[-1]

    def _sort(self, client: Any) -> None:
        """Take over the names of the unsorted set, where one is left; a crash in between loses none."""
        while names := client.srandmember(self._keys.unsorted, MOST_NAMES):
            client.zadd(self._keys.sessions, dict.fromkeys(names, 0))
            client.srem(self._keys.unsorted, *names)


class Unpurged:
    """Sessions from which something was deleted, and whose server was not asked yet to rewrite its files."""

    def __init__(self, keys: Keys, use: Callable[[], AbstractContextManager[Any]]) -> None:
        self._key = keys.unpurged
        self._use = use

    def mark(self, session: str) -> None:
        """Note that a deletion is about to begin."""
        with self._use() as client:
            client.eval(redis_scripts.LIST, 1, self._key, time.time(), record.pack(session))

    def clear(self, sessions: Sequence[str]) -> None:
        """Note that the server was asked."""
        with self._use() as client:
            client.zrem(self._key, *(record.pack(session) for session in sessions))

    def left(self) -> list[str]:
        """Return the sessions marked so long ago that whoever did it is gone."""
        with self._use() as client:
            marked = client.zrangebyscore(self._key, 0, time.time() - PATIENCE_SECONDS)
        return [record.unpack(name) for name in marked]


def chunks(names: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield names in lists that one command can hold."""
    return (names[start : start + MOST_NAMES] for start in range(0, len(names), MOST_NAMES))
