"""JSON of the providers: checked copies, fields that must be there, ids that are the same on every machine."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from optical_memory.errors import InputError

LONE = re.compile("[\ud800-\udfff]")
"""A half of a surrogate pair on its own, which UTF-8 cannot hold."""
MAX_DEPTH = 100
"""Most levels of lists and objects inside a message."""


def stable_id(*texts: str) -> str:
    """Return a call id made of ``texts``: the same on every machine."""
    digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
    return f"call_{digest[:24]}"


def copied(value: Any, path: tuple[Any, ...] = ()) -> Any:
    """Return a deep copy of JSON data; objects of the providers' libraries become their JSON.

    Errors: InputError for what is not JSON, naming where it is.
    """
    if type(value) in _SCALARS:
        return value
    if len(path) > MAX_DEPTH:
        raise InputError(f"{_written(path)} is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        out = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise InputError(f"{_written(path)} has the key {key!r}, which is not a string")
            out[key] = item if type(item) in _SCALARS else copied(item, (*path, key))
        return out
    if isinstance(value, (list, tuple)):
        return [copied(item, (*path, place)) for place, item in enumerate(value)]
    if isinstance(value, (str, int, float)):  # enumerations and other subclasses
        return json.loads(json.dumps(value))
    if hasattr(value, "model_dump"):
        return copied(value.model_dump(mode="json", exclude_unset=True), path)
    hint = "; give binary data as base64 text" if isinstance(value, (bytes, bytearray)) else ""
    raise InputError(f"{_written(path)} is {type(value).__name__}, which JSON cannot hold{hint}")


def sendable(value: Any) -> Any:
    """Return JSON data that every parser takes: lone surrogates as U+FFFD, NaN and Infinity as null."""
    if isinstance(value, str):
        return value if value.isascii() else LONE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {
            key if key.isascii() else sendable(key): item if type(item) is str and item.isascii() else sendable(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [sendable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parsed(text: str) -> Any:
    """Return the value of strict JSON text. Raises ValueError for NaN, Infinity and numbers too large for a float."""
    return json.loads(text, parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no JSON number")
    return number


def _written(path: tuple[Any, ...]) -> str:
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in path]
    return "".join(steps).removeprefix(".")[:80] or "it"


_SCALARS = frozenset({str, int, bool, float, type(None)})


def want(holder: Mapping[str, Any], key: str, kind: type | tuple[type, ...], path: str = "") -> Any:
    """Return ``holder[key]``. Errors: InputError naming the field where it is missing or of another type."""
    value = holder.get(key)
    if isinstance(value, kind) and key in holder:
        return value
    field = f"{path}.{key}" if path else key
    kinds = kind if isinstance(kind, tuple) else (kind,)
    names = " or ".join(_JSON_NAMES[each] for each in kinds)
    found = _JSON_NAMES.get(type(value), type(value).__name__) if key in holder else "missing"
    raise InputError(f"{field} must be {names}, not {found}")


_JSON_NAMES: Mapping[type, str] = {
    str: "a string",
    dict: "an object",
    list: "a list",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}
