"""Turns: the exact, immutable records of a conversation, and the groups that must stay together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from optical_memory.errors import InputError, UnknownRoleError

Role = Literal["system", "developer", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "developer", "user", "assistant", "tool")
INSTRUCTION_ROLES = frozenset({"system", "developer"})
"""Roles whose turns stay text for ever: they are instructions, not record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call of a tool. ``arguments`` is the JSON text exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a multimodal turn.

    ``kind`` is "text", "image" or "other". Text parts have ``text``; image parts have ``url`` (a data or web
    URL) and, where known, ``width`` and ``height`` in px. ``raw`` is the provider's own part, kept whole.
    """

    kind: Literal["text", "image", "other"]
    text: str = ""
    url: str = ""
    width: int | None = None
    height: int | None = None
    raw: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message of a conversation, exact and immutable.

    ``text`` is all of its text (what pages show and recall searches); ``parts`` is filled only for content that
    is more than text. ``pin`` is False, True (never leaves text) or the name of the tier it never falls below.
    ``importance`` runs from 0 to 1 (None: judged by role). ``created_at`` is in seconds since 1970, UTC.
    ``seq`` is the place in the session, from 0, given by the store. ``raw`` is the provider's message as it came
    in and ``raw_format`` its format, so that it can leave again without loss.
    """

    id: str
    role: Role
    text: str = ""
    name: str | None = None
    parts: tuple[Part, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    pin: bool | str = False
    importance: float | None = None
    created_at: float = 0.0
    seq: int = -1
    raw: Mapping[str, Any] | None = None
    raw_format: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no provider could have sent."""
        if self.role not in ROLES:
            raise UnknownRoleError(f"unknown role {self.role!r}; use one of {', '.join(ROLES)}")
        if self.importance is not None and not 0 <= self.importance <= 1:
            raise InputError(f"importance must be between 0 and 1, not {self.importance!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict without defaults, ``seq`` included when known."""
        out: dict[str, Any] = {"id": self.id, "role": self.role, "text": self.text, "created_at": self.created_at}
        if self.parts:
            out["parts"] = [_without_defaults(part, Part(kind=part.kind)) | {"kind": part.kind} for part in self.parts]
        if self.tool_calls:
            out["tool_calls"] = [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in self.tool_calls]
        rest = ("name", "tool_call_id", "importance", "raw", "raw_format")
        out |= {key: getattr(self, key) for key in rest if getattr(self, key) is not None}
        if self.pin is not False:
            out["pin"] = self.pin
        if self.seq >= 0:
            out["seq"] = self.seq
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Turn:
        """Rebuild a turn from :meth:`to_dict`. Raises InputError for a dict that is not one."""
        try:
            fields = dict(data)
            fields["parts"] = tuple(Part(**part) for part in data.get("parts", ()))
            fields["tool_calls"] = tuple(ToolCall(**call) for call in data.get("tool_calls", ()))
            return cls(**fields)
        except TypeError as error:
            raise InputError(f"not a stored turn: {error}") from error

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what was said: everything but id, place and time. Equal digests: the same turn."""
        content = self.to_dict()
        for key in ("id", "seq", "created_at"):
            content.pop(key, None)
        # surrogatepass: a lone surrogate in hostile text must not stop the session.
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _without_defaults(value: Any, default: Any) -> dict[str, Any]:
    keys = value.__dataclass_fields__
    return {key: getattr(value, key) for key in keys if getattr(value, key) != getattr(default, key)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A run of whole groups of turns that is sealed into pages together."""

    turns: tuple[Turn, ...] = field(default=())

    @property
    def first_seq(self) -> int:
        """Place of the first turn in the session."""
        return self.turns[0].seq

    @property
    def last_seq(self) -> int:
        """Place of the last turn in the session."""
        return self.turns[-1].seq


def groups(turns: Iterable[Turn]) -> Iterator[tuple[Turn, ...]]:
    """Split turns, in order, into the smallest runs that may be separated from one another.

    A turn with tool calls stays with everything up to its last result, whatever comes between. Calls whose
    results are not there yet hold every later turn: the last group stays open until they arrive.
    """
    run: list[Turn] = []
    waiting: set[str] = set()
    for turn in turns:
        run.append(turn)
        waiting.update(call.id for call in turn.tool_calls)
        if turn.tool_call_id is not None:
            waiting.discard(turn.tool_call_id)
        if not waiting:
            yield tuple(run)
            run = []
    if run:
        yield tuple(run)


def open_calls(turns: Sequence[Turn]) -> frozenset[str]:
    """Return the ids of the tool calls among ``turns`` that have no result among them yet."""
    called = {call.id for turn in turns for call in turn.tool_calls}
    return frozenset(called - {turn.tool_call_id for turn in turns if turn.tool_call_id})
