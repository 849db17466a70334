"""A turn from keyword arguments, as ``OpticalMemory.add`` takes them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from optical_memory.errors import InputError
from optical_memory.formats import to_turns
from optical_memory.turns import Role, ToolCall, Turn

When = datetime | float | int


def turn_of(
    role: Role,
    content: str | Sequence[Mapping[str, Any]] | None,
    *,
    id: str | None,
    name: str | None,
    pin: bool | str,
    importance: float | None,
    tool_calls: Sequence[Mapping[str, Any] | ToolCall],
    tool_call_id: str | None,
    created_at: When,
) -> Turn:
    """Build a turn; without an ``id`` it gets a random one. Errors: UnknownRoleError, InputError."""
    message: dict[str, Any] = {"role": role, "content": content}
    if tool_calls:
        message["tool_calls"] = [_call_dict(call) for call in tool_calls]
    if tool_call_id is not None:
        message["tool_call_id"] = tool_call_id
    if name is not None:
        message["name"] = name
    (parsed,) = to_turns([message], "openai")
    return Turn(
        id=id or uuid.uuid4().hex,
        role=parsed.role,
        text=parsed.text,
        name=name,
        parts=parsed.parts,
        tool_calls=parsed.tool_calls,
        tool_call_id=tool_call_id,
        pin=pin,
        importance=importance,
        created_at=seconds(created_at),
    )


def seconds(when: When) -> float:
    """Return a time in seconds since 1970. Raises InputError for anything else."""
    if isinstance(when, datetime):
        return when.timestamp()
    if isinstance(when, bool) or not isinstance(when, int | float):
        raise InputError(f"a time is a datetime or seconds since 1970, not {when!r}")
    return float(when)


def _call_dict(call: Mapping[str, Any] | ToolCall) -> Mapping[str, Any]:
    if isinstance(call, ToolCall):
        return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    return call
