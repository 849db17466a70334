"""A recorded session of a coding agent, sent again turn by turn as each provider's client would."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from optical_memory.formats import from_turns, split_system, to_turns

Body = dict[str, Any]
MODELS = {
    "openai": "gpt-5",
    "responses": "gpt-5",
    "anthropic": "claude-opus-5-5",
    "gemini": "gemini-3-pro-preview",
}
TOOL: Body = {
    "name": "bash",
    "description": "Run a command.",
    "parameters": {"type": "object", "properties": {"command": {"type": "string"}}},
}
IDENTITY = "You are Claude Code, Anthropic's official CLI for Claude."
USER_ID = "user_ab12_account__session_5f0c2a9e-6f1d-4a57-9d0e-1f2e3d4c5b6a"


@dataclass(frozen=True)
class Replay:
    """One session in one provider's shape: its instructions, and its messages."""

    format: str
    system: Any
    messages: list[Body] = field(repr=False)

    @classmethod
    def of(cls, messages: list[Body], format: str) -> Replay:
        made = from_turns(to_turns(messages, "openai"), format)
        for message in made:
            message.pop("id", None)
        system, rest = split_system(made, format)
        if format == "gemini":
            rest = _signed(rest)
        return cls(format, system, rest)

    def requests(self) -> Iterator[list[Body]]:
        """Yield the list of each request: all before an answer of the model."""
        role = "model" if self.format == "gemini" else "assistant"
        for end, message in enumerate(self.messages):
            speaks = message.get("role") == role or message.get("type") == "function_call"
            after = self.messages[end - 1] if end else {}
            goes_on = after.get("role") == role or after.get("type") == "function_call"
            if speaks and end and not goes_on:
                yield self.messages[:end]


def _signed(contents: list[Body]) -> list[Body]:
    """Give the first call of each step a signature of its own, as Gemini 3 does."""
    out = copy.deepcopy(contents)
    for number, content in enumerate(out):
        calls = [part for part in content["parts"] if "functionCall" in part]
        if calls:
            calls[0]["thoughtSignature"] = f"c2lnbmF0dXJl{number:04d}"
    return out


def body_of(replay: Replay, messages: list[Body], **more: Any) -> Body:
    """Return the body of a request, with a tool, and with markers as Claude Code sets them."""
    model, schema = MODELS[replay.format], TOOL["parameters"]
    if replay.format == "openai":
        tools = [{"type": "function", "function": TOOL}]
        return {"model": model, "messages": messages, "tools": tools} | more
    if replay.format == "responses":
        tools = [{"type": "function", "strict": False, **TOOL}]
        body = {"model": model, "input": messages, "tools": tools, "store": False}
        return body | ({"instructions": replay.system} if replay.system else {}) | more
    if replay.format == "anthropic":
        return _claude(replay, messages) | more
    declared = [{"name": TOOL["name"], "description": TOOL["description"], "parametersJsonSchema": schema}]
    body = {"contents": messages, "tools": [{"functionDeclarations": declared}]}
    return body | ({"systemInstruction": replay.system} if replay.system else {}) | more


def _claude(replay: Replay, messages: list[Body]) -> Body:
    mark = {"type": "ephemeral"}
    told = replay.system if isinstance(replay.system, str) else "Help with code."
    system = [{"type": "text", "text": IDENTITY}, {"type": "text", "text": told, "cache_control": mark}]
    tool = {"name": TOOL["name"], "description": TOOL["description"], "input_schema": TOOL["parameters"]}
    marked = copy.deepcopy(messages)
    for message in [one for one in marked if one["role"] == "user"][-2:]:
        if isinstance(message["content"], str):
            message["content"] = [{"type": "text", "text": message["content"]}]
        message["content"][-1]["cache_control"] = mark
    head = {"model": MODELS["anthropic"], "max_tokens": 1_024, "metadata": {"user_id": USER_ID}}
    return head | {"system": system, "tools": [tool], "messages": marked}


def path_of(format: str, *, stream: bool = False) -> str:
    """Return the path of a format's endpoint."""
    if format == "gemini":
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/v1beta/models/{MODELS['gemini']}:{verb}"
    return {"openai": "/v1/chat/completions", "responses": "/v1/responses", "anthropic": "/v1/messages"}[format]
