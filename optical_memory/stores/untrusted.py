"""Turns from a file that anyone may have written: every field is what its type says, before anything uses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optical_memory.errors import InputError
from optical_memory.turns import Part, Turn

LATEST = 253_402_300_799.0
"""The last second of the year 9999: later ones are no dates."""
MOST_PIXELS = 1 << 24
"""Most px of an image's side as a turn may state it."""


def checked(turn: Turn) -> Turn:
    """Return the turn. Raises InputError that names the field which is not what it must be."""
    _require(turn, "name", _is_text_or_none(turn.name))
    _require(turn, "tool_call_id", _is_text_or_none(turn.tool_call_id))
    _require(turn, "raw_format", _is_text_or_none(turn.raw_format))
    _require(turn, "raw", _is_object_or_none(turn.raw))
    _require(turn, "pin", isinstance(turn.pin, bool | str))
    _require(turn, "importance", turn.importance is None or _is_number(turn.importance, 1.0))
    _require(turn, "created_at", _is_number(turn.created_at, LATEST))
    _require(turn, "seq", isinstance(turn.seq, int) and not isinstance(turn.seq, bool))
    for part in turn.parts:
        _require(turn, "parts", _is_part(part))
    for call in turn.tool_calls:
        texts = (call.id, call.name, call.arguments)
        _require(turn, "tool_calls", all(isinstance(value, str) for value in texts))
    return turn


def _is_part(part: Part) -> bool:
    sides = all(side is None or _is_number(side, MOST_PIXELS) for side in (part.width, part.height))
    texts = isinstance(part.text, str) and isinstance(part.url, str)
    return part.kind in ("text", "image", "other") and texts and sides and _is_object_or_none(part.raw)


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_object_or_none(value: Any) -> bool:
    return value is None or isinstance(value, Mapping)


def _is_number(value: Any, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def _require(turn: Turn, field: str, holds: bool) -> None:
    if not holds:
        raise InputError(f"turn {turn.id[:80]!r} has a field {field!r} that is not one")
