"""Anthropic's cache markers: never more than came, never of a longer life than the one before them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

MARK = "cache_control"


def marks(message: Any) -> Iterator[Any]:
    """Yield the cache markers of a message, in order."""
    if isinstance(message, dict) and isinstance(message.get("content"), list):
        yield from _of_blocks(message["content"])


def _of_blocks(blocks: Sequence[Any]) -> Iterator[Any]:
    for block in blocks:
        if isinstance(block, dict):
            if isinstance(block.get("content"), list):
                yield from _of_blocks(block["content"])
            if block.get(MARK):
                yield block[MARK]


def unmarked(message: Any) -> Any:
    """Return a message without its markers: the same object where it has none."""
    if next(marks(message), None) is None:
        return message
    return message | {"content": _without(message["content"])}


def _without(blocks: Sequence[Any]) -> list[Any]:
    out = []
    for block in blocks:
        if isinstance(block, dict):
            block = {key: value for key, value in block.items() if key != MARK}
            if isinstance(block.get("content"), list):
                block["content"] = _without(block["content"])
        out.append(block)
    return out


def marked(message: dict[str, Any], mark: Any) -> dict[str, Any]:
    """Return a message with a marker on its last block that may have one."""
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    for place in range(len(blocks) - 1, -1, -1):
        if blocks[place].get("type") not in ("thinking", "redacted_thinking"):
            blocks[place] = blocks[place] | {MARK: mark}
            break
    return message | {"content": blocks}
