"""What the providers' APIs refuse: each function raises AssertionError where the API would answer 400.

Shapes are held against the official SDKs' own types, strictly and to the last nested list; pairs of calls and
results, the first turn, empty contents and images against the providers' documentation.
"""

from __future__ import annotations

import base64
import json
import re
import warnings
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from typing import Any

from PIL import Image
from pydantic import TypeAdapter

Body = dict[str, Any]
INLINE = {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WEBP"}


def parse(text: bytes) -> Any:
    """Parse JSON as a strict parser does: UTF-8, no NaN or Infinity, no lone surrogates."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    def number(word: str) -> float:
        assert abs(float(word)) != float("inf"), f"{word} is out of range"
        return float(word)

    value = json.loads(text.decode("utf-8"), parse_constant=refuse, parse_float=number)
    json.dumps(value, ensure_ascii=False).encode("utf-8")  # raises for lone surrogates
    return value


def check(format: str, request: Body, *, images: int = 1_500, side: int = 16_384) -> None:
    """Raise where the provider of ``format`` would refuse this request, as the arguments of its client or as a body."""
    CHECKS[format](request)
    pictures = list(inline_images(request))
    assert len(pictures) <= images, f"{len(pictures)} images"
    for mime, data in pictures:
        with Image.open(BytesIO(base64.b64decode(data.translate(URLSAFE), validate=True))) as image:
            assert image.format == INLINE[mime], (mime, image.format)
            assert max(image.size) <= side, image.size
            image.load()


URLSAFE = str.maketrans("-_", "+/")  # Google's client writes base64 for URLs


def inline_images(value: Any) -> Iterator[tuple[str, str]]:
    """Yield media type and base64 of every inline image in a request, in order."""
    if isinstance(value, dict):
        mime = value.get("media_type") or value.get("mimeType") or value.get("mime_type")
        if isinstance(mime, str) and mime.startswith("image/") and isinstance(value.get("data"), str):
            yield mime, value["data"]
        for item in value.values():
            yield from inline_images(item)
    elif isinstance(value, list):
        for item in value:
            yield from inline_images(item)
    elif isinstance(value, str) and value.startswith("data:image/"):
        head, _, data = value.partition(",")
        yield head.removeprefix("data:").removesuffix(";base64"), data


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    import anthropic.types as anthropic
    import openai.types.chat as chat
    import openai.types.responses as responses

    kinds: dict[str, Any] = {
        "openai messages": list[chat.ChatCompletionMessageParam],
        "openai tools": list[chat.ChatCompletionToolUnionParam],
        "responses input": list[responses.ResponseInputItemParam],
        "responses tools": list[responses.ToolParam],
        "anthropic messages": list[anthropic.MessageParam],
        "anthropic system": str | list[anthropic.TextBlockParam],
        "anthropic tools": list[anthropic.ToolUnionParam],
    }
    return TypeAdapter(kinds[name])


def typed(name: str, value: Any) -> None:
    """Hold a value against the SDK's type, strictly; lists that pydantic would check lazily are read to the end."""
    _read(_adapter(name).validate_python(value, strict=True))


def _read(value: Any) -> None:
    if isinstance(value, dict):
        for item in value.values():
            _read(item)
    elif not isinstance(value, (str, bytes, int, float, type(None))):
        for item in value:
            _read(item)


def check_openai(request: Body) -> None:
    """Chat Completions."""
    messages = request["messages"]
    typed("openai messages", messages)
    typed("openai tools", request.get("tools", []))
    assert "tools" not in request or request["tools"], "empty tools"
    check_first_is_users([m for m in messages if m["role"] not in ("system", "developer")])
    waiting: set[str] = set()
    for message in messages:
        assert message.keys() <= CHAT_KEYS | {key for key in message if key.startswith("x-")}, message.keys()
        if message["role"] == "tool":
            assert message["tool_call_id"] in waiting, "a result without a call right before it"
            waiting.discard(message["tool_call_id"])
            continue
        assert not waiting, f"calls without results: {waiting}"
        calls = message.get("tool_calls") or ()
        said = message.get("content") or message.get("refusal") or message.get("audio") or message.get("function_call")
        assert said or calls or message["role"] == "function", f"an empty message: {message}"
        waiting = {call["id"] for call in calls}
        assert len(waiting) == len(calls) and all(0 < len(one) <= 40 for one in waiting), waiting
    assert not waiting, "the last calls have no results"


CHAT_KEYS = {
    "role", "content", "name", "refusal", "audio", "annotations", "tool_calls", "tool_call_id", "function_call",
}  # fmt: skip


def check_responses(request: Body) -> None:
    """Responses."""
    items = request["input"]
    typed("responses input", items)
    typed("responses tools", request.get("tools", []))
    assert isinstance(request.get("instructions", ""), str) and request.get("instructions") != ""
    check_first_is_users([item for item in items if item.get("role") not in ("system", "developer")])
    open_ids: set[str] = set()
    for item in items:
        kind = item.get("type", "message")
        if kind in ("function_call", "custom_tool_call", "computer_call"):
            assert 0 < len(item["call_id"]) <= 64 and item["call_id"] not in open_ids
            open_ids.add(item["call_id"])
        elif kind in ("function_call_output", "custom_tool_call_output", "computer_call_output"):
            assert item["call_id"] in open_ids, "a result without a call"
            open_ids.discard(item["call_id"])
        elif kind == "message":
            assert item["content"], "an empty message"
            assert "id" not in item or item["id"].startswith("msg"), item["id"]
    assert not open_ids, f"no output for {open_ids}"


def check_anthropic(request: Body) -> None:
    """Messages."""
    messages = request["messages"]
    typed("anthropic messages", messages)
    typed("anthropic tools", request.get("tools", []))
    if "system" in request:
        typed("anthropic system", request["system"])
        blocks = request["system"] if isinstance(request["system"], list) else [{"text": request["system"]}]
        assert blocks and all(block["text"].strip() for block in blocks), "an empty system prompt"
    check_first_is_users(messages)
    used: set[str] = set()
    open_ids: set[str] = set()
    for message in _joined(messages):
        assert message.keys() == {"role", "content"} and message["content"], message.keys()
        kinds = [block["type"] for block in message["content"]]
        results = [block for block in message["content"] if block["type"] == "tool_result"]
        assert kinds[: len(results)] == ["tool_result"] * len(results), "results come first"
        assert {block["tool_use_id"] for block in results} == open_ids, "each call has one result right after it"
        assert len(results) == len(open_ids)
        calls = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
        assert not used & set(calls) and len({*calls}) == len(calls), "an id is used twice"
        assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one) for one in calls), calls
        open_ids = set(calls)
        used |= open_ids
        for block in [*message["content"], *(b for r in results for b in _blocks(r.get("content") or []))]:
            assert block["type"] != "text" or block["text"].strip(), "an empty text block"
    assert not open_ids, "the last calls have no results"


