"""OpenAI Chat Completions messages, and the many servers that speak the same shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optical_memory.errors import InputError
from optical_memory.formats import base
from optical_memory.formats.base import Calls, Fields, Format, Message
from optical_memory.formats.checked import want
from optical_memory.formats.media import data_url, is_web_url, split_data_url
from optical_memory.turns import Part, Role, ToolCall, Turn
from optical_memory.wording import result_images

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
PART_TYPES = frozenset({"image_url", "input_audio", "file", "refusal"})
DETAILS: Mapping[str, str] = {name: name for name in ("low", "high", "auto", "original")}
"""The settings of an image that Chat Completions and Responses share."""
GATEWAYS: Mapping[str, str] = {"media_resolution_medium": "medium", "media_resolution_ultra_high": "ultra_high"}
"""Settings of Gemini's profiles that gateways of these shapes hand on, and OpenAI does not have.

Source: litellm 1.110.2, llms/vertex_ai/gemini/transformation.py, 2026-11-28.
"""
SETTINGS = {**DETAILS, **GATEWAYS}


class OpenAI(Format):
    """``{"role", "content", "tool_calls", …}``; a tool's result is a message of its own."""

    name = "openai"
    roles = ROLES
    strict = True
    call_id = re.compile(r".{1,40}", re.DOTALL)

    def recognises(self, message: Mapping[str, Any]) -> bool:
        """By role, by calls whose arguments are text, or by a part that only this format has."""
        if message.get("role") == "function" or message.keys() & {"function_call", "refusal", "audio"}:
            return True
        calls = message.get("tool_calls")
        if isinstance(calls, list) and calls and isinstance(calls[0], Mapping):
            function = calls[0].get("function")
            return calls[0].get("type") == "custom" or (
                isinstance(function, Mapping) and isinstance(function.get("arguments"), str)
            )
        return bool(part_types(message.get("content")) & PART_TYPES)

    def parse(self, message: Message, calls: Calls) -> list[Fields]:
        """Return the one turn of a message."""
        role = base.role_of(message, ROLES)
        parts = parse_content(message, role, parse_part)
        if isinstance(refusal := message.get("refusal"), str) and refusal:
            parts.append(base.other("refusal", text=refusal))
        if isinstance(audio := message.get("audio"), Mapping):
            parts.append(base.other("audio", text=str(audio.get("transcript") or ""), id=audio.get("id")))
        fields: Fields = {"role": role, "parts": parts, "name": parse_name(message)}
        if role == "tool":
            call_id = want(message, "tool_call_id", str) if message["role"] == "tool" else None
            fields["tool_call_id"] = calls.answered(fields["name"], call_id)
        fields["tool_calls"] = parse_calls(message, calls)
        if message.get("function_call"):
            call = want(message, "function_call", dict)
            name, arguments = want(call, "name", str, "function_call"), want(call, "arguments", str, "function_call")
            fields["tool_calls"] += (calls.made(name, arguments),)
        return [fields]

    def identified(self, turn: Turn) -> Turn:
        """Write the ids of calls, and of a result's call, into the message."""
        raw = dict(turn.raw or {})
        given = [call.get("id") for call in raw.get("tool_calls") or ()]
        if raw.get("tool_call_id") == turn.tool_call_id and given == [call.id for call in turn.tool_calls]:
            return turn
        if raw.get("role") == "tool":
            raw["tool_call_id"] = turn.tool_call_id
        if raw.get("tool_calls"):
            pairs = zip(raw["tool_calls"], turn.tool_calls, strict=False)  # function_call is a call of its own
            raw["tool_calls"] = [{**call, "id": made.id} for call, made in pairs]
        return replace(turn, raw=raw)

    def build(self, run: Sequence[Turn]) -> list[Message]:
        """Return an assistant's run as one message, each result as one, and images of results after them all."""
        if run[0].role == "tool":
            out = [self.own(turn) or _result(turn) for turn in run]
            seen = [part for turn in run if self.own(turn) is None for part in _pictures(turn)]
            return [*out, self.user_message(seen)] if seen else out
        turn = base.merged(run)
        if turn.role == "assistant":
            return _assistant(turn)
        message: Message = {"role": turn.role, "content": base.flat(turn)}
        if turn.role == "user" and turn.parts:
            message["content"] = [build_part(part) for part in base.travelling(turn)]
        return [message | ({"name": turn.name} if turn.name else {})]

    def text_part(self, text: str) -> Message:
        """Return ``{"type": "text"}``."""
        return {"type": "text", "text": text}

    def user_part(self, part: Part) -> Message:
        """Return a text, ``image_url``, ``input_audio`` or ``file`` part."""
        return build_part(part)


def part_types(content: Any) -> set[str]:
    """Return the types of the parts of a content list."""
    parts = content if isinstance(content, list) else ()
    return {kind for part in parts if isinstance(part, Mapping) and isinstance(kind := part.get("type"), str)}


def parse_name(message: Mapping[str, Any]) -> str | None:
    """Return the message's ``name``, if it has one."""
    return want(message, "name", (str, type(None))) or None if "name" in message else None


