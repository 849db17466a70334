"""What a request costs, counted from its JSON alone: the texts, calls, images and messages that really leave.

Nothing here asks the library what it thinks that it sent. Images are decoded: their size in px, with the setting that
stands beside them in the request, goes through the provider's rule. Texts are counted by the profile's encoding.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from PIL import Image

from optical_memory.budget import Profile, count_tokens
from optical_memory.budget.detail import known_detail

Body = dict[str, Any]
Size = tuple[int, int]


@dataclass
class Bill:
    """What was found in a request. ``images`` are sizes in px with the setting sent, None where there is none."""

    texts: list[str] = field(default_factory=list)
    images: list[tuple[Size, str | None]] = field(default_factory=list)
    messages: int = 0
    calls: int = 0

    def tokens(self, profile: Profile) -> int:
        """Return the cost by the profile's own rules."""
        words = sum(count_tokens(text, profile) for text in self.texts if text)
        pixels = sum(profile.image_tokens(*size, known_detail(profile, detail)) for size, detail in self.images)
        return words + pixels + profile.message_tokens * (self.messages + self.calls)


def recount(request: Body, format: str, profile: Profile, *, tools: bool = True) -> int:
    """Return what a request, as the provider's client takes it, costs in tokens of the target model.

    Counted are texts, names and ids of calls and results, arguments, tool schemas, images, and ``message_tokens`` for
    each message (neighbours of one role that the provider joins count apart) and each call. ``tools`` False: the
    schemas are left out, which a context does not hold.
    """
    return bill(json.loads(json.dumps(request)), format, tools=tools).tokens(profile)


def bill(request: Body, format: str, *, tools: bool = True) -> Bill:
    """Return what stands in a request."""
    out = Bill()
    READERS[format](request, out)
    config = request.get("config", {})
    for tool in [*request.get("tools", []), *config.get("tools", [])] if tools else []:
        out.texts.append(json.dumps(tool, ensure_ascii=False))
    return out


def _chat(request: Body, out: Bill) -> None:
    for message in request["messages"]:
        out.messages += 1
        out.texts += [message.get(key) or "" for key in ("name", "tool_call_id", "refusal")]
        for part in _parts(message.get("content")):
            if "image_url" in part:
                _image(part["image_url"]["url"], part["image_url"].get("detail"), out)
            elif part["type"] == "image":
                _image(part["url"], None, out)
            else:
                out.texts.append(part.get("text") or "")
        for call in message.get("tool_calls") or ():
            _call(call["id"], call["function"]["name"], call["function"]["arguments"], out)


def _responses(request: Body, out: Bill) -> None:
    if request.get("instructions"):
        out.messages += 1
        out.texts.append(request["instructions"])
    for item in request["input"]:
        if item.get("type") == "function_call":
            _call(item["call_id"], item["name"], item["arguments"], out)
            continue
        out.messages += 1
        out.texts.append(item.get("call_id") or "")
        for part in _parts(item.get("content", item.get("output"))):
            if part["type"] == "input_image":
                _image(part["image_url"], part["detail"], out)
            else:
                out.texts.append(part.get("text") or "")


def _anthropic(request: Body, out: Bill) -> None:
    for block in _parts(request.get("system")):
        out.messages += 1
        out.texts.append(block["text"])
    for message in request["messages"]:
        results = [block for block in _parts(message["content"]) if block["type"] == "tool_result"]
        out.messages += max(len(results), 1)
        for block in _parts(message["content"]):
            _block(block, out)


def _block(block: Body, out: Bill) -> None:
    if block["type"] == "tool_use":
        _call(block["id"], block["name"], block["input"], out)
    elif block["type"] == "tool_result":
        out.texts.append(block["tool_use_id"])
        for inner in _parts(block.get("content")):
            _block(inner, out)
    elif block["type"] == "image":
        _image(f"data:;base64,{block['source']['data']}", None, out)
    else:
        out.texts.append(block["text"])


def _gemini(request: Body, out: Bill) -> None:
    for part in request.get("config", {}).get("system_instruction", {}).get("parts", ()):
        out.messages += 1
        out.texts.append(part["text"])
    for content in request["contents"]:
        answers = [part for part in content["parts"] if "functionResponse" in part]
        out.messages += max(len(answers), 1)
        for part in content["parts"]:
            _gemini_part(part, out)


def _gemini_part(part: Body, out: Bill) -> None:
    if "functionCall" in part:
        call = part["functionCall"]
        _call(call["id"], call["name"], call["args"], out)
    elif "functionResponse" in part:
        answer = part["functionResponse"]
        out.texts += [answer["name"], answer.get("id") or "", *answer["response"].values()]
        for inner in answer.get("parts") or ():
            _gemini_part(inner, out)
    elif "inlineData" in part:
        level = part.get("mediaResolution", {}).get("level")
        _image(f"data:;base64,{part['inlineData']['data']}", level, out)
    else:
        out.texts.append(part["text"])


def _parts(content: Any) -> Iterator[Body]:
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    elif content:
        yield from content


def _call(call_id: str, name: str, arguments: Any, out: Bill) -> None:
    out.calls += 1
    if not isinstance(arguments, str):  # an object, as clients write it
        arguments = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
    out.texts += [call_id, name, arguments]


def _image(url: str, detail: str | None, out: Bill) -> None:
    with Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        out.images.append((image.size, detail))


READERS = {"openai": _chat, "huggingface": _chat, "responses": _responses, "anthropic": _anthropic, "gemini": _gemini}
