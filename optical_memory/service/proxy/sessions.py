"""Which session a request belongs to: a header, the client's own marks, else the lineage of its messages."""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optical_memory.service.proxy.body import Body, Item
from optical_memory.service.proxy.markers import unmarked
from optical_memory.service.records import Records

HEADER = "x-optical-memory-session"
"""Names a session. Its value is the session's id."""
_OWN_HEADERS = ("x-claude-code-session-id", "session_id", "session-id", "conversation_id", "x-session-id")
"""Headers in which clients name their sessions: Claude Code, Codex, and what others use."""
_USER_ID = re.compile(r"_session_([0-9A-Za-z-]{8,64})$")
_NAME = re.compile(r"[\x21-\x2e\x30-\x7e]{1,200}")
"""What a name may be: printable ASCII without spaces and "/"."""
MOST_TIPS = 65_536
TIP_SECONDS = 7 * 86_400.0
LOOK_BACK = 8
"""Most beginnings of a list that are looked up in the shared records: the request before ended a few messages ago."""


def named(headers: Mapping[str, str], body: Body) -> str | None:
    """Return the session that a request names, or None.

    A client's own mark may stand on several conversations at once (an agent and those that it sends out), so what the
    conversation begins with is part of the id. Only the proxy's own header is taken as it is.
    """
    given = headers.get(HEADER)
    if given is not None and _NAME.fullmatch(given):
        return given
    mark = _mark(headers, body)
    if mark is None:
        return None
    first = next((item for item in body.items if _role(item) not in ("system", "developer")), None)
    return f"{mark}.{_digest(_canonical(first))[:12]}" if first is not None else None


def _mark(headers: Mapping[str, str], body: Body) -> str | None:
    metadata = body.get("metadata")
    if isinstance(metadata, dict):
        user = metadata.get("user_id")
        if isinstance(user, str):
            if found := _USER_ID.search(user):
                return found[1]
            if found_id := _from_json(user):
                return found_id
        for key in ("session_id", "conversation_id", "thread_id"):
            if isinstance(metadata.get(key), str) and _NAME.fullmatch(metadata[key]):
                return str(metadata[key])
    for name in _OWN_HEADERS:
        if _NAME.fullmatch(headers.get(name, "")):
            return headers[name]
    key = body.get("prompt_cache_key")
    return key if isinstance(key, str) and _NAME.fullmatch(key) else None


def _from_json(user: str) -> str | None:
    """Return the session of a ``user_id`` that is JSON, as newer versions of Claude Code write it."""
    if not user.startswith("{"):
        return None
    try:
        said = json.loads(user)
    except ValueError:
        return None
    found = said.get("session_id") if isinstance(said, dict) else None
    return found if isinstance(found, str) and _NAME.fullmatch(found) else None


@dataclass(frozen=True, slots=True)
class Lineage:
    """A request's list by its beginnings: ``ends[n]`` names the first n + 1 messages, with what stands before them."""

    ends: tuple[str, ...]

    @classmethod
    def of(cls, tenant: str, provider: str, items: Sequence[Item]) -> Lineage:
        """Return the lineage of a list. Cache markers move from request to request, so they are no part of it."""
        digest = hashlib.blake2b(f"{tenant}\0{provider}".encode(), digest_size=16)
        ends = []
        for item in items:
            digest.update(_canonical(item))
            ends.append(digest.hexdigest())
        return cls(tuple(ends))


def begins_with(items: Sequence[Item], first: Sequence[Item]) -> bool:
    """Whether a list begins with another one, but for cache markers."""
    return len(first) <= len(items) and all(
        one.raw == other.raw or _canonical(one) == _canonical(other) for one, other in zip(items, first, strict=False)
    )


class Lineages:
    """Finds the session of a list by the longest beginning of it that was a whole list before.

    Kept in this process and in records that all replicas share. Safe for threads as dicts are; ``find`` and ``keep``
    may be called on any.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._tips: OrderedDict[str, str] = OrderedDict()

    def find(self, lineage: Lineage) -> str:
        """Return the session that the list goes on, or the id of a new one."""
        for end in reversed(lineage.ends):
            if end in self._tips:
                return self._tips[end]
        for end in lineage.ends[: -1 - LOOK_BACK : -1]:
            if held := self._records.get(_TIP + end):
                return held.decode()
        return f"auto-{lineage.ends[-1]}" if lineage.ends else "auto"

    def keep(self, lineage: Lineage, session: str) -> None:
        """Remember whose list this is."""
        end = lineage.ends[-1]
        if self._tips.get(end) == session:
            return
        self._tips[end] = session
        while len(self._tips) > MOST_TIPS:
            self._tips.popitem(last=False)
        self._records.put(_TIP + end, session.encode(), seconds=TIP_SECONDS, durable=False)


_TIP = "proxy/tip/"


def _canonical(item: Item) -> bytes:
    """Return what a message says, however its client writes it this time: without markers, a text as one block."""
    plain = unmarked(item.value)
    content = plain.get("content") if isinstance(plain, dict) else None
    if isinstance(content, list) and len(content) == 1 and _is_text(content[0]):
        plain = plain | {"content": content[0]["text"]}
    return json.dumps(plain, separators=(",", ":")).encode()


def _is_text(block: Any) -> bool:
    return isinstance(block, dict) and block.keys() == {"type", "text"} and block["type"] == "text"


def _role(item: Item) -> Any:
    return item.value.get("role") if isinstance(item.value, dict) else None


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
