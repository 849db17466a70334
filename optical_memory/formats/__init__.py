"""Message formats of the providers: any of them to turns, and turns to any of them.

``docs/formats.md`` says what travels between formats and what stays behind.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any

from optical_memory.errors import DuplicateTurnError, InputError
from optical_memory.formats.anthropic import Anthropic
from optical_memory.formats.base import Calls, Fields, Format, Message, content_fields, travelling
from optical_memory.formats.checked import copied, sendable, stable_id
from optical_memory.formats.gemini import Gemini
from optical_memory.formats.huggingface import HuggingFace
from optical_memory.formats.openai import OpenAI, part_types
from optical_memory.formats.repair import repaired
from optical_memory.formats.responses import Responses
from optical_memory.registry import Registry
from optical_memory.turns import Turn

__all__ = ["FORMATS", "Format", "Message", "detect", "from_turns", "get_format", "split_system", "to_turns"]

FORMATS: Mapping[str, Format] = {
    each.name: each for each in (OpenAI(), Responses(), Anthropic(), Gemini(), HuggingFace())
}
_REGISTRY: Registry[Format] = Registry(
    "format", "optical_memory.formats", {name: type(FORMATS[name]) for name in FORMATS}
)
PIECE = "optical_memory.piece"
"""Key in ``Turn.raw`` of a turn cut from a message that holds several: which message, and which place in it."""


def get_format(name: str) -> Format:
    """Return a format by name, also another package's (entry points ``optical_memory.formats``).

    Errors: NotFoundError with the names there are.
    """
    return FORMATS.get(name) or _offered(name) if isinstance(name, str) else _REGISTRY.maker(name)()


@cache
def _offered(name: str) -> Format:
    return _REGISTRY.maker(name)()


def detect(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the format of each message.

    A message is known by roles, keys and part types that only one format has. One that several formats share (plain
    text from a user) has the format of the nearest known message before it, else of the first known one, else
    "openai"; where that format has no such role, the first that has.
    """
    known = [_detected(message) for message in messages]
    last = next((name for name in known if name), OpenAI.name)
    out = []
    for name, message in zip(known, messages, strict=True):
        last = name or last
        out.append(name or _with_role(message, last))
    return out


def _with_role(message: Any, nearest: str) -> str:
    """Return the nearest format, or the first that has the message's role where that one has not."""
    role = message.get("role") if isinstance(message, Mapping) else None
    names = [nearest, *FORMATS]
    return next((name for name in names if isinstance(role, str) and role in FORMATS[name].roles), nearest)


def _detected(message: Any) -> str | None:
    if not isinstance(message, Mapping):
        return None
    order = (Gemini.name, Responses.name, Anthropic.name, OpenAI.name, HuggingFace.name)
    return next((name for name in order if FORMATS[name].recognises(message)), None)


def to_turns(
    messages: Iterable[Any],
    format: str | None = None,
    *,
    before: Iterable[Turn] = (),
    created_at: float | None = None,
) -> list[Turn]:
    """Return the turns of provider messages, in order.

    One message may hold several turns (results of parallel calls). A turn's id is the message's own where it has
    one, else a random one; ``#1``, ``#2``… is added for further turns of one message. ``format`` None: see
    :func:`detect`. ``before``: turns that came earlier, read only where a call or a result names no id.
    ``created_at`` is in seconds since 1970 (None: now). Objects of the providers' libraries are taken as their JSON.

    Errors: InputError and UnknownRoleError name the message's index and the field, DuplicateTurnError two messages
    with one id and different contents; nothing is returned then.
    """
    return [
        turn for turns in turns_by_message(messages, format, before=before, created_at=created_at) for turn in turns
    ]


def turns_by_message(
    messages: Iterable[Any],
    format: str | None = None,
    *,
    before: Iterable[Turn] = (),
    created_at: float | None = None,
) -> list[list[Turn]]:
    """Return the turns of each provider message, in order; see :func:`to_turns`."""
    given = [_checked(message, place) for place, message in enumerate(_listed(messages))]
    names = detect(given) if format is None else [get_format(format).name] * len(given)
    calls = Calls(before)
    now = time.time() if created_at is None else created_at
    out: list[list[Turn]] = []
    places: dict[str, tuple[int, Turn]] = {}
    for place, (message, name) in enumerate(zip(given, names, strict=True)):
        try:
            _refuse_mixture(message, name)
            made = list(_turns(get_format(name).parse(message, calls), message, get_format(name), now))
        except InputError as error:
            raise type(error)(f"message {place}: {error}") from None
        for turn in made:
            first, same = places.setdefault(turn.id, (place, turn))
            if same is not turn and same.digest != turn.digest:
                raise DuplicateTurnError(
                    f"message {place} has the id {turn.id!r} of message {first}, and other content"
                )
        out.append(made)
    return out


_CALLS, _BLOCKS, _PARTS = ("tool_calls", "function_call"), ("tool_use", "tool_result"), ("parts",)
"""What holds calls and results: keys of OpenAI's messages, types of Anthropic's blocks, the key of Gemini's parts."""


