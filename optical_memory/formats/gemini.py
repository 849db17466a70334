"""Gemini contents: parts, function calls and responses that pair by name or id; the instruction stands apart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from optical_memory.errors import InputError
from optical_memory.formats import base
from optical_memory.formats.base import Calls, Fields, Format, Message
from optical_memory.formats.checked import want
from optical_memory.formats.media import data_url, is_web_url, mime_of_url, split_data_url
from optical_memory.turns import Part, Role, ToolCall, Turn, join_text

ROLES: Mapping[str, Role] = {"system": "system", "user": "user", "model": "assistant", "function": "tool"}
FOREIGN_SIGNATURE = "skip_thought_signature_validator"
"""Gemini 3 refuses a step whose first function call has no thought signature; Google documents this value for
calls that another model made (ai.google.dev/gemini-api/docs/thought-signatures, 2026-11-24)."""
ID_HOLDERS = ("functionCall", "function_call", "functionResponse", "function_response")
RESULT_KEYS = ("output", "result", "content", "error")
"""Keys under which a response holds one text. Written: "output", or "error" (Google's own names)."""
RESOLUTIONS: Mapping[str, str] = {
    name: f"MEDIA_RESOLUTION_{name.upper()}" for name in ("low", "medium", "high", "ultra_high")
}
"""The settings of an image, which Gemini 3 and later take."""


class Gemini(Format):
    """``{"role", "parts"}``. In lists of this library the system instruction is a content of role "system".

    Field names are read in both spellings (``functionCall``, ``function_call``) and written as in the REST API.
    """

    name = "gemini"
    roles = ROLES
    body = "parts"
    system_apart = True
    named_results = True

    def recognises(self, message: Mapping[str, Any]) -> bool:
        """By its parts."""
        return "parts" in message and "content" not in message

    def parse(self, message: Message, calls: Calls) -> list[Fields]:
        """Return the turns of a content: each function response is one, and each run of other parts."""
        role = base.role_of({"role": message.get("role") or "user"}, ROLES)
        cut_short = role == "assistant" and "parts" not in message  # as a model stopped before its first word is
        parts = [] if cut_short else want(message, "parts", (list, type(None))) or []
        runs: list[list[Message]] = []
        for place, part in enumerate(parts):
            if not isinstance(part, dict):
                raise InputError(f"parts[{place}] must be an object, not {type(part).__name__}")
            answer = _get(part, "functionResponse") is not None
            if runs and not answer and _get(runs[-1][0], "functionResponse") is None:
                runs[-1].append(part)
            else:
                runs.append([part])
        place, out = 0, []
        for run in runs or [[]]:
            answer = bool(run) and _get(run[0], "functionResponse") is not None
            fields = _response(run[0], f"parts[{place}]", calls) if answer else _said(run, role, place, calls)
            out.append(fields | ({"piece": run} if len(runs) > 1 else {}))
            place += len(run)
        return out

    def together(self, run: Sequence[Turn]) -> list[list[Turn]]:
        """All or none: a function call must come right after a user's content or a response."""
        return [list(run)] if any(turn.tool_calls for turn in run) else [[turn] for turn in run]

    def identified(self, turn: Turn) -> Turn:
        """Write the ids of calls and responses into the parts that have one: the others pair by name and order."""
        ids = iter([call.id for call in turn.tool_calls] or [turn.tool_call_id or ""])
        parts = []
        for part in (turn.raw or {}).get("parts") or ():
            key = next(
                (key for key in part if key.replace("_", "").lower() in ("functioncall", "functionresponse")), ""
            )
            call_id = next(ids) if key else None
            parts.append(part | {key: part[key] | {"id": call_id}} if key and part[key].get("id") else part)
        return replace(turn, raw={**(turn.raw or {}), "parts": parts})

    def build(self, run: Sequence[Turn]) -> list[Message]:
        """Return one content with the parts of the whole run."""
        role = {"assistant": "model", "tool": "user", "developer": "system"}.get(run[0].role, run[0].role)
        parts = [part for turn in run for part in self._parts(turn)]
        calls = [part for part in parts if _get(part, "functionCall") is not None]
        if calls and not _get(calls[0], "thoughtSignature"):
            calls[0]["thoughtSignature"] = FOREIGN_SIGNATURE
        return [{"role": role, "parts": parts}] if parts else []

    def _parts(self, turn: Turn) -> list[Message]:
        if (own := self.own(turn)) is not None:
            return own.get("parts") or []
        said = base.travelling(turn)
        if turn.role == "tool":
            return [_function_response(turn, said)]
        if turn.role == "user":
            return [build_part(part) for part in said]
        return [{"text": base.as_text(part)} for part in said] + [_function_call(call) for call in turn.tool_calls]

    def split(self, messages: Sequence[Message]) -> tuple[Any, list[Message]]:
        """Take the instructions out, as one content."""
        system = [part for message in messages if message.get("role") == "system" for part in message["parts"]]
        return {"parts": system} if system else None, [m for m in messages if m.get("role") != "system"]

    def request(self, system: Any, messages: list[Message], tools: list[Message]) -> Message:
        """Return ``contents``, and ``config`` with ``system_instruction`` and ``tools``."""
        config = {"system_instruction": system} if system else {}
        config |= {"tools": tools} if tools else {}
        return {"contents": list(_stepwise(messages))} | ({"config": config} if config else {})

    def tool(self, name: str, description: str | None, parameters: Mapping[str, Any]) -> Message:
        """Return a tool with one function declaration."""
        said = {"description": description} if description else {}
        return {"functionDeclarations": [{"name": name} | said | {"parametersJsonSchema": dict(parameters)}]}

    def is_own_tool(self, tool: Mapping[str, Any]) -> bool:
        """By its declarations."""
        return bool(tool.keys() & {"functionDeclarations", "function_declarations"})

    def joined_tools(self, tools: list[Message]) -> list[Message]:
        """Return all declarations in one tool: Gemini takes several tools only of different kinds."""
        keys = ("functionDeclarations", "function_declarations")
        declared = [one for tool in tools if len(tool) == 1 for key in keys for one in tool.get(key) or ()]
        rest = [tool for tool in tools if len(tool) != 1 or not tool.keys() & set(keys)]
        return ([{"functionDeclarations": declared}] if declared else []) + rest

    def is_users(self, message: Mapping[str, Any]) -> bool:
        """Whether a content is the user's; one without a role is."""
        return (message.get("role") or "user") == "user"

    def as_sent(self, message: Message) -> Message | None:
        """Leave out empty texts without a signature, contents of nothing else, and fields but role and parts."""
        parts = [part for part in message.get("parts") or () if part not in ({}, {"text": ""})]
        return {"role": message.get("role") or "user", "parts": parts} if parts else None

    def text_part(self, text: str) -> Message:
        """Return ``{"text"}``."""
        return {"text": text}

    def user_part(self, part: Part) -> Message:
        """Return a part with ``text``, ``inlineData`` or ``fileData``; detail becomes a ``mediaResolution``."""
        return build_part(part)


def _stepwise(contents: Iterable[Message]) -> Iterator[Message]:
    """Join the responses of one step, and a call with the model's contents before it, as Gemini demands."""
    for (role, answers), group in groupby(contents, key=lambda one: (one["role"], _holds(one, "functionResponse"))):
        run = list(group)
        if answers or (role == "model" and any(_holds(content, "functionCall") for content in run)):
            run = [{"role": role, "parts": [part for content in run for part in content["parts"]]}]
        yield from run


def _holds(content: Message, key: str) -> bool:
    return any(_get(part, key) is not None for part in content["parts"])


def _get(part: Mapping[str, Any], key: str) -> Any:
    """Return a field by its REST name or its Python name."""
    value = part.get(key)
    return value if value is not None else part.get("".join(f"_{c.lower()}" if c.isupper() else c for c in key))


def _object(part: Message, key: str, path: str) -> Message:
    return want({key: _get(part, key)}, key, dict, path)  # type: ignore[no-any-return]


def _id(holder: Message, path: str) -> str | None:
    return want(holder, "id", (str, type(None)), path) if "id" in holder else None


def _said(run: Sequence[Message], role: Role, start: int, calls: Calls) -> Fields:
    parts: list[Part] = []
    made: list[ToolCall] = []
    for place, part in enumerate(run, start):
        path = f"parts[{place}]"
        if _get(part, "functionCall") is not None:
            call = _object(part, "functionCall", path)
            arguments, call_id = base.arguments_text(call.get("args") or {}), _id(call, f"{path}.functionCall")
            made.append(calls.made(want(call, "name", str, f"{path}.functionCall"), arguments, call_id))
        else:
            parts.append(_part(part, path))
    return {"role": role, "parts": parts, "tool_calls": tuple(made)}


def _part(part: Message, path: str) -> Part:
    if "text" in part and part["text"] is not None:
        value = want(part, "text", str, path)
        return base.other("thought") if part.get("thought") else base.text(value)
    resolution = _get(part, "mediaResolution")
    if _get(part, "inlineData") is not None:
        blob = _object(part, "inlineData", path)
        mime = want({"mimeType": _get(blob, "mimeType")}, "mimeType", str, f"{path}.inlineData")
        url = data_url(mime, want(blob, "data", str, f"{path}.inlineData"))
        return _media(mime, url, _get(blob, "displayName"), resolution)
    if _get(part, "fileData") is not None:
        file = _object(part, "fileData", path)
        url = want({"fileUri": _get(file, "fileUri")}, "fileUri", str, f"{path}.fileData")
        return _media(str(_get(file, "mimeType") or ""), url, _get(file, "displayName"), resolution)
    kind = next((key for key in part if key not in ("thoughtSignature", "thought_signature")), "empty")
    return base.other(kind, sent=part.get(kind))  # counted as it is sent


def _media(mime: str, url: str, name: Any, resolution: Any) -> Part:
    kind = mime.partition("/")[0]
    if kind == "image":
        level = str((_get(resolution, "level") if isinstance(resolution, dict) else resolution) or "").upper()
        return base.image(url, detail=next((key for key, value in RESOLUTIONS.items() if value == level), None))
    return base.other(kind if kind in ("audio", "video") else "file", url=url, filename=name)


def _response(part: Message, path: str, calls: Calls) -> Fields:
    answer = _object(part, "functionResponse", path)
    name = want(answer, "name", str, f"{path}.functionResponse")
    response = answer.get("response")
    parts: list[Part] = []
    if isinstance(response, dict) and len(response) == 1 and isinstance(next(iter(response.values())), str):
        key, value = next(iter(response.items()))
        parts.append(base.text(value if key in RESULT_KEYS else json.dumps(response, ensure_ascii=False)))
    elif response is not None:
        parts.append(base.text(json.dumps(response, ensure_ascii=False)))
    if isinstance(response, dict) and "error" in response:
        parts.append(base.other("error"))
    media = answer.get("parts") or []
    parts += [_part(item, f"{path}.functionResponse.parts") for item in media if isinstance(item, dict)]
    call_id = calls.answered(name, _id(answer, f"{path}.functionResponse"))
    return {"role": "tool", "parts": parts, "name": name, "tool_call_id": call_id}


def build_part(part: Part) -> Message:
    """Return one part of a user's content."""
    if split_data_url(part.url):
        return _inline(part.url) | _resolution(part)
    if part.url and (is_web_url(part.url) or part.url.startswith("gs://")):
        default = "image/jpeg" if part.kind == "image" else "application/pdf"
        return {"fileData": {"mimeType": mime_of_url(part.url, default), "fileUri": part.url}} | _resolution(part)
    return {"text": base.as_text(part)}


def _resolution(part: Part) -> Message:
    level = base.detail_of(part, RESOLUTIONS)
    return {"mediaResolution": {"level": level}} if level else {}


def _inline(url: str) -> Message:
    mime, data = split_data_url(url) or ("", "")
    return {"inlineData": {"mimeType": mime, "data": data}}


def _function_call(call: ToolCall) -> Message:
    return {"functionCall": {"id": call.id, "name": call.name, "args": base.arguments_object(call.arguments)}}


def _function_response(turn: Turn, said: Sequence[Part]) -> Message:
    """Return a response; its images travel inside it, which Gemini 3 and later take."""
    media = [_inline(part.url) | _resolution(part) for part in said if split_data_url(part.url)]
    text = join_text("tool", [base.text(base.as_text(part)) for part in said if not split_data_url(part.url)])
    answer: Message = {"name": turn.name or "tool", "response": {"error" if base.is_error(turn) else "output": text}}
    if turn.tool_call_id:
        answer = {"id": turn.tool_call_id} | answer
    return {"functionResponse": answer | ({"parts": media} if media else {})}
