"""A server that speaks the providers' HTTP APIs: it refuses what they refuse, and answers as a script says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import provider_rules
import pytest

Body = dict[str, Any]


@dataclass
class Reply:
    """What the model says: a text, or one call of a tool."""

    text: str = ""
    tool: str = ""
    arguments: Body = field(default_factory=dict)


Script = Callable[[str, Body], Reply]
"""From format and request to the reply."""


class Provider:
    """The server of one test: where it listens, what came, and how it answers."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[tuple[str, Body]] = []
        self.refused: list[str] = []
        self.url = ""

    def answer(self, path: str, body: bytes) -> tuple[int, Body]:
        """Check a request and make the reply, in the provider's own shape."""
        name = format_of(path)
        try:
            request = provider_rules.parse(body)
            provider_rules.check(name, request)
        except (AssertionError, ValueError, OSError) as error:
            self.refused.append(str(error))
            return 400, {"type": "error", "error": {"type": "invalid_request_error", "message": str(error)[:2000]}}
        self.requests.append((name, request))
        return 200, SHAPES[name](self.script(name, request), len(self.requests), request.get("model", "m"))


def format_of(path: str) -> str:
    """Return the format that a path takes."""
    ends = {"/chat/completions": "openai", "/responses": "responses", "/messages": "anthropic"}
    path = path.partition("?")[0]
    return next((name for end, name in ends.items() if path.endswith(end)), "gemini")


def _openai(reply: Reply, number: int, model: str) -> Body:
    message: Body = {"role": "assistant", "content": reply.text or None, "refusal": None}
    if reply.tool:
        function = {"name": reply.tool, "arguments": json.dumps(reply.arguments)}
        message["tool_calls"] = [{"id": f"call_{number}", "type": "function", "function": function}]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if reply.tool else "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    head = {"id": f"c{number}", "object": "chat.completion", "created": 1, "model": model}
    return head | {"choices": [choice], "usage": usage}


def _responses(reply: Reply, number: int, model: str) -> Body:
    item: Body = {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed"}
    item["content"] = [{"type": "output_text", "text": reply.text, "annotations": []}]
    if reply.tool:
        item = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "status": "completed"}
        item |= {"name": reply.tool, "arguments": json.dumps(reply.arguments)}
    head = {"id": f"resp_{number}", "object": "response", "created_at": 1, "status": "completed", "model": model}
    return head | {"output": [item], "tools": [], "tool_choice": "auto", "parallel_tool_calls": True}


def _anthropic(reply: Reply, number: int, model: str) -> Body:
    block: Body = {"type": "text", "text": reply.text}
    if reply.tool:
        block = {"type": "tool_use", "id": f"toolu_{number}", "name": reply.tool, "input": reply.arguments}
    head = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": model, "stop_sequence": None}
    reason = "tool_use" if reply.tool else "end_turn"
    usage = {"input_tokens": 1, "output_tokens": 1}
    return head | {"content": [block], "stop_reason": reason, "usage": usage}


def _gemini(reply: Reply, number: int, model: str) -> Body:
    part: Body = {"text": reply.text}
    if reply.tool:
        call = {"name": reply.tool, "args": reply.arguments}  # without an id, as the Developer API gives it
        part = {"functionCall": call, "thoughtSignature": "c2lnbmF0dXJl"}
    candidate = {"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
    return {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 1}, "modelVersion": model}


SHAPES = {"openai": _openai, "responses": _responses, "anthropic": _anthropic, "gemini": _gemini}


@contextmanager
def serving(script: Script) -> Iterator[Provider]:
    """Serve on a free port of this machine until the block ends."""
    provider = Provider(script)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self._send(*provider.answer(self.path, body))

        def do_GET(self) -> None:
            """The list of models, which says what a server of one's own serves."""
            self._send(200, {"object": "list", "data": [{"id": "Qwen/Qwen3-VL-8B-Instruct", "object": "model"}]})

        def _send(self, status: int, reply: Body) -> None:
            data = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: the test shows what came."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield provider
        finally:
            server.shutdown()


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider whose model says "Done."; a test may set another script."""
    with serving(lambda name, request: Reply(text="Done.")) as server:
        yield server