def _refuse_mixture(message: Message, name: str) -> None:
    """Raise InputError where a message holds calls or parts in another format's way: they would be lost unseen."""
    types = part_types(message.get("content"))
    ours = {OpenAI.name: _CALLS, HuggingFace.name: _CALLS, Anthropic.name: _BLOCKS, Gemini.name: _PARTS}.get(name, ())
    for owner, keys in (("OpenAI", _CALLS), ("Anthropic", _BLOCKS), ("Gemini", _PARTS)):
        for key in keys if keys is not ours and name in FORMATS else ():
            if key in types if keys is _BLOCKS else message.get(key):
                hint = "give each message in one format, or leave out format= to mix formats in a list"
                raise InputError(f"{key} is of {owner}'s messages, and this one is taken as {name!r}; {hint}")


def from_turns(turns: Iterable[Turn], format: str, *, repair: bool = True) -> list[Message]:
    """Return turns as messages of ``format``.

    A turn that came in this format leaves as it came, unknown fields included; turns that were one message are one
    again. Others are built from what they hold. ``repair`` pairs calls and results as the provider demands (see
    :mod:`optical_memory.formats.repair`) and makes what leaves strict JSON (see
    :func:`optical_memory.formats.checked.sendable`); without it, what came in this format leaves exactly, valid or not.
    For "anthropic" and "gemini" instructions are messages of role "system" in the list: :func:`split_system`.

    Errors: NotFoundError for an unknown format.
    """
    target = get_format(format)
    steps = repaired(list(turns), target) if repair else list(turns)
    out: list[Message] = []
    for run in _runs(steps, target, repair):
        joined = run[0].role == "assistant" and len(run) > 1
        if joined or not all(target.is_own(turn) for turn in run):
            out += target.build(run)
        else:
            out += [copied(turn.raw) for turn in run]
    whole = list(_rejoined(out, target))
    return [sendable(message) for message in whole] if repair else whole


def split_system(messages: Sequence[Message], format: str) -> tuple[Any, list[Message]]:
    """Take the instructions out of a list of messages, as the provider's API wants them.

    "anthropic": ``system`` is a string, or a list of text blocks. "gemini": the ``systemInstruction`` content.
    Other formats keep instructions in the list: ``system`` is None. None as well where there are none.
    """
    return get_format(format).split(messages) if get_format(format).system_apart else (None, list(messages))


def _listed(messages: Iterable[Any]) -> list[Any]:
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Iterable):
        raise InputError(f"messages must be a list of messages, not {type(messages).__name__}")
    return list(messages)


def _checked(message: Any, place: int) -> Message:
    try:
        message = copied(message)
    except InputError as error:
        raise InputError(f"message {place}: {error}") from None
    if not isinstance(message, dict):
        raise InputError(f"message {place} must be an object, not {type(message).__name__}")
    return message


def _turns(cut: Sequence[Fields], message: Message, source: Format, created_at: float) -> Iterator[Turn]:
    given = message.get("id")
    whole = given if isinstance(given, str) and given else uuid.uuid4().hex
    mark = stable_id(json.dumps(message)) if len(cut) > 1 else ""
    for place, fields in enumerate(cut):
        fields = dict(fields)
        raw, piece = message, fields.pop("piece", None)
        if piece is not None and mark:
            raw = message | {source.body: piece, PIECE: {"message": mark, "place": place}}
        fields |= content_fields(fields["role"], fields.pop("parts", ()))
        if "id" in fields and fields.pop("id") is None:
            whole = uuid.uuid4().hex
        turn_id = f"{whole}#{place}" if place else whole
        yield Turn(id=turn_id, created_at=created_at, raw=raw, raw_format=source.name, **fields)


def _runs(turns: Sequence[Turn], target: Format, repair: bool) -> Iterator[list[Turn]]:
    """Yield turns that leave together: an assistant's, as the format joins them; the results after it; single ones."""
    spoken = [turn for turn in turns if not _silent(turn, target)]
    order: dict[str | None, int] = {}
    for role, group in groupby(spoken, key=lambda turn: turn.role):
        run = list(group)
        if role == "assistant":
            order = {call.id: place for place, call in enumerate(c for turn in run for c in turn.tool_calls)}
            foreign = any(not target.is_own(turn) for turn in run)
            yield from target.together(run) if foreign or (repair and target.strict) else ([turn] for turn in run)
        elif role == "tool":
            if target.named_results and any(not target.is_own(turn) for turn in run):
                run.sort(key=lambda turn: order.get(turn.tool_call_id, len(order)))
            yield run
        else:
            yield from ([turn] for turn in run)


def _silent(turn: Turn, target: Format) -> bool:
    """Whether an assistant's turn holds nothing but what another model cannot use."""
    has_parts = turn.role == "assistant" and turn.parts and not turn.tool_calls
    return bool(has_parts) and turn.raw_format != target.name and not travelling(turn)


def _rejoined(messages: Iterable[Message], target: Format) -> Iterator[Message]:
    """Make messages that were cut into several turns one again."""
    last: Message | None = None
    mark: Mapping[str, Any] = {}
    for message in messages:
        piece = message.pop(PIECE, None)
        follows = piece and mark and piece["message"] == mark["message"] and piece["place"] > mark["place"]
        if last is not None and follows:
            last[target.body] += message[target.body]
        else:
            if last is not None:
                yield last
            last = message
        mark = piece or {}
    if last is not None:
        yield last
