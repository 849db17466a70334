"""What providers say that an answer used, read from whole answers and from the events of streams."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from optical_memory.service.proxy.report import Usage


def usage_of(answer: Mapping[str, Any]) -> Usage | None:
    """Return the usage of an answer or event of any provider, or None where it has none."""
    if isinstance(answer.get("response"), dict):  # an event of the Responses API
        return usage_of(answer["response"])
    if isinstance(answer.get("message"), dict):  # Anthropic's message_start
        return usage_of(answer["message"])
    used = answer.get("usageMetadata")
    if isinstance(used, dict):
        cached = _number(used, "cachedContentTokenCount")
        output = _number(used, "candidatesTokenCount") + _number(used, "thoughtsTokenCount")
        return Usage(fresh=max(_number(used, "promptTokenCount") - cached, 0), cached=cached, output=output)
    used = answer.get("usage")
    if not isinstance(used, dict):
        return None
    if "prompt_tokens" in used:
        cached = _number(used.get("prompt_tokens_details"), "cached_tokens")
        fresh = max(_number(used, "prompt_tokens") - cached, 0)
        return Usage(fresh=fresh, cached=cached, output=_number(used, "completion_tokens"))
    if "input_tokens_details" in used:
        cached = _number(used["input_tokens_details"], "cached_tokens")
        fresh = max(_number(used, "input_tokens") - cached, 0)
        return Usage(fresh=fresh, cached=cached, output=_number(used, "output_tokens"))
    return Usage(
        fresh=_number(used, "input_tokens"),
        cached=_number(used, "cache_read_input_tokens"),
        written=_number(used, "cache_creation_input_tokens"),
        output=_number(used, "output_tokens"),
    )


def most(one: Usage | None, other: Usage | None) -> Usage | None:
    """Return the larger figures of two: streams say their usage in several events, the last ones whole."""
    if one is None or other is None:
        return one or other
    return Usage(
        fresh=max(one.fresh, other.fresh),
        cached=max(one.cached, other.cached),
        written=max(one.written, other.written),
        output=max(one.output, other.output),
    )


def events_of(block: bytes) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of server-sent events; what is none is left out."""
    for line in block.splitlines():
        if line.startswith(b"data:") and line[5:].lstrip().startswith(b"{"):
            try:
                said = json.loads(line[5:])
            except ValueError:
                continue
            if isinstance(said, dict):
                yield said


def _number(holder: Any, name: str) -> int:
    value = holder.get(name) if isinstance(holder, dict) else None
    return value if isinstance(value, int) and value > 0 else 0
