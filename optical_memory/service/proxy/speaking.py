"""One stream to the caller out of one or more of the provider's: recall calls are held back, all else goes on at once.

A stream goes on with another one where the model only looked something up: what it had said before stays said, blocks
are numbered on, and usage is summed. Chat Completions and Messages without thinking: elsewhere what was streamed before
a call is tied to that call (signed thoughts, items with ids of their own), and could not stand without it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from optical_memory import wording
from optical_memory.service.proxy.body import Body
from optical_memory.service.proxy.recalling import Json, added
from optical_memory.service.proxy.shapes import CHAT, MESSAGES, Shape
from optical_memory.service.proxy.usage import events_of


def can_speak(shape: Shape, body: Body) -> bool:
    """Whether recall calls in a stream can be answered."""
    if shape is MESSAGES:
        thinking = body.get("thinking")
        return not isinstance(thinking, dict) or thinking.get("type") == "disabled"
    return shape is CHAT


async def events_in(response: httpx.Response) -> AsyncIterator[bytes]:
    """Yield the events of a stream, each as soon as it is whole, with the blank line after it."""
    rest = b""
    async for chunk in response.aiter_raw():
        rest += chunk
        while (end := _end(rest)) >= 0:
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def _end(text: bytes) -> int:
    ends = [at + len(mark) for mark in (b"\n\n", b"\r\n\r\n") if (at := text.find(mark)) >= 0]
    return min(ends, default=-1)


class Speaking(ABC):
    """What the caller has been told so far, and what the model says now."""

    def __init__(self) -> None:
        self.usages: list[Json] = []
        """The usage of each stream."""
        self.goes_on = False
        """Whether the stream that ends now only looked something up: another one follows."""
        self.beside = False
        """Whether it ends with calls of the caller's beside recall calls; who has seen to them sets it back."""
        self.last = False
        """Whether no other stream may follow."""
        self.begin()

    @classmethod
    def of(cls, shape: Shape) -> Speaking:
        """Return how a provider's streams are put together."""
        return _Messages() if shape is MESSAGES else _Chat()

    def begin(self) -> None:
        """Make ready for a stream of the provider."""
        self.usages.append({})
        self.goes_on = False
        self._start()

    def saw(self, event: bytes) -> bytes:
        """Take in an event, and return what the caller is told at once."""
        said = next(events_of(event), None)
        return self._done(event) if said is None else self._saw(event, said)

    @property
    def usage(self) -> Json:
        """The usage of all streams."""
        return added([usage for usage in self.usages if usage])

    @property
    @abstractmethod
    def answer(self) -> Json:
        """What the model said in this stream, as a whole answer."""

    @abstractmethod
    def _start(self) -> None: ...

    @abstractmethod
    def _saw(self, event: bytes, said: Json) -> bytes: ...

    def _done(self, event: bytes) -> bytes:
        """Return an event without an object, such as the end of a chat, where no other stream follows."""
        return b"" if self.goes_on else event


