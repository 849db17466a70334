"""Turns: the exact, immutable records of a conversation, and the groups that must stay together."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    """One part of a turn whose content is more than one text.

    ``kind`` is "text", "image" or "other" (sound, files, reasoning, refusals, …). Text parts have ``text``; image
    parts have ``url`` (a data or web URL) and, where known, ``width`` and ``height`` in px; sound, video and files
    have ``url``; a refusal has ``text``. ``raw`` is what these fields do not say: hints beside an image, and for
    other parts the provider's own part, with its ``type``.
    """

    kind: Literal["text", "image", "other"]
    text: str = ""
    url: str = ""
    width: int | None = None
    height: int | None = None
    raw: Mapping[str, Any] | None = None

    @property
    def label(self) -> str:
        """What stands for a part that is not text: ``[image 640×480]``, ``[audio]``, ``[file report.pdf]``."""
        words: list[str] = [self.kind]
        if self.kind == "image" and self.width and self.height:
            words.append(f"{self.width}×{self.height}")
        elif self.kind == "other" and self.raw:
            words = [str(self.raw.get("type") or self.kind), str(self.raw.get("filename") or "")]
        return f"[{_one_line(' '.join(words))}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message of a conversation, exact and immutable.

    ``text`` is all of its text (what recall searches; :func:`transcript` adds calls and placeholders); ``parts`` is
    filled only for content that is more than text, and then holds the text as well: ``content`` is filled always, as in
    ``[part.kind for part in turn.content]``, which is ``["text", "image"]`` for a question about a picture. ``pin`` is
    False, True (never leaves text) or the name of the tier it never falls below. ``importance`` runs from 0 to 1 (None:
    judged by role). ``created_at`` is in seconds since 1970, UTC.
    ``seq`` is the place in the session, from 0, given by the store. ``raw`` is the provider's message as it came
    in and ``raw_format`` its format, so that it can leave again without loss: a copy of a turn with other content
    must drop both.
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
        """Refuse content that no provider could have sent."""
        if self.role not in ROLES:
            raise UnknownRoleError(f"unknown role {self.role!r}; use one of {', '.join(ROLES)}")
        if not isinstance(self.id, str) or not self.id:
            raise InputError(f"the id of a turn must be a non-empty string, not {self.id!r}")
        if not isinstance(self.text, str):
            raise InputError(f"the text of a turn must be a string, not {type(self.text).__name__}")
        if self.importance is not None and not 0 <= self.importance <= 1:
            raise InputError(f"importance must be between 0 and 1, not {self.importance!r}")

    @property
    def is_instruction(self) -> bool:
        """Whether this is an instruction (system or developer), which stays text for ever."""
        return self.role in INSTRUCTION_ROLES

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
        except (TypeError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"not a stored turn: {error}") from error

    @property
    def content(self) -> tuple[Part, ...]:
        """The turn's parts, its text among them, whether ``parts`` was filled or not."""
        if not self.text or any(part.text for part in self.parts):
            return self.parts
        return (Part(kind="text", text=self.text), *self.parts)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what was said: everything but id, place and time. Equal digests mean equal turns."""
        content = self.to_dict()
        for key in ("id", "seq", "created_at"):
            content.pop(key, None)
        # surrogatepass: a lone surrogate in hostile text must not stop the session.
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _without_defaults(value: Any, default: Any) -> dict[str, Any]:
    keys = value.__dataclass_fields__
    return {key: getattr(value, key) for key in keys if getattr(value, key) != getattr(default, key)}


PATIENCE = 16
"""Messages of users and answers of the model after which a call still without a result counts as given up."""


def groups(turns: Iterable[Turn], *, patience: int = PATIENCE) -> Iterator[tuple[Turn, ...]]:
    """Split turns, in order, into the smallest runs that may be separated from one another.

    A turn with tool calls stays with everything up to its last result, whatever comes between. Calls whose
    results are not there yet hold every later turn: the last group stays open until they arrive, or until
    ``patience`` further messages have come (from users, and answers of the model, each a run of its turns). Then
    they are given up, so that an interrupted call does not hold the history open for ever; a result that comes
    later still stands alone.
    """
    turns = list(turns)
    ends = _ends(turns, patience)
    start = reach = 0
    for place, end in enumerate(ends):
        reach = max(reach, end)
        if reach == place:
            yield tuple(turns[start : place + 1])
            start = reach = place + 1
    if start < len(turns):
        yield tuple(turns[start:])


def _ends(turns: Sequence[Turn], patience: int) -> list[int]:
    """Return for each turn the place of the last result that its calls have or still wait for."""
    ends = list(range(len(turns)))
    waiting: dict[str, list[tuple[int, int]]] = {}  # call id -> (place, messages so far) of its calls
    messages, previous = 0, ""
    for place, turn in enumerate(turns):
        messages += turn.role == "user" or turn.role == "assistant" != previous
        previous = turn.role
        for call in turn.tool_calls:
            waiting.setdefault(call.id, []).append((place, messages))
        if turn.tool_call_id and (made := waiting.get(turn.tool_call_id)):
            called, then = made.pop(0)
            if messages - then < patience:
                ends[called] = place
    for called, then in (made for calls in waiting.values() for made in calls):
        if messages - then < patience:
            ends[called] = len(turns)
    return ends


def open_calls(turns: Iterable[Turn]) -> dict[str, ToolCall]:
    """Return the tool calls among ``turns`` that have no result after them yet, by id, oldest first."""
    waiting: dict[str, ToolCall] = {}
    for turn in turns:
        waiting.update((call.id, call) for call in turn.tool_calls)
        if turn.tool_call_id is not None:
            waiting.pop(turn.tool_call_id, None)
    return waiting


def join_text(role: str, parts: Iterable[Part], *, labels: bool = False) -> str:
    """Return the text of ``parts``, with placeholders for the rest where ``labels``.

    Neighbouring texts of an assistant are one text (providers cut them at citations and between streamed pieces);
    all else stands on lines of its own.
    """
    out: list[str] = []
    joined = False
    for part in parts:
        pieces = [part.label] if labels and part.kind != "text" else []
        pieces += [part.text] if part.text else []
        if not pieces:
            joined = False
            continue
        piece = " ".join(pieces)
        if joined and part.kind == "text":
            out[-1] += piece
        else:
            out.append(piece)
        joined = role == "assistant" and part.kind == "text"
    return "\n".join(out)


CALL_MARK = re.compile(r"(?<!\w)tool (?:call|result)(?: [^\s(]{1,64}+)? \([^\s()]{1,6}\)")
"""A call or result as :func:`transcript` writes it, with the end of the call's id, which is no fact of its own."""


