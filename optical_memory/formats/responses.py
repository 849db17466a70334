"""Items of the OpenAI Responses API: each item is one turn."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optical_memory.formats import base
from optical_memory.formats.base import Calls, Fields, Format, Message
from optical_memory.formats.checked import stable_id, want
from optical_memory.formats.media import is_web_url, split_data_url
from optical_memory.formats.openai import SETTINGS, file_fields, parse_content, parse_file, part_types
from optical_memory.turns import Part, Role, Turn

ROLES: Mapping[str, Role] = {"system": "system", "developer": "developer", "user": "user", "assistant": "assistant"}
PART_TYPES = frozenset({"input_text", "input_image", "input_file", "output_text"})
SAID_BY_USER = frozenset({"mcp_approval_response"})
ARGUMENT_KEYS = ("arguments", "input", "action", "actions", "operation")
"""Where the kinds of call items keep what they were called with."""
SILENT = frozenset({"type", "id", "role", "status", "encrypted_content"})
"""Fields of an item of another kind that say nothing to a reader."""


class Responses(Format):
    """``message``, ``function_call``, ``function_call_output``, ``reasoning`` and other items.

    Any ``…_call`` with a ``call_id`` is a tool call, any ``…_call_output`` its result; items of tools that run at
    the provider (searches, image generation, MCP) and items of unknown types are kept as they are.
    """

    name = "responses"
    roles = ROLES
    adjacent = False
    call_id = re.compile(r".{1,64}", re.DOTALL)

    def recognises(self, message: Mapping[str, Any]) -> bool:
        """By an item type, or by a part that only this format has."""
        kind = message.get("type")
        if "role" not in message:
            return isinstance(kind, str) and ("content" not in message or kind == "reasoning")
        types = part_types(message.get("content"))
        if kind == "message" and (isinstance(message.get("content"), str) or types == {"refusal"}):
            return True
        return bool(types & PART_TYPES) or (kind is not None and "content" not in message)

    def parse(self, message: Message, calls: Calls) -> list[Fields]:
        """Return the one turn of an item."""
        kind = message.get("type", "message")
        if kind == "message":
            role = base.role_of(message, ROLES)
            return [{"role": role, "parts": parse_content(message, role, parse_part)}]
        kind = str(kind)
        if kind.endswith("_output") and ("call_id" in message or "_call_" in kind):
            call_id = want(message, "call_id" if "call_id" in message else "id", (str, type(None)))
            fields: Fields = {"role": "tool", "parts": parse_output(message), "name": message.get("name")}
            return [fields | {"tool_call_id": "" if call_id is None else calls.answered(None, call_id)}]
        if kind.endswith("_call") and (kind == "function_call" or message.get("call_id")):
            call_id, name = want(message, "call_id", str), kind.removesuffix("_call")
            if kind in ("function_call", "custom_tool_call"):
                name = want(message, "name", str)
            given: Any = next((message[key] for key in ARGUMENT_KEYS if key in message), {})
            return [{"role": "assistant", "tool_calls": (calls.made(name, base.arguments_text(given), call_id),)}]
        role = "user" if kind in SAID_BY_USER else "assistant"
        role = base.role_of(message, ROLES) if "role" in message else role
        return [
            {"role": role, "parts": [_other(message)], "id": None if kind == "item_reference" else message.get("id")}
        ]

    def split(self, messages: Sequence[Message]) -> tuple[Any, list[Message]]:
        """Take out the instructions at the beginning, as one text; later ones, and images, stay where they are."""
        texts: list[str] = []
        for message in messages:
            text = _instruction(message)
            if text is None:
                break
            texts.append(text)
        return "\n\n".join(texts) or None, list(messages[len(texts) :])

    def request(self, system: Any, messages: list[Message], tools: list[Message]) -> Message:
        """Return ``instructions``, ``input`` and ``tools``."""
        head = {"instructions": system} if system else {}
        return head | {"input": messages} | ({"tools": tools} if tools else {})

    def tool(self, name: str, description: str | None, parameters: Mapping[str, Any]) -> Message:
        """Return a function tool. It is not strict: a strict one may have no optional arguments."""
        said = {"description": description} if description else {}
        return {"type": "function", "name": name} | said | {"parameters": dict(parameters), "strict": False}

    def is_own_tool(self, tool: Mapping[str, Any]) -> bool:
        """By the name beside the type, and the field ``strict``, which the API requires."""
        return tool.get("type") == "function" and "name" in tool and "strict" in tool

    def as_sent(self, message: Message) -> Message | None:
        """Leave out ids of messages that the API did not give, and empty messages; other items stay whole."""
        if "role" not in message or str(message.get("id")).startswith("msg"):
            return message
        message = {key: value for key, value in message.items() if key != "id"}
        return message if message.get("content") else None

    def identified(self, turn: Turn) -> Turn:
        """Write the ``call_id`` into the item."""
        call_id = turn.tool_calls[0].id if turn.tool_calls else turn.tool_call_id
        return replace(turn, raw={**(turn.raw or {}), "call_id": call_id}) if call_id else turn

    def together(self, run: Sequence[Turn]) -> list[list[Turn]]:
        """Each turn leaves alone: an item is never part of a message."""
        return [[turn] for turn in run]

    def build(self, run: Sequence[Turn]) -> list[Message]:
        """Return the items of each turn: what it said, then its calls."""
        return [item for turn in run for item in self._items(turn)]

    def _items(self, turn: Turn) -> list[Message]:
        if (own := self.own(turn)) is not None:
            return [own]
        said = base.travelling(turn)
        if turn.role == "tool":
            output = [build_part(part) for part in said] if turn.parts else turn.text
            return [{"type": "function_call_output", "call_id": turn.tool_call_id or "", "output": output}]
        items: list[Message] = []
        if turn.role == "assistant":
            items += _assistant(turn, said)
        elif said or not turn.parts:
            content = [build_part(part) for part in said] if turn.parts else turn.text
            items.append({"role": turn.role, "content": content})
        return items + [
            {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
            for call in turn.tool_calls
        ]

    def text_part(self, text: str) -> Message:
        """Return ``{"type": "input_text"}``."""
        return {"type": "input_text", "text": text}

    def user_part(self, part: Part) -> Message:
        """Return an ``input_text``, ``input_image`` or ``input_file`` part."""
        return build_part(part)


def _other(item: Message) -> Part:
    """Return an item of another kind with what it says as JSON: of a tool that ran at the provider, or an unknown."""
    said = {key: value for key, value in item.items() if key not in SILENT}
    kind = str(item.get("type"))
    told = said and kind not in ("reasoning", "item_reference", "image_generation_call")
    return base.other(kind, text=json.dumps(said, ensure_ascii=False) if told else "")


def _instruction(message: Message) -> str | None:
    """Return the text of a system or developer message; None for any other, or one with more than text."""
    content = message.get("content")
    if message.get("role") not in ("system", "developer"):
        return None
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or ()) if part_types(content) == {"input_text"} else None


def parse_part(part: Message, path: str) -> Part:
    """Return one part of a message's content or of a result's output."""
    kind = str(part.get("type"))
    if kind in ("input_text", "output_text", "text", "summary_text"):
        return base.text(want(part, "text", str, path))
    if kind == "refusal":
        return base.other("refusal", text=want(part, "refusal", str, path))
    if kind in ("input_image", "computer_screenshot"):
        url = part.get("image_url") or ""
        return base.image(str(url), detail=part.get("detail"))
    if kind == "input_file":
        return parse_file(part)
    return base.other(kind)


def parse_output(message: Message) -> list[Part]:
    """Return the parts of a result: text, a list of parts, one screenshot, or what a shell printed."""
    output = message.get("output")
    if output is None and "output" in message:
        return []
    if isinstance(output, dict) and "type" in output:
        return [parse_part(output, "output")]
    if isinstance(output, (str, list)):
        if isinstance(output, list) and not all(isinstance(part, dict) and "type" in part for part in output):
            return [base.text(json.dumps(output, ensure_ascii=False))]
        return parse_content(message, "tool", parse_part, "output")
    if output is None and any(key in message for key in ("tools", "result")):
        return [base.other(str(message["type"]))]
    return [base.text(json.dumps(want(message, "output", (dict, list, str)), ensure_ascii=False))]


def build_part(part: Part) -> Message:
    """Return one part of a user's content, or of a result's output."""
    if part.kind == "image":
        if is_web_url(part.url) or split_data_url(part.url):
            detail = base.detail_of(part, SETTINGS) or "auto"  # the field is required
            return {"type": "input_image", "image_url": part.url, "detail": detail}
    if base.kind_of(part) == "file":
        if is_web_url(part.url):
            return {"type": "input_file", "file_url": part.url}
        if fields := file_fields(part):
            return {"type": "input_file"} | fields
    return {"type": "input_text", "text": base.as_text(part)}


def _assistant(turn: Turn, said: Sequence[Part]) -> list[Message]:
    refused = [part.text for part in said if base.kind_of(part) == "refusal"]
    if refused and len(refused) == len(said):
        parts = [{"type": "refusal", "refusal": text} for text in refused]
        item_id = stable_id(turn.id).replace("call_", "msg_")
        return [{"type": "message", "id": item_id, "role": "assistant", "status": "completed", "content": parts}]
    if said or not (turn.parts or turn.tool_calls):
        return [{"role": "assistant", "content": base.flat(turn)}]
    return []
