"""A service with the proxy in front of a provider of the tests, and the providers' real clients behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
from google import genai
from provider_cache import PromptCache
from provider_server import Provider, Reply, Script, serving
from replayed import MODELS
from server import Served, served

from optical_memory.budget import get_profile

KEY = "X-Optical-Memory-Key"


@dataclass(frozen=True)
class Proxied:
    """A running proxy, the provider behind it, and a key."""

    service: Served
    provider: Provider
    key: str
    open: ExitStack

    @property
    def url(self) -> str:
        return self.service.url

    @property
    def headers(self) -> dict[str, str]:
        return {KEY: self.key}

    def openai(self) -> openai.OpenAI:
        settings: Any = {"base_url": f"{self.url}/v1", "default_headers": self.headers, "max_retries": 0}
        return self.open.enter_context(openai.OpenAI(api_key="sk-own", **settings))

    def anthropic(self) -> anthropic.Anthropic:
        settings: Any = {"base_url": self.url, "default_headers": self.headers, "max_retries": 0}
        return self.open.enter_context(anthropic.Anthropic(api_key="sk-ant-own", **settings))

    def gemini(self) -> genai.Client:
        client = genai.Client(api_key="AI-own", http_options={"base_url": self.url, "headers": self.headers})
        self.open.callback(client.close)
        return client

    def http(self) -> httpx.Client:
        return self.open.enter_context(httpx.Client(base_url=self.url, headers=self.headers, timeout=600))


def done(name: str, request: dict[str, Any]) -> Reply:
    """Say that it is done."""
    return Reply(text="Done.")


@contextmanager
def proxied(folder: Path, *, format: str = "anthropic", script: Script = done, **settings: Any) -> Iterator[Proxied]:
    """Run both, with the prompt cache of the format's model."""
    with serving(script) as provider:
        provider.cache = PromptCache(get_profile(MODELS[format]))
        urls = {f"proxy_{name}_url": provider.url for name in ("openai", "anthropic", "gemini")}
        given = (
            {"store": f"sqlite:///{folder / 'memory.db'}", "proxy": "on", "key_cache_seconds": 0.0} | urls | settings
        )
        with served(**given) as service, ExitStack() as opened:
            yield Proxied(service, provider, service.key("acme"), opened)


Ask = Callable[[dict[str, Any]], tuple[str, Any]]
"""Sends a body through a client: the text that came back, and the answer's headers (None: the client hides them)."""


def asking(found: Proxied, format: str, *, stream: bool) -> Ask:
    """Return how a format's own client sends a body, as a stream or not."""
    return {
        ("openai", False): _chat, ("openai", True): _chat_stream, ("responses", False): _responses,
        ("responses", True): _responses_stream, ("anthropic", False): _messages, ("anthropic", True): _messages_stream,
        ("gemini", False): _gemini, ("gemini", True): _gemini_stream,
    }[format, stream](found)  # fmt: skip


def _chat(found: Proxied) -> Ask:
    client = found.openai()

    def ask(body: dict[str, Any]) -> tuple[str, Any]:
        raw = client.chat.completions.with_raw_response.create(**body)
        return raw.parse().choices[0].message.content or "", raw.headers

    return ask


def _chat_stream(found: Proxied) -> Ask:
    client = found.openai()

    def ask(body: dict[str, Any]) -> tuple[str, Any]:
        with client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **body) as stream:
            said = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
            return "".join(said), stream.response.headers

    return ask


def _responses(found: Proxied) -> Ask:
    client = found.openai()

    def ask(body: dict[str, Any]) -> tuple[str, Any]:
        raw = client.responses.with_raw_response.create(**body)
        return raw.parse().output_text, raw.headers

    return ask


def _responses_stream(found: Proxied) -> Ask:
    client = found.openai()

    def ask(body: dict[str, Any]) -> tuple[str, Any]:
        with client.responses.create(stream=True, **body) as stream:
            said = [event.delta for event in stream if event.type == "response.output_text.delta"]
            return "".join(said), stream.response.headers

    return ask


def _messages(found: Proxied) -> Ask:
    client = found.anthropic()

    def ask(body: dict[str, Any]) -> tuple[str, Any]:
        raw = client.messages.with_raw_response.create(**body)
        return "".join(block.text for block in raw.parse().content if block.type == "text"), raw.headers

    return ask


def _messages_stream(found: Proxied) -> Ask:
    client = found.anthropic()

    def ask(body: dict[str, Any]) -> tuple[str, Any]:
        with client.messages.stream(**body) as stream:
            return "".join(stream.text_stream), stream.response.headers

    return ask


def _gemini(found: Proxied) -> Ask:
    client = found.gemini()

    def ask(body: dict[str, Any]) -> tuple[str, Any]:
        answer = client.models.generate_content(**_gemini_arguments(body))
        return answer.text or "", answer.sdk_http_response.headers

    return ask


def _gemini_stream(found: Proxied) -> Ask:
    client = found.gemini()

    def ask(body: dict[str, Any]) -> tuple[str, Any]:
        said, headers = [], None
        for chunk in client.models.generate_content_stream(**_gemini_arguments(body)):
            said.append(chunk.text or "")
            headers = chunk.sdk_http_response.headers if chunk.sdk_http_response else headers
        return "".join(said), headers

    return ask


def _gemini_arguments(body: dict[str, Any]) -> dict[str, Any]:
    config = {"system_instruction": body.get("systemInstruction"), "tools": body["tools"]}
    return {"model": MODELS["gemini"], "contents": body["contents"], "config": config}
