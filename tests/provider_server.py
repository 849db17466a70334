"""A server that speaks the providers' HTTP APIs: it refuses what they refuse, and answers as a script says."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import provider_rules
import provider_streams
import pytest
from provider_cache import Counted, PromptCache

Body = dict[str, Any]


@dataclass
class Reply:
    """What the model says: a text, one call of a tool, or both; ``thinking`` comes signed before them.

    ``also`` is a second call, made with the first.
    """

    text: str = ""
    tool: str = ""
    arguments: Body = field(default_factory=dict)
    thinking: str = ""
    also: tuple[str, Body] | None = None

    def calls(self, number: int) -> list[tuple[str, str, Body]]:
        """Return the calls, each with what its id ends in."""
        made = [(f"{number}", self.tool, self.arguments)] if self.tool else []
        return [*made, *([(f"{number}b", *self.also)] if self.also else [])]


Script = Callable[[str, Body], Reply]
"""From format and request to the reply."""
SIZES = {"anthropic": 32_000_000, "gemini": 20_000_000}
"""Most bytes of a request; OpenAI's 50 MB for others."""


class Provider:
    """The server of one test: where it listens, what came, and how it answers.

    ``bodies`` are without their compression, ``packed`` as they came. ``cache`` counts tokens and what is read from the
    prompt cache, where it is set. ``pause`` is called between the events of a stream; what it raises ends the
    connection there.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[tuple[str, Body]] = []
        self.refused: list[str] = []
        self.heads: list[tuple[str, Any]] = []
        self.bodies: list[bytes] = []
        self.packed: list[bytes] = []
        self.streamed: list[bytes] = []
        self.cache: PromptCache | None = None
        self.counted: list[Counted] = []
        self.most_images = 1_500
        self.checked = True
        self.connections: list[socket.socket] = []
        self.stored: dict[str, list[Body]] = {}
        self.pause: Callable[[int], None] = lambda place: None
        self.url = ""

    def answer(self, path: str, body: bytes) -> tuple[int, Body]:
        """Check a request and make the reply, in the provider's own shape."""
        name = format_of(path)
        self.bodies.append(body)
        if len(body) > SIZES.get(name, 50_000_000):
            return 413, error(name, 413, "request_too_large", "Request exceeds the maximum size")
        try:
            request = provider_rules.parse(body)
            if name == "responses":
                request = self._resolved(request)
            if self.checked:
                provider_rules.check(name, request, images=self.most_images)
                provider_rules.check_signatures(name, request, self.signatures)
            counted = (
                self.cache.take(name, request) if self.cache is not None else Counted(cached=0, written=0, fresh=1)
            )
        except (AssertionError, ValueError, OSError) as problem:
            self.refused.append(str(problem))
            return 400, error(name, 400, "invalid_request_error", str(problem)[:2000])
        if path.partition("?")[0].endswith("/count_tokens"):
            return 200, {"input_tokens": counted.total}
        self.requests.append((name, request))
        self.counted.append(counted)
        reply = self.script(name, request)
        if reply.thinking:
            self.signatures.add(signature_of(reply.thinking))
        made = SHAPES[name](reply, len(self.requests), request.get("model", "m"), counted)
        if name == "responses" and request.get("store", True):
            self.stored[made["id"]] = [*request["input"], *made["output"]]
        return 200, made

    @cached_property
    def signatures(self) -> set[str]:
        """Signatures of what the model thought here: others are refused."""
        return set()

    def _resolved(self, request: Body) -> Body:
        """Return a request with what stands before it, as ``previous_response_id`` says."""
        given = request["input"]
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        before = request.get("previous_response_id")
        assert before is None or before in self.stored, f"Previous response with id '{before}' not found."
        return request | {"input": [*self.stored.get(before or "", ()), *items]}


def error(name: str, status: int, kind: str, message: str) -> Body:
    """Return an error in a provider's shape."""
    if name == "gemini":
        return {"error": {"code": status, "message": message, "status": "INVALID_ARGUMENT"}}
    return {"type": "error", "error": {"type": kind, "message": message}}


def signature_of(thinking: str) -> str:
    """Return the signature that the model puts on what it thought."""
    return hashlib.sha256(f"signed {thinking}".encode()).hexdigest()


def format_of(path: str) -> str:
    """Return the format that a path takes."""
    ends = {"/chat/completions": "openai", "/responses": "responses", "/messages": "anthropic"}
    path = path.partition("?")[0].removesuffix("/count_tokens")
    return next((name for end, name in ends.items() if path.endswith(end)), "gemini")


