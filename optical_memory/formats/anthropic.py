"""Anthropic Messages: content blocks; results are blocks of a user message; the system prompt stands apart."""

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
from optical_memory.formats.openai import parse_content, part_types
from optical_memory.turns import Part, Role, Turn

ROLES: Mapping[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}
BLOCK_TYPES = frozenset(
    {"tool_use", "tool_result", "thinking", "redacted_thinking", "document", "server_tool_use", "search_result"}
)
ID_KEYS = {"tool_use": "id", "tool_result": "tool_use_id"}
IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


class Anthropic(Format):
    """``{"role", "content"}`` with blocks. In lists of this library a system prompt is a message of role "system"."""

    name = "anthropic"
    roles = ROLES
    system_apart = True
    unique_ids = True
    call_id = re.compile(r"[a-zA-Z0-9_-]{1,64}")

    def recognises(self, message: Mapping[str, Any]) -> bool:
        """By a block that only this format has, or by the fields of a response."""
        content = message.get("content")
        if part_types(content) & BLOCK_TYPES:
            return True
        blocks = content if isinstance(content, list) else ()
        marks = {"cache_control", "citations", "source"}
        return any(isinstance(block, Mapping) and block.keys() & marks for block in blocks) or (
            message.get("type") == "message" and "stop_reason" in message
        )

    def parse(self, message: Message, calls: Calls) -> list[Fields]:
        """Return the turns of a message: each result is one, and each run of other blocks."""
        role = base.role_of(message, ROLES)
        content = want(message, "content", (str, list))
        if role != "user" or not part_types(content) & {"tool_result"}:
            return [self._said(message, role, calls)]
        runs: list[list[Any]] = []
        for block in content:
            if not isinstance(block, dict):
                raise InputError(f"content must hold objects, not {type(block).__name__}")
            if runs and block.get("type") != "tool_result" != runs[-1][0].get("type"):
                runs[-1].append(block)
            else:
                runs.append([block])
        place, out = 0, []
        for run in runs:
            if run[0].get("type") == "tool_result":
                fields = _result(run[0], f"content[{place}]", calls)
            else:
                fields = self._said({"role": role, "content": run}, role, calls, place)
            out.append(fields | {"piece": run})
            place += len(run)
        return out

    def _said(self, message: Message, role: Role, calls: Calls, start: int = 0) -> Fields:
        parts = parse_content(message, role, parse_block, start=start)
        made = []
        content = message["content"]
        for place, block in enumerate(content if isinstance(content, list) else (), start):
            if isinstance(block, dict) and block.get("type") == "tool_use":
                path = f"content[{place}]"
                arguments = base.arguments_text(want(block, "input", dict, path))
                made.append(calls.made(want(block, "name", str, path), arguments, want(block, "id", str, path)))
        parts = [part for part in parts if base.kind_of(part) != "tool_use"]
        return {"role": role, "parts": parts, "tool_calls": tuple(made)}

    def identified(self, turn: Turn) -> Turn:
        """Write the ids of calls, and of a result's call, into the blocks."""
        ids = iter([call.id for call in turn.tool_calls] or [turn.tool_call_id or ""])
        content = (turn.raw or {}).get("content")
        blocks = [
            block | {key: next(ids)} if (key := ID_KEYS.get(block.get("type"))) else block
            for block in (content if isinstance(content, list) else ())
        ]
        return replace(turn, raw={**(turn.raw or {}), "content": blocks}) if blocks else turn

    def build(self, run: Sequence[Turn]) -> list[Message]:
        """Return one message with the blocks of the whole run."""
        role = run[0].role
        if role in ("system", "developer"):
            text = base.flat(run[0])
            return [{"role": "system", "content": text}] if text.strip() else []
        if len(run) == 1 and role != "tool" and not run[0].parts and not run[0].tool_calls:
            return [{"role": role, "content": run[0].text}] if run[0].text.strip() else []
        blocks = [block for turn in run for block in self._blocks(turn)]
        return [{"role": "assistant" if role == "assistant" else "user", "content": blocks}] if blocks else []

    def _blocks(self, turn: Turn) -> list[Message]:
        own = self.own(turn)
        if own is not None and isinstance(own["content"], list):
            return own["content"]
        said = [part for part in base.travelling(turn) if part.kind != "text" or part.text.strip()]
        if turn.role == "assistant":
            blocks = [self.text_part(base.as_text(part)) for part in said]
            return blocks + [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": base.arguments_object(call.arguments)}
                for call in turn.tool_calls
            ]
        if turn.role != "tool":
            return [build_block(part) for part in said]
        result: Message = {"type": "tool_result", "tool_use_id": turn.tool_call_id or ""}
        plain = all(part.kind == "text" for part in said)
        result["content"] = turn.text if plain else [build_block(part) for part in said]
        return [result | ({"is_error": True} if base.is_error(turn) else {})]

    def split(self, messages: Sequence[Message]) -> tuple[Any, list[Message]]:
        """Take the instructions out: a string, or a list of text blocks."""
        system = [message["content"] for message in messages if message.get("role") == "system"]
        rest = [message for message in messages if message.get("role") != "system"]
        if len(system) < 2:
            return (system[0] if system else None), rest
        lists = [content if isinstance(content, list) else [self.text_part(content)] for content in system]
        return [block for blocks in lists for block in blocks], rest

    def request(self, system: Any, messages: list[Message], tools: list[Message]) -> Message:
        """Return ``system``, ``messages`` and ``tools``."""
        return ({"system": system} if system else {}) | super().request(system, messages, tools)

    def tool(self, name: str, description: str | None, parameters: Mapping[str, Any]) -> Message:
        """Return a tool with an ``input_schema``."""
        said = {"description": description} if description else {}
        return {"name": name} | said | {"input_schema": dict(parameters)}

    def is_own_tool(self, tool: Mapping[str, Any]) -> bool:
        """By its schema."""
        return "input_schema" in tool

    def as_sent(self, message: Message) -> Message | None:
        """Leave out blank texts, messages of nothing else, and all fields but role and content, which are refused."""
        content = message["content"]
        if not isinstance(content, str):
            content = [block for block in content if block.get("type") != "text" or str(block.get("text")).strip()]
        said = content.strip() if isinstance(content, str) else content
        return {"role": message["role"], "content": content} if said else None

    def text_part(self, text: str) -> Message:
        """Return ``{"type": "text"}``."""
        return {"type": "text", "text": text}

    def user_part(self, part: Part) -> Message:
        """Return a text, ``image`` or ``document`` block. There is no hint of detail."""
        return build_block(part)


