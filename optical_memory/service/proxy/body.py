"""Bodies of requests as text with places: what is not changed leaves with the bytes it came with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optical_memory.errors import InputError

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


Pieces = tuple[bytes, ...]
"""A body that was made, in pieces that are sent one after the other."""
SMALL_BYTES = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A value of the body: where its text begins and ends, and what it is."""

    start: int
    end: int
    value: Any


@dataclass(frozen=True, slots=True)
class Item:
    """A message of the body's list: its text as it came, and its value."""

    raw: str
    value: Any

    @property
    def sent(self) -> bytes:
        """What leaves where it is not changed."""
        return self.raw.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A JSON object. ``items`` are the elements of its list of messages, which is the field ``key``."""

    text: str
    key: str
    fields: Mapping[str, Field]
    items: tuple[Item, ...]

    def get(self, name: str) -> Any:
        """Return the value of a field, or None."""
        field = self.fields.get(name)
        return None if field is None else field.value

    def raw(self, name: str) -> str:
        """Return the text of a field; "" where there is none."""
        field = self.fields.get(name)
        return "" if field is None else self.text[field.start : field.end]

    def changed(self, texts: Mapping[str, Sequence[bytes]]) -> Pieces:
        """Return the body with other JSON texts, in pieces, for these fields; all else is as it came."""
        out, at = list[bytes](), 0
        known = sorted((self.fields[name].start, name) for name in texts if name in self.fields)
        for start, name in known:
            out += [self.text[at:start].encode(), *texts[name]]
            at = self.fields[name].end
        close = self.text.rindex("}")
        out.append(self.text[at:close].encode())
        lead = "," if self.fields else ""
        for name in texts:
            if name not in self.fields:
                out += [f"{lead}{json.dumps(name)}:".encode(), *texts[name]]
                lead = ","
        out.append(self.text[close:].encode())
        return tuple(_grouped(out))

    def with_items(self, raws: Sequence[bytes], texts: Mapping[str, str] | None = None) -> Pieces:
        """Return the body with another list of messages, given as JSON, and other fields."""
        commas = (part for raw in raws for part in (b",", raw))
        next(commas, None)
        others = {name: [text.encode()] for name, text in (texts or {}).items()}
        return self.changed({self.key: [b"[", *commas, b"]"]} | others)


def _grouped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield pieces, small ones together; a large one, as a page is, is not copied."""
    small: list[bytes] = []
    for piece in pieces:
        if len(piece) < SMALL_BYTES:
            small.append(piece)
            continue
        yield b"".join(small)
        small = []
        yield piece
    yield b"".join(small)


def parse_body(data: bytes, key: str) -> Body:
    """Return the body of a request whose messages are the list ``key``; a text there is one message of the user.

    Raises InputError where it is no JSON object in UTF-8, or names a field twice.
    """
    try:
        text = data.decode("utf-8")
        fields, items = _object(text, key)
    except (ValueError, IndexError, RecursionError) as error:
        raise InputError(f"the body is no JSON object: {error}") from error
    said = fields[key].value if key in fields else None
    if isinstance(said, str):
        message = {"role": "user", "content": said}
        items = (Item(json.dumps(message), message),)
    return Body(text=text, key=key, fields=fields, items=items)


def _object(text: str, key: str) -> tuple[dict[str, Field], tuple[Item, ...]]:
    """Read an object with the places of its values, and the elements of the list ``key``."""
    fields: dict[str, Field] = {}
    items: tuple[Item, ...] = ()
    at = _after(text, _skip(text, 0), "{")
    while text[at] != "}":
        if text[at] != '"':
            raise ValueError(f"a name is missing at character {at}")
        name, at = _DECODER.raw_decode(text, at)
        start = _after(text, _skip(text, at), ":")
        if name in fields:
            raise ValueError(f"the field {name!r} is there twice")
        if name == key and text[start] == "[":
            items, at = _list(text, start)
            fields[name] = Field(start=start, end=at, value=None)
        else:
            value, at = _DECODER.raw_decode(text, start)
            fields[name] = Field(start=start, end=at, value=value)
        at = _next(text, _skip(text, at), "}")
    if _skip(text, at + 1) != len(text):
        raise ValueError("something follows the object")
    return fields, items


def _list(text: str, start: int) -> tuple[tuple[Item, ...], int]:
    """Read the list that begins at a place: its elements, and where it ends."""
    items: list[Item] = []
    at = _skip(text, start + 1)
    while text[at] != "]":
        value, end = _DECODER.raw_decode(text, at)
        items.append(Item(text[at:end], value))
        at = _next(text, _skip(text, end), "]")
    return tuple(items), at + 1


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _after(text: str, at: int, mark: str) -> int:
    if text[at] != mark:
        raise ValueError(f"{mark!r} is missing at character {at}")
    return _skip(text, at + 1)


def _next(text: str, at: int, close: str) -> int:
    """Return where the next element begins, or where ``close`` is."""
    if text[at] == close:
        return at
    at = _after(text, at, ",")
    if text[at] == close:
        raise ValueError(f"a value is missing at character {at}")
    return at