def _openai(reply: Reply, number: int, model: str, used: Counted) -> Body:
    message: Body = {"role": "assistant", "content": reply.text or None, "refusal": None}
    if reply.tool:
        message["tool_calls"] = [
            {"id": f"call_{made}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for made, name, arguments in reply.calls(number)
        ]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if reply.tool else "stop"}
    usage = {"prompt_tokens": used.total, "completion_tokens": 1, "total_tokens": used.total + 1}
    usage["prompt_tokens_details"] = {"cached_tokens": used.cached}
    head = {"id": f"c{number}", "object": "chat.completion", "created": 1, "model": model}
    return head | {"choices": [choice], "usage": usage}


def _responses(reply: Reply, number: int, model: str, used: Counted) -> Body:
    item: Body = {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed"}
    item["content"] = [{"type": "output_text", "text": reply.text, "annotations": []}]
    calls: list[Body] = [
        {"type": "function_call", "id": f"fc_{made}", "call_id": f"call_{made}", "status": "completed"}
        | {"name": name, "arguments": json.dumps(arguments)}
        for made, name, arguments in reply.calls(number)
    ]
    head = {"id": f"resp_{number}", "object": "response", "created_at": 1, "status": "completed", "model": model}
    usage = {"input_tokens": used.total, "output_tokens": 1, "total_tokens": used.total + 1}
    usage |= {"input_tokens_details": {"cached_tokens": used.cached}, "output_tokens_details": {"reasoning_tokens": 0}}
    rest = {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "usage": usage}
    return head | {"output": calls or [item]} | rest


def _anthropic(reply: Reply, number: int, model: str, used: Counted) -> Body:
    blocks: list[Body] = []
    if reply.thinking:
        blocks = [{"type": "thinking", "thinking": reply.thinking, "signature": signature_of(reply.thinking)}]
    if reply.text:
        blocks.append({"type": "text", "text": reply.text})
    for made, name, arguments in reply.calls(number):
        blocks.append({"type": "tool_use", "id": f"toolu_{made}", "name": name, "input": arguments})
    head = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": model, "stop_sequence": None}
    reason = "tool_use" if reply.tool else "end_turn"
    usage = {"input_tokens": used.fresh, "output_tokens": 1}
    usage |= {"cache_read_input_tokens": used.cached, "cache_creation_input_tokens": used.written}
    return head | {"content": blocks, "stop_reason": reason, "usage": usage}


def _gemini(reply: Reply, number: int, model: str, used: Counted) -> Body:
    parts: list[Body] = [{"text": reply.text}]
    if reply.tool:  # without an id, as the Developer API gives it; the first call of a step is signed
        signature = base64.b64encode(f"signature {number}".encode()).decode()
        parts = [{"functionCall": {"name": name, "args": given}} for _, name, given in reply.calls(number)]
        parts[0]["thoughtSignature"] = signature
    candidate = {"index": 0, "content": {"role": "model", "parts": parts}, "finishReason": "STOP"}
    usage = {"promptTokenCount": used.total, "cachedContentTokenCount": used.cached, "candidatesTokenCount": 1}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model}


SHAPES = {"openai": _openai, "responses": _responses, "anthropic": _anthropic, "gemini": _gemini}


def unpacked(body: bytes, encoding: str) -> bytes:
    """Return a body without its compression."""
    if encoding == "zstd":
        import zstandard

        return zstandard.decompress(body)
    return gzip.decompress(body) if encoding == "gzip" else body


def wants_stream(name: str, path: str, body: bytes) -> bool:
    """Whether a request asks for events."""
    if name == "gemini":
        return "alt=sse" in path
    return not path.endswith("/count_tokens") and json.loads(body).get("stream") is True


@contextmanager
def serving(script: Script, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Provider]:
    """Serve at a port of this machine (0: a free one) until the block ends, with ``tls`` over HTTPS."""
    provider = Provider(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            provider.heads.append((self.path, self.headers))
            plain = unpacked(body, self.headers.get("content-encoding", ""))
            status, reply = provider.answer(self.path, plain)
            provider.packed.append(body)
            name = format_of(self.path)
            if status == 200 and wants_stream(name, self.path, plain):
                self._stream(list(provider_streams.events(name, reply)))
            else:
                self._send(status, reply)

        def do_GET(self) -> None:
            """The list of models, which says what a server of one's own serves."""
            provider.heads.append((self.path, self.headers))
            self._send(200, {"object": "list", "data": [{"id": "Qwen/Qwen3-VL-8B-Instruct", "object": "model"}]})

        def _send(self, status: int, reply: Body) -> None:
            data = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.send_header("request-id", f"req_{len(provider.heads)}")
            self.end_headers()
            self.wfile.write(data)

        def _stream(self, events: list[bytes]) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream; charset=utf-8")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            provider.connections.append(self.connection)
            try:
                for place, event in enumerate(events):
                    provider.streamed.append(event)
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
                    self.wfile.flush()
                    provider.pause(place)
                self.wfile.write(b"0\r\n\r\n")
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: the test shows what came."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        provider.url = f"http{'s' * (tls is not None)}://127.0.0.1:{server.server_port}"
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