def parse_block(block: Message, path: str) -> Part:
    """Return one content block that is not a result."""
    kind = str(block.get("type"))
    if kind == "text":
        return base.text(want(block, "text", str, path))
    if kind == "image":
        source = want(block, "source", dict, path)
        return base.image(_source_url(source, f"{path}.source"))
    if kind == "document":
        return _document(block, path)
    if kind == "search_result":
        blocks = want(block, "content", list, path)
        text = "\n".join(
            item["text"] for item in blocks if isinstance(item, dict) and isinstance(item.get("text"), str)
        )
        return base.other(kind, text=text)
    return base.other(kind)


def build_block(part: Part) -> Message:
    """Return one block of a user message or of a result."""
    inline = split_data_url(part.url)
    if part.kind == "image" and (is_web_url(part.url) or (inline and inline[0] in IMAGE_TYPES)):
        return _image(part.url)
    if base.kind_of(part) == "file" and (is_web_url(part.url) or (inline and inline[0] == "application/pdf")):
        title = (part.raw or {}).get("filename")
        return {"type": "document", "source": _source(part.url)} | ({"title": title} if title else {})
    return {"type": "text", "text": base.as_text(part)}


def _result(block: Message, path: str, calls: Calls) -> Fields:
    call_id = calls.answered(None, want(block, "tool_use_id", str, path))
    content = {"content": block.get("content")}
    try:
        parts = parse_content(content, "tool", parse_block)
    except InputError as error:
        raise InputError(f"{path}.{error}") from None
    if block.get("is_error"):
        parts.append(base.other("error"))
    return {"role": "tool", "parts": parts, "tool_call_id": call_id}


def _document(block: Message, path: str) -> Part:
    source = want(block, "source", dict, path)
    title = block.get("title")
    if source.get("type") == "text":
        return base.other("document", text=want(source, "data", str, f"{path}.source"), filename=title)
    url = _source_url(source, f"{path}.source") if source.get("type") in ("base64", "url") else ""
    return base.other("file", url=url, filename=title)


def _source_url(source: Message, path: str) -> str:
    if source.get("type") == "base64":
        return data_url(want(source, "media_type", str, path), want(source, "data", str, path))
    return want(source, "url", str, path) if source.get("type") == "url" else ""


def _source(url: str) -> Message:
    inline = split_data_url(url)
    return {"type": "base64", "media_type": inline[0], "data": inline[1]} if inline else {"type": "url", "url": url}


def _image(url: str) -> Message:
    return {"type": "image", "source": _source(url)}