def transcript(turn: Turn, *, plain: bool = False) -> tuple[str, str]:
    """Return what a page, a record or an index shows of a turn: a header of one line, and the body.

    The header says who speaks: ``user``, ``assistant Anna``, ``tool result search (x8zK2d)``, with the end of the
    call's id. The body is the text with placeholders for images and other parts in their places, then each call
    on a line: ``tool call search (x8zK2d) {"q": "…"}``. Nothing of a turn is invisible. ``plain``: arguments as
    :func:`plain_arguments` writes them.
    """
    header: str = "tool result" if turn.role == "tool" else turn.role
    if turn.name:
        header += f" {_one_line(turn.name)}"
    if turn.tool_call_id:
        header += f" ({_short(turn.tool_call_id)})"
    body = join_text(turn.role, turn.content, labels=True)
    calls = [
        f"tool call {_one_line(call.name)} ({_short(call.id)}) "
        f"{plain_arguments(call.arguments) if plain else call.arguments}"
        for call in turn.tool_calls
    ]
    return header, "\n".join([body, *calls] if body else calls)


MOST_PLAIN = 400_000
"""Characters of arguments up to which they are written out."""
MOST_NESTED = 3
"""Objects and lists inside one another up to which arguments are written out."""


def plain_arguments(arguments: str) -> str:
    r"""Return arguments that hold JSON's escapes without them: each text under its name, as it is read.

    ``{"path": "a.py", "text": "x = 1\ny = 2"}`` becomes a line ``path: a.py``, a line ``text:`` and the two lines of
    the text. What has no escapes stays as it is, and so does what is no object, is nested deep, or names one thing
    twice.
    """
    if "\\" not in arguments or len(arguments) > MOST_PLAIN:
        return arguments
    try:
        value = json.loads(arguments, object_pairs_hook=_named_once, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        return arguments
    if not isinstance(value, dict):
        return arguments
    lines, size = [""], 0
    waiting = [(_one_line(name), inner, 1) for name, inner in reversed(value.items())]
    while waiting:
        name, inner, depth = waiting.pop()
        if isinstance(inner, dict | list) and inner:
            named = inner.items() if isinstance(inner, dict) else enumerate(inner)
            of = "{}.{}" if isinstance(inner, dict) else "{}[{}]"
            waiting += [(of.format(name, _one_line(str(key))), each, depth + 1) for key, each in named][::-1]
        else:
            text = inner if isinstance(inner, str) else json.dumps(inner)
            lines.append(f"{name}:\n{text}" if "\n" in text else f"{name}: {text}")
            size += len(lines[-1])
        if depth > MOST_NESTED or size > 2 * len(arguments):
            return arguments
    return "\n".join(lines)


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("a name stands twice")
    return named


def place_of(turn: Turn) -> str:
    """Return the place of a stored turn in its session, from 1: "#12". Unlike an id it is the same in every run."""
    return f"#{turn.seq + 1}" if turn.seq >= 0 else turn.id


def _short(call_id: str) -> str:
    return _one_line(call_id[-6:])


def _one_line(name: str, limit: int = 64) -> str:
    words = " ".join(name.split())
    return words if len(words) <= limit else f"{words[: limit - 1]}…"
