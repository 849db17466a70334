"""OpenAI's chat format, which most adapters hand to the memory: its messages and parts made, its images taken out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optical_memory.formats.media import split_data_url
from optical_memory.turns import Part

Message = dict[str, Any]


def message(role: str, parts: Sequence[Message], calls: Sequence[Message] = (), *, between: str = "\n") -> Message:
    """Return a message; one of texts alone has a plain text, ``between`` which stands what is given."""
    plain = all(part["type"] == "text" for part in parts)
    content: Any = between.join(part["text"] for part in parts) if plain else list(parts)
    return {"role": role, "content": content} | ({"tool_calls": list(calls)} if calls else {})


def call(call_id: str | None, name: str, arguments: Any) -> Message:
    """Return a call of a function; ``arguments`` as JSON text, or what becomes it."""
    written = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False, default=str)
    return {"id": call_id or "", "type": "function", "function": {"name": name, "arguments": written}}


def text(words: str) -> Message:
    """Return a text part."""
    return {"type": "text", "text": words}


def image(url: str, detail: str | None = None) -> Message:
    """Return an image part."""
    return {"type": "image_url", "image_url": {"url": url} | ({"detail": detail} if detail else {})}


def file(url: str, name: str | None = None) -> Message:
    """Return a part for sound, video or a document: counted as it is sent, a placeholder on a page."""
    return {"type": "file", "file": {"file_url": url, "filename": name}}


def told(kind: str, content: Any) -> Message:
    """Return what this format has no part for as a text that names its kind: so it is counted, and found again."""
    words = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str)
    return text(f"[{kind}] {words}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image of a context: its bytes in base64, and the setting that it is priced for, in the provider's word."""

    media_type: str
    base64: str
    detail: str | None


def picture(part: Part) -> Picture | None:
    """Return a part's image, where it has one that is not on the web."""
    inline = split_data_url(part.url)
    if part.kind != "image" or inline is None:
        return None
    return Picture(media_type=inline[0], base64=inline[1], detail=detail_of(part))


def detail_of(part: Part) -> str | None:
    """Return the setting that an image is priced for."""
    detail = (part.raw or {}).get("detail")
    return str(detail) if detail else None


def known_role(given: Mapping[str, Any], roles: frozenset[str]) -> Mapping[str, Any]:
    """Return a message, or where its role is not one of ``roles``, a user's message that names the role."""
    role = given.get("role")
    return given if role in roles else {"role": "user", "content": told(str(role), given.get("content"))["text"]}
