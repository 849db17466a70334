"""What the providers' prompt caches do, and what they count: tokens read from the cache, written to it, fresh.

OpenAI and Gemini look for the longest beginning of an earlier request by themselves. Anthropic caches at cache_control
alone: at most 4, those of an hour before those of five minutes, and reads an entry at most 20 blocks before one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from optical_memory.budget import Profile, count_tokens

Body = dict[str, Any]
LEAST_TOKENS = 1_024
LOOK_BACK = 20
MARKS = 4


@dataclass(frozen=True)
class Counted:
    """Input tokens of one request."""

    cached: int
    written: int
    fresh: int

    @property
    def total(self) -> int:
        return self.cached + self.written + self.fresh


class PromptCache:
    """The cache of one account, for one model. It forgets nothing."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._known: set[str] = set()
        self._tokens: dict[str, int] = {}

    def take(self, format: str, request: Body) -> Counted:
        """Count a request and remember its beginnings. Raises AssertionError for markers that are refused."""
        blocks = list(blocks_of(format, request))
        tokens = [self._count(block) for block, _ in blocks]
        ends, digest = [], hashlib.sha256()
        for block, _ in blocks:
            digest.update(block.encode() + b"\0")
            ends.append(digest.hexdigest())
        marks = [(place, mark) for place, (_, mark) in enumerate(blocks) if mark]
        if format == "anthropic":
            return self._at_marks(tokens, ends, marks)
        known = next((place + 1 for place in range(len(ends) - 1, -1, -1) if ends[place] in self._known), 0)
        self._known.update(ends)
        read = sum(tokens[:known])
        read = read if read >= LEAST_TOKENS else 0
        return Counted(cached=read, written=0, fresh=sum(tokens) - read)

    def _at_marks(self, tokens: list[int], ends: list[str], marks: list[tuple[int, Any]]) -> Counted:
        assert len(marks) <= MARKS, f"A maximum of 4 blocks with cache_control may be provided. Found {len(marks)}."
        lives = [mark.get("ttl", "5m") for _, mark in marks]
        assert lives == sorted(lives, key=["1h", "5m"].index), "a ttl='1h' block must not come after a ttl='5m' block"
        read = 0
        for place, _ in marks:
            nearby = range(place, max(place - LOOK_BACK, -1), -1)
            found = next((at + 1 for at in nearby if ends[at] in self._known), 0)
            read = max(read, sum(tokens[:found]))
        last = marks[-1][0] + 1 if marks else 0
        if sum(tokens[:last]) < LEAST_TOKENS:
            return Counted(cached=0, written=0, fresh=sum(tokens))
        self._known.update(ends[place] for place, _ in marks)
        written = max(sum(tokens[:last]) - read, 0)
        return Counted(cached=read, written=written, fresh=sum(tokens) - read - written)

    def _count(self, block: str) -> int:
        if block not in self._tokens:
            image = _image(block)
            self._tokens[block] = count_tokens(block, self.profile) if image is None else self._image_tokens(image)
        return self._tokens[block]

    def _image_tokens(self, image: tuple[bytes, str | None]) -> int:
        with Image.open(BytesIO(image[0])) as opened:
            return self.profile.image_tokens(*opened.size, image[1])


def blocks_of(format: str, request: Body) -> Iterator[tuple[str, Any]]:
    """Yield the smallest parts of a request in the order in which they are cached, each with its marker."""
    head = {
        "openai": ("tools",), "responses": ("tools", "instructions"), "anthropic": ("tools", "system"),
        "gemini": ("systemInstruction", "tools"),
    }[format]  # fmt: skip
    for name in head:
        value = request.get(name)
        for part in value if isinstance(value, list) else [value] if value else []:
            yield _plain(name, part)
    for message in request[{"responses": "input", "gemini": "contents"}.get(format, "messages")]:
        holder = "parts" if format == "gemini" else "content"
        held = message.get(holder)
        if isinstance(held, list):
            around = {key: value for key, value in message.items() if key != holder}
            for part in held:
                text, mark = _plain(message.get("role", ""), part)
                yield text + json.dumps(around, sort_keys=True) * (part is held[0] and len(around) > 1), mark
        elif isinstance(held, str) and set(message) == {"role", "content"}:
            yield _plain(message["role"], {"type": "text", "text": held})
        else:
            yield _plain("", message)


def _plain(role: str, part: Any) -> tuple[str, Any]:
    if not isinstance(part, dict):
        return f"{role} {part}", None
    mark = part.get("cache_control")
    bare = {key: value for key, value in part.items() if key != "cache_control"}
    return role + " " + json.dumps(bare, sort_keys=True), mark


def _image(block: str) -> tuple[bytes, str | None] | None:
    """Return an image's bytes and setting where a block is one."""
    if "base64" not in block and "inlineData" not in block and "inline_data" not in block:
        return None
    try:
        part = json.loads(block[block.index("{") :])
    except ValueError:
        return None
    kind = part.get("type")
    if kind in ("image_url", "input_image"):
        holder = part["image_url"] if kind == "image_url" else part
        url = holder["url"] if kind == "image_url" else part["image_url"]
        return base64.b64decode(url.partition(",")[2]), holder.get("detail")
    if kind == "image" and part["source"]["type"] == "base64":
        return base64.b64decode(part["source"]["data"]), None
    blob = part.get("inlineData") or part.get("inline_data")
    if blob and str(blob.get("mimeType") or blob.get("mime_type")).startswith("image/"):
        level = (part.get("mediaResolution") or part.get("media_resolution") or {}).get("level")
        data = blob["data"].translate(str.maketrans("-_", "+/"))
        return base64.b64decode(data), None if level is None else level.lower()
    return None
