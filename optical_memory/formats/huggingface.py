"""Hugging Face chat templates: content lists, images as ``{"type": "image"}``, arguments as objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optical_memory.formats import base
from optical_memory.formats.base import Calls, Fields, Format, Message
from optical_memory.formats.checked import want
from optical_memory.formats.media import data_url
from optical_memory.formats.openai import parse_calls, parse_content, parse_name, parse_part, part_types
from optical_memory.turns import Part, Role, Turn

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "ipython": "tool",
}
SOURCES = ("url", "path", "base64", "image", "audio", "video")
"""Where a media part keeps its source, in the order in which Transformers looks."""


class HuggingFace(Format):
    """Messages for ``apply_chat_template``. Calls and results may come without ids: they pair by name and order."""

    name = "huggingface"
    roles = ROLES
    strict = True
    named_results = True

    def recognises(self, message: Mapping[str, Any]) -> bool:
        """By an image, audio or video part of its own, or by calls whose arguments are an object."""
        calls = message.get("tool_calls")
        if isinstance(calls, list) and calls and isinstance(calls[0], Mapping):
            function = calls[0].get("function")
            return isinstance(function, Mapping) and isinstance(function.get("arguments"), Mapping)
        content = message.get("content")
        if message.get("role") == "ipython" or (message.get("role") == "tool" and "tool_call_id" not in message):
            return True
        if not part_types(content) & {"image", "audio", "video"}:
            return False
        return not any(isinstance(part, Mapping) and "source" in part for part in content or ())

    def parse(self, message: Message, calls: Calls) -> list[Fields]:
        """Return the one turn of a message."""
        role = base.role_of(message, ROLES)
        fields: Fields = {"role": role, "parts": parse_content(message, role, _part), "name": parse_name(message)}
        if role == "tool":
            call_id = want(message, "tool_call_id", (str, type(None))) if "tool_call_id" in message else None
            fields["tool_call_id"] = calls.answered(fields["name"], call_id)
        return [fields | {"tool_calls": parse_calls(message, calls)}]

    def identified(self, turn: Turn) -> Turn:
        """Write the ids of calls and results into the message where it has one: the others pair by name and order."""
        raw = dict(turn.raw or {})
        if raw.get("tool_call_id"):
            raw["tool_call_id"] = turn.tool_call_id
        pairs = zip(raw.get("tool_calls") or (), turn.tool_calls, strict=False)
        calls = [{**call, "id": made.id} if call.get("id") else call for call, made in pairs]
        return replace(turn, raw=raw | ({"tool_calls": calls} if calls else {}))

    def build(self, run: Sequence[Turn]) -> list[Message]:
        """Return an assistant's run as one message, and each result as one."""
        if run[0].role == "tool":
            return [self.own(turn) or self._message(turn) for turn in run]
        turn = base.merged(run)
        silent = turn.parts and not base.travelling(turn) and not turn.tool_calls
        return [] if silent else [self._message(turn)]

    def _message(self, turn: Turn) -> Message:
        message: Message = {"role": "system"} if turn.role == "developer" else {"role": turn.role}
        message |= {"tool_call_id": turn.tool_call_id} if turn.tool_call_id else {}
        message |= {"name": turn.name} if turn.name else {}
        message["content"] = [build_part(part) for part in base.travelling(turn)]
        if turn.tool_calls:
            message["tool_calls"] = [
                {
                    "type": "function",
                    "id": call.id,
                    "function": {"name": call.name, "arguments": base.arguments_object(call.arguments)},
                }
                for call in turn.tool_calls
            ]
        return message

    def text_part(self, text: str) -> Message:
        """Return ``{"type": "text"}``."""
        return {"type": "text", "text": text}

    def user_part(self, part: Part) -> Message:
        """Return a text, or media by their URL: Transformers loads data URLs. There is no hint of detail."""
        return build_part(part)


def _part(part: Message, path: str) -> Part:
    kind = part.get("type")
    if kind == "text":
        key = "text" if "text" in part else "content"
        return base.text(want(part, key, str, path))
    if kind not in ("image", "audio", "video"):
        return parse_part(part, path)
    found = next((key for key in SOURCES if part.get(key) is not None), None)
    source: str = want(part, found, str, path) if found else ""
    if found == "base64" and source[:5] != "data:":
        source = data_url("image/png" if kind == "image" else f"{kind}/wav", source)
    return base.image(source) if kind == "image" else base.other(kind, url=source)


def build_part(part: Part) -> Message:
    """Return one part of a content list."""
    kind = base.kind_of(part)
    if kind in ("image", "audio", "video") and part.url:
        return {"type": kind, "url": part.url}
    return {"type": "text", "text": base.as_text(part)}