def _written(data: Mapping[str, Any], name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


class _Messages(Speaking):
    """Anthropic's events."""

    _told = 0
    """Blocks that the caller was told of."""

    def _start(self) -> None:
        self._blocks: dict[int, Json] = {}
        self._inputs: dict[int, str] = {}
        self._numbers: dict[int, int] = {}

    @property
    def answer(self) -> Json:
        return {"content": [self._blocks[place] for place in sorted(self._blocks)]}

    def _saw(self, event: bytes, said: Json) -> bytes:
        kind = said.get("type")
        if kind == "message_start":
            self.usages[-1] |= said["message"].get("usage") or {}
            return event if len(self.usages) == 1 else b""
        if str(kind).startswith("content_block_"):
            return self._block(event, said)
        if kind == "message_delta":
            return self._ends(event, said)
        return b"" if self.goes_on else event

    def _block(self, event: bytes, said: Json) -> bytes:
        place = said["index"]
        if said["type"] == "content_block_start":
            self._blocks[place] = dict(said["content_block"])
            if not self._is_recall(place):
                self._numbers[place] = self._told
                self._told += 1
        elif said["type"] == "content_block_delta":
            self._grow(place, said["delta"])
        elif place in self._inputs:
            self._blocks[place]["input"] = _object(self._inputs[place])
        if place not in self._numbers:
            return b""
        number = self._numbers[place]
        return event if number == place else _written(said | {"index": number}, said["type"])

    def _is_recall(self, place: int) -> bool:
        block = self._blocks[place]
        return block.get("type") == "tool_use" and block.get("name") == wording.RECALL

    def _grow(self, place: int, delta: Json) -> None:
        block = self._blocks[place]
        if delta["type"] == "text_delta":
            block["text"] = block.get("text", "") + delta["text"]
        elif delta["type"] == "input_json_delta":
            self._inputs[place] = self._inputs.get(place, "") + delta["partial_json"]
        elif delta["type"] == "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]

    def _ends(self, event: bytes, said: Json) -> bytes:
        self.usages[-1] |= {name: value for name, value in (said.get("usage") or {}).items() if value is not None}
        calls = [place for place, block in self._blocks.items() if block.get("type") == "tool_use"]
        alone = bool(calls) and all(map(self._is_recall, calls)) and said["delta"].get("stop_reason") == "tool_use"
        self.goes_on = alone and not self.last
        self.beside = any(map(self._is_recall, calls)) and not all(map(self._is_recall, calls))
        if self.goes_on:
            return b""
        if len(self.usages) == 1 and not alone:
            return event
        delta = said["delta"] | ({"stop_reason": "end_turn"} if alone else {})
        return _written(said | {"delta": delta, "usage": self.usage}, "message_delta")


class _Chat(Speaking):
    """OpenAI's chunks."""

    _told = 0
    """Calls that the caller was told of."""
    _head: Json | None = None
    """What stands on each chunk, as on the first."""

    def _start(self) -> None:
        self._message: Json = {"role": "assistant", "content": None}
        self._calls: dict[int, Json] = {}
        self._numbers: dict[int, int] = {}

    @property
    def answer(self) -> Json:
        calls = [self._calls[place] for place in sorted(self._calls)]
        return {"choices": [{"message": self._message | ({"tool_calls": calls} if calls else {})}]}

    def _saw(self, event: bytes, said: Json) -> bytes:
        if self._head is None:
            self._head = {name: said[name] for name in ("id", "created") if name in said}
        told = said | self._head
        choices = said.get("choices") or ()
        if choices:
            choice = self._choice(choices[0])
            told = told | {"choices": [] if choice is None else [choice, *choices[1:]]}
        if isinstance(said.get("usage"), dict):
            self.usages[-1] = said["usage"]
            told = told | {"usage": self.usage}
        if self.goes_on or (choices and not told["choices"]):
            return b""
        return event if told == said else _written(told)

    def _choice(self, choice: Json) -> Json | None:
        """Return what of a choice the caller is told, or None."""
        delta = dict(choice.get("delta") or {})
        if isinstance(delta.get("content"), str):
            self._message["content"] = (self._message["content"] or "") + delta["content"]
        held = delta.pop("tool_calls", None) or []
        if own := [call for one in held if (call := self._call(one)) is not None]:
            delta["tool_calls"] = own
        if len(self.usages) > 1:
            delta.pop("role", None)
        reason = choice.get("finish_reason")
        if reason is not None:
            recall = [call for call in self._calls.values() if _is_recall(call)]
            alone = bool(recall) and len(recall) == len(self._calls) and reason == "tool_calls"
            self.goes_on = alone and not self.last
            self.beside = 0 < len(recall) < len(self._calls)
            reason = "stop" if alone else reason
        elif not any(value for name, value in delta.items() if name != "role") and (held or len(self.usages) > 1):
            return None
        return choice | {"delta": delta, "finish_reason": reason}

    def _call(self, piece: Json) -> Json | None:
        """Take in a piece of a call, and return what the caller is told of it."""
        place = piece.get("index", 0)
        function = piece.get("function") or {}
        if place not in self._calls:
            self._calls[place] = {"id": piece.get("id"), "type": "function", "function": {"name": "", "arguments": ""}}
            if function.get("name") != wording.RECALL:
                self._numbers[place] = self._told
                self._told += 1
        held = self._calls[place]["function"]
        for name in ("name", "arguments"):
            held[name] += function.get(name) or ""
        return piece | {"index": self._numbers[place]} if place in self._numbers else None


def _is_recall(call: Json) -> bool:
    return bool(call["function"]["name"] == wording.RECALL)


def _object(text: str) -> Any:
    """Return the arguments that a model wrote; where they are none, the tool says how to ask."""
    try:
        made = json.loads(text or "{}")
    except ValueError:
        return {}
    return made if isinstance(made, dict) else {}
