"""Answers of the providers as server-sent events, in the order and the shapes in which they come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Body = dict[str, Any]


def events(format: str, answer: Body) -> Iterator[bytes]:
    """Yield a whole answer as events."""
    yield from {"openai": _openai, "responses": _responses, "anthropic": _anthropic, "gemini": _gemini}[format](answer)


def _event(data: Body, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


def _pieces(text: str) -> list[str]:
    return [text[:3], text[3:]] if len(text) > 3 else [text]


def _openai(answer: Body) -> Iterator[bytes]:
    head = {"id": answer["id"], "object": "chat.completion.chunk", "created": 1, "model": answer["model"]}
    message, reason = answer["choices"][0]["message"], answer["choices"][0]["finish_reason"]

    def chunk(delta: Body, reason: str | None = None) -> bytes:
        return _event(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

    yield chunk({"role": "assistant", "content": ""})
    for piece in _pieces(message["content"] or ""):
        yield chunk({"content": piece})
    for place, call in enumerate(message.get("tool_calls") or ()):
        function = {"name": call["function"]["name"], "arguments": ""}
        yield chunk({"tool_calls": [call | {"index": place, "function": function}]})
        yield chunk({"tool_calls": [{"index": place, "function": {"arguments": call["function"]["arguments"]}}]})
    yield chunk({}, reason)
    yield _event(head | {"choices": [], "usage": answer["usage"]})
    yield b"data: [DONE]\n\n"


def _anthropic(answer: Body) -> Iterator[bytes]:
    usage = answer["usage"]
    start = answer | {"content": [], "stop_reason": None, "usage": usage | {"output_tokens": 0}}
    yield _event({"type": "message_start", "message": start}, "message_start")
    yield _event({"type": "ping"}, "ping")
    for place, block in enumerate(answer["content"]):
        empty: Body = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}
        begun = block | empty[block["type"]]
        yield _event({"type": "content_block_start", "index": place, "content_block": begun}, "content_block_start")
        for delta in _deltas(block):
            yield _event({"type": "content_block_delta", "index": place, "delta": delta}, "content_block_delta")
        yield _event({"type": "content_block_stop", "index": place}, "content_block_stop")
    delta = {"stop_reason": answer["stop_reason"], "stop_sequence": None}
    yield _event({"type": "message_delta", "delta": delta, "usage": usage}, "message_delta")
    yield _event({"type": "message_stop"}, "message_stop")


def _deltas(block: Body) -> Iterator[Body]:
    if block["type"] == "text":
        yield from ({"type": "text_delta", "text": piece} for piece in _pieces(block["text"]))
    elif block["type"] == "thinking":
        yield {"type": "thinking_delta", "thinking": block["thinking"]}
        yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        yield from (
            {"type": "input_json_delta", "partial_json": piece} for piece in _pieces(json.dumps(block["input"]))
        )


def _responses(answer: Body) -> Iterator[bytes]:
    number = 0

    def event(name: str, **fields: Any) -> bytes:
        nonlocal number
        number += 1
        return _event({"type": name, "sequence_number": number - 1} | fields, name)

    yield event("response.created", response=answer | {"status": "in_progress", "output": [], "usage": None})
    for place, item in enumerate(answer["output"]):
        begun = item | {"status": "in_progress"} | ({"content": []} if "content" in item else {"arguments": ""})
        yield event("response.output_item.added", output_index=place, item=begun)
        at = {"item_id": item["id"], "output_index": place}
        if item["type"] == "message":
            part = {"type": "output_text", "text": "", "annotations": []}
            yield event("response.content_part.added", **at, content_index=0, part=part)
            text = item["content"][0]["text"]
            for piece in _pieces(text):
                yield event("response.output_text.delta", **at, content_index=0, delta=piece, logprobs=[])
            yield event("response.output_text.done", **at, content_index=0, text=text, logprobs=[])
            yield event("response.content_part.done", **at, content_index=0, part=item["content"][0])
        else:
            yield event("response.function_call_arguments.delta", **at, delta=item["arguments"])
            done = {"arguments": item["arguments"], "name": item["name"]}
            yield event("response.function_call_arguments.done", **at, **done)
        yield event("response.output_item.done", output_index=place, item=item)
    yield event("response.completed", response=answer)


def _gemini(answer: Body) -> Iterator[bytes]:
    candidate = answer["candidates"][0]
    for part in candidate["content"]["parts"]:
        for piece in _pieces(part["text"]) if "text" in part else [None]:
            said = part if piece is None else {"text": piece}
            content = {"role": "model", "parts": [said]}
            yield _event({"candidates": [{"index": 0, "content": content}], "modelVersion": answer["modelVersion"]})
    last = {"index": 0, "content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP"}
    yield _event(answer | {"candidates": [last]})