def parse_content(message: Message, role: Role, part: Any, key: str = "content", start: int = 0) -> list[Part]:
    """Return the parts of a message's content: a string, a list of parts, or null. An assistant's may be missing.

    ``part`` makes a part of an object and its path; ``start`` is the place of the first in the whole message.
    """
    if role == "assistant" and key not in message:
        return []
    content = want(message, key, (str, list, type(None)))
    if isinstance(content, str):
        return [base.text(content)] if content else []
    parts: list[Part] = []
    for place, item in enumerate(content or (), start):
        path = f"{key}[{place}]"
        if isinstance(item, str):
            parts.append(base.text(item))
        elif isinstance(item, dict):
            parts.append(part(item, path))
        else:
            raise InputError(f"{path} must be an object or a string, not {type(item).__name__}")
    return parts


def parse_calls(message: Message, calls: Calls) -> tuple[ToolCall, ...]:
    """Return the calls of ``tool_calls``; arguments may be an object, ids may be missing."""
    if not message.get("tool_calls"):
        return ()
    out = []
    for place, call in enumerate(want(message, "tool_calls", list)):
        path = f"tool_calls[{place}]"
        if not isinstance(call, dict):
            raise InputError(f"{path} must be an object, not {type(call).__name__}")
        call_id = want(call, "id", (str, type(None)), path) if "id" in call else None
        if call.get("type") == "custom":
            custom = want(call, "custom", dict, path)
            name, arguments = want(custom, "name", str, f"{path}.custom"), custom.get("input", "")
        else:
            function = want(call, "function", dict, path)
            name = want(function, "name", str, f"{path}.function")
            arguments = function.get("arguments", {})
        out.append(calls.made(name, base.arguments_text(arguments), call_id or None))
    return tuple(out)


def parse_part(part: Message, path: str) -> Part:
    """Return one part of a content list."""
    kind = part.get("type")
    if kind in ("text", "refusal"):
        value = want(part, kind, str, path)
        return base.text(value) if kind == "text" else base.other("refusal", text=value)
    if kind == "image_url":
        image = want(part, "image_url", (dict, str), path)
        if isinstance(image, str):
            return base.image(image)
        return base.image(want(image, "url", str, f"{path}.image_url"), detail=image.get("detail"))
    if kind == "input_audio":
        audio = want(part, "input_audio", dict, path)
        mime = f"audio/{audio.get('format') or 'wav'}"
        return base.other("audio", url=data_url(mime, want(audio, "data", str, f"{path}.input_audio")))
    if kind == "file":
        return parse_file(want(part, "file", dict, path))
    return base.other(str(kind))


def parse_file(file: Message) -> Part:
    """Return a file part: ``file_data`` is a data URL, or base64 alone."""
    data, name = file.get("file_data") or "", file.get("filename")
    url = file.get("file_url") or (data if split_data_url(data) or not data else data_url("application/pdf", data))
    return base.other("file", url=url, filename=name, file_id=file.get("file_id"))


def build_part(part: Part) -> Message:
    """Return one part of a user's content list."""
    if part.kind == "image" and (is_web_url(part.url) or split_data_url(part.url)):
        detail = base.detail_of(part, SETTINGS)
        return {"type": "image_url", "image_url": {"url": part.url} | ({"detail": detail} if detail else {})}
    kind, inline = base.kind_of(part), split_data_url(part.url)
    if kind == "audio" and inline:
        return {"type": "input_audio", "input_audio": {"data": inline[1], "format": inline[0].rpartition("/")[2]}}
    if kind == "file" and (file := file_fields(part)):
        return {"type": "file", "file": file}
    return {"type": "text", "text": base.as_text(part)}


def file_fields(part: Part) -> Message:
    """Return what OpenAI's two formats say of a file: its data with a name, or its id."""
    raw = part.raw or {}
    if split_data_url(part.url):
        return {"filename": raw.get("filename") or "file", "file_data": part.url}
    return {"file_id": raw["file_id"]} if raw.get("file_id") else {}


def _assistant(turn: Turn) -> list[Message]:
    said = base.travelling(turn)
    if not said and not turn.tool_calls and turn.parts:
        return []
    refusal = [part.text for part in said if base.kind_of(part) == "refusal"]
    message: Message = {"role": "assistant", "content": base.flat(turn)}
    if refusal and len(refusal) == len(said):
        message |= {"content": None, "refusal": "\n".join(refusal)}
    elif turn.tool_calls and not said:
        message["content"] = None
    if turn.tool_calls:
        message["tool_calls"] = [build_call(call) for call in turn.tool_calls]
    return [message | ({"name": turn.name} if turn.name else {})]


def build_call(call: ToolCall) -> Message:
    """Return one call of ``tool_calls``."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _result(turn: Turn) -> Message:
    message: Message = {"role": "tool", "tool_call_id": turn.tool_call_id or ""}
    return message | ({"name": turn.name} if turn.name else {}) | {"content": base.flat(turn)}


def _pictures(turn: Turn) -> list[Message]:
    """Return the images of a result, for the user message after it: a tool message takes text alone."""
    shown = [build_part(part) for part in turn.parts if part.kind == "image"]
    title = {"type": "text", "text": result_images(turn.tool_call_id)}
    return [title, *shown] if shown else []