def _blocks(content: Any) -> list[Body]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _joined(messages: list[Body]) -> Iterator[Body]:
    """Join neighbours of one role, as the API does."""
    last: Body | None = None
    for message in messages:
        if last is not None and last["role"] == message["role"]:
            last = last | {"content": _blocks(last["content"]) + _blocks(message["content"])}
            continue
        if last is not None:
            yield last
        last = message | {"content": _blocks(message["content"])}
    if last is not None:
        yield last


def check_gemini(request: Body) -> None:
    """generateContent: the arguments of Google's client, or the body that it sends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from google.genai.types import Content, GenerateContentConfig, Tool
    config = request.get("config", {})
    GenerateContentConfig.model_validate_json(json.dumps(config))  # forbids fields it does not know
    system = config.get("system_instruction") or request.get("systemInstruction")
    parsed = [
        Content.model_validate_json(json.dumps(one)) for one in [*request["contents"], *([system] if system else [])]
    ]
    for tool in request.get("tools", []):
        Tool.model_validate_json(json.dumps(tool))
    contents = [one.model_dump(exclude_none=True) for one in parsed[: len(request["contents"])]]
    check_first_is_users(contents)
    asked: list[Any] = []
    before = ""
    for content in contents:
        parts = content.get("parts")
        assert parts, "a content without parts"
        assert all(part.get("text") != "" or part.get("thought_signature") for part in parts), "an empty text"
        calls = [part["function_call"] for part in parts if "function_call" in part]
        answers = [part["function_response"] for part in parts if "function_response" in part]
        if asked or answers:
            assert content["role"] == "user" and len(answers) == len(asked), "as many answers as calls"
            assert [one["name"] for one in answers] == [one["name"] for one in asked]
        if calls:
            assert content["role"] == "model" and before == "user", "a call comes right after a user or an answer"
            first = next(part for part in parts if "function_call" in part)
            assert first.get("thought_signature"), "Gemini 3 wants a signature on the first call of a step"
        asked, before = calls, content["role"]
    assert not asked, "the last calls have no answers"


def check_huggingface(request: Body) -> None:
    """Chat templates: content lists, calls with arguments as objects, results in the order of the calls."""
    messages = request["messages"]
    check_first_is_users([m for m in messages if m["role"] != "system"])
    waiting: list[str] = []
    for message in messages:
        assert message["role"] in ("system", "user", "assistant", "tool", "ipython"), message["role"]
        content = message.get("content")
        assert message["role"] == "tool" or content or message.get("tool_calls"), f"an empty message: {message}"
        assert isinstance(content, (str, list, type(None)))
        if message["role"] in ("tool", "ipython"):
            assert waiting, "a result without a call"
            name = message.get("name", waiting[0])
            waiting.remove(name)
        else:
            assert not waiting, "calls without results"
            functions = [call["function"] for call in message.get("tool_calls") or ()]
            assert all(isinstance(function["arguments"], dict) for function in functions)
            waiting = [function["name"] for function in functions]
    assert not waiting, "the last calls have no results"


def signatures(messages: Any) -> set[str]:
    """Return the signatures of all that a model thought, wherever they stand in ``messages``."""
    if isinstance(messages, dict):
        own = {messages["signature"]} if isinstance(messages.get("signature"), str) else set[str]()
        return own.union(*map(signatures, messages.values()))
    return set[str]().union(*map(signatures, messages)) if isinstance(messages, list) else set()


def check_signatures(format: str, request: Body, known: set[str]) -> None:
    """Raise where what the model thought comes back changed, or is missing where its calls are being answered."""
    if format != "anthropic":
        return
    messages = request["messages"]
    for message in messages:
        for block in _blocks(message["content"]):
            assert block["type"] != "thinking" or block["signature"] in known, "Invalid `signature` in `thinking` block"
    thinks = request.get("thinking", {}).get("type") in ("enabled", "adaptive")
    results = [block for block in _blocks(messages[-1]["content"]) if block["type"] == "tool_result"]
    if thinks and results and len(messages) > 1:
        first = _blocks(messages[-2]["content"])[0]["type"]
        assert first in ("thinking", "redacted_thinking"), "Expected `thinking`, but found `tool_use`"


def check_first_is_users(messages: list[Body]) -> None:
    """Raise where the first message that is no instruction is not the user's."""
    assert messages and (messages[0].get("role") or "user") == "user", messages[:1]
    assert "type" not in messages[0] or messages[0]["type"] == "message", messages[0]


CHECKS = {
    "openai": check_openai,
    "responses": check_responses,
    "anthropic": check_anthropic,
    "gemini": check_gemini,
    "huggingface": check_huggingface,
}
