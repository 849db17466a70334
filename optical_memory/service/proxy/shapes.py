"""The providers' wire shapes: what of a request is its conversation, what is beside it, and what errors look like."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optical_memory.service.proxy.body import Body


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One endpoint that takes a conversation.

    ``format`` is its name in :mod:`optical_memory.formats`; ``key`` the field with the messages; ``beside`` the fields
    that cost tokens beside them; ``output`` the fields that bound the answer.
    """

    provider: str
    format: str
    key: str
    beside: tuple[str, ...]
    output: tuple[str, ...]

    def output_tokens(self, body: Body) -> int:
        """Return the most tokens that the answer may have, as far as the request says it."""
        config = body.get("generationConfig")
        given = [body.get(name) for name in self.output]
        given += [config.get(name) for name in self.output] if isinstance(config, dict) else []
        return max((value for value in given if isinstance(value, int) and value > 0), default=0)


CHAT = Shape(
    provider="openai",
    format="openai",
    key="messages",
    beside=("tools", "functions", "response_format"),
    output=("max_completion_tokens", "max_tokens"),
)
RESPONSES = Shape(
    provider="openai",
    format="responses",
    key="input",
    beside=("instructions", "tools", "text"),
    output=("max_output_tokens",),
)
MESSAGES = Shape(
    provider="anthropic", format="anthropic", key="messages", beside=("system", "tools"), output=("max_tokens",)
)
GEMINI = Shape(
    provider="gemini",
    format="gemini",
    key="contents",
    beside=("systemInstruction", "system_instruction", "tools"),
    output=("maxOutputTokens", "max_output_tokens"),
)
_ENDPOINTS = {"/v1/chat/completions": CHAT, "/v1/responses": RESPONSES, "/v1/messages": MESSAGES}
COUNT_TOKENS = "/v1/messages/count_tokens"
_GEMINI_PATH = re.compile(r"/v1(?:beta|alpha)?\d*/(?:models|tunedModels)/([^/:]+):([A-Za-z]+)")
_GEMINI_FIRST = re.compile(r"(?:/upload)?/v1(?:beta|alpha)\d*(?:/|$)")
_OF_ANTHROPIC = ("messages", "complete", "skills", "organizations", "environments", "agents")
_OF_OPENAI = (
    "assistants", "audio", "batches", "chat", "chatkit", "completions", "containers", "conversations", "embeddings",
    "evals", "fine_tuning", "images", "moderations", "realtime", "responses", "threads", "uploads", "vector_stores",
    "videos",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a request goes: the provider and, for an endpoint that takes a conversation, its shape.

    ``model`` and ``streams`` are what the path says of them (Gemini's does).
    """

    provider: str
    shape: Shape | None = None
    model: str = ""
    streams: bool = False
    counts: bool = False
    """Whether it asks for a count of tokens instead of an answer."""


def target_of(method: str, path: str, headers: Mapping[str, str]) -> Target | None:
    """Return where a request under the providers' paths goes, or None where nothing says which provider is meant."""
    if found := _GEMINI_PATH.fullmatch(path):
        model, verb = found[1], found[2]
        talks = method == "POST" and verb in ("generateContent", "streamGenerateContent")
        shape = GEMINI if talks and "/models/" in path else None
        return Target(provider="gemini", shape=shape, model=model, streams=verb.startswith("stream"))
    if _GEMINI_FIRST.match(path):
        return Target(provider="gemini")
    if method == "POST" and path in _ENDPOINTS:
        return Target(provider=_ENDPOINTS[path].provider, shape=_ENDPOINTS[path])
    if method == "POST" and path == COUNT_TOKENS:
        return Target(provider="anthropic", shape=MESSAGES, counts=True)
    first = path.removeprefix("/v1/").partition("/")[0]
    if "anthropic-version" in headers or "x-api-key" in headers or first in _OF_ANTHROPIC:
        return Target(provider="anthropic")
    if "x-goog-api-key" in headers:
        return Target(provider="gemini")
    return Target(provider="openai") if first in _OF_OPENAI or "authorization" in headers else None


_KINDS = {
    400: ("invalid_request_error", "INVALID_ARGUMENT"),
    401: ("authentication_error", "UNAUTHENTICATED"),
    403: ("permission_error", "PERMISSION_DENIED"),
    404: ("not_found_error", "NOT_FOUND"),
    408: ("timeout_error", "DEADLINE_EXCEEDED"),
    413: ("request_too_large", "INVALID_ARGUMENT"),
    429: ("rate_limit_error", "RESOURCE_EXHAUSTED"),
    502: ("api_error", "UNAVAILABLE"),
    503: ("overloaded_error", "UNAVAILABLE"),
    504: ("timeout_error", "DEADLINE_EXCEEDED"),
}


def error_body(provider: str, status: int, message: str) -> bytes:
    """Return an error of the proxy itself in the provider's shape."""
    kind, google = _KINDS.get(status, ("api_error", "INTERNAL"))
    said: dict[str, Any]
    if provider == "anthropic":
        said = {"type": "error", "error": {"type": kind, "message": message}}
    elif provider == "gemini":
        said = {"error": {"code": status, "message": message, "status": google}}
    else:
        said = {"error": {"message": message, "type": kind, "param": None, "code": "optical_memory_proxy"}}
    return json.dumps(said).encode()
