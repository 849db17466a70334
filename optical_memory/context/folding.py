"""Folding: a turn too long for the tail, with its long texts cut short and a pointer where each was cut.

What a provider checks stays as it came: arguments of calls stay JSON objects, signatures, thoughts and data are not
touched, and neither is anything that is short.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from optical_memory.budget import Profile, count_message
from optical_memory.turns import Turn

UNTOUCHED = frozenset(
    "signature thoughtSignature thought_signature thinking thought reasoning encrypted_content data url image_url "
    "inlineData inline_data fileData file_data source id call_id tool_call_id tool_use_id name type role".split()
)
"""Fields of a provider's own message that are never cut, with all that is in them."""
ARGUMENTS = "folded"
"""Field under which arguments stand that are no JSON object, or whose length is not in their texts."""
_FENCED = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
_BLANK = re.compile(r"\n\s*\n")
LEAST = 16
"""Fewest characters that are kept of a text that is cut, at each of its ends, where any are; below it, none are."""


def folded(turn: Turn, keep: int, note: str) -> Turn:
    """Return the turn with each text of more than ``keep`` characters and the note's cut to about that many.

    ``note`` stands where something was cut. Of a user's turn the longest blocks go first, so that the request stays.
    """
    cut = _Cut(keep, note)
    shorten = cut.request if turn.role == "user" else cut.text
    raw = turn.raw if turn.role == "assistant" else None  # only the model's own messages are signed
    return replace(
        turn,
        text=shorten(turn.text),
        parts=tuple(replace(part, text=shorten(part.text)) if part.kind == "text" else part for part in turn.parts),
        tool_calls=tuple(replace(call, arguments=cut.arguments(call.arguments)) for call in turn.tool_calls),
        raw=None if raw is None else {key: cut.value(key, value) for key, value in raw.items()},
        raw_format=None if raw is None else turn.raw_format,
    )


def within(turn: Turn, note: str, limit: int, keep: int, profile: Profile) -> Turn:
    """Fold a turn so that it costs about ``limit`` tokens, from ``keep`` characters of each text on.

    However many texts it has, each is cut alike.
    """
    short = folded(turn, keep, note)
    while keep >= LEAST and count_message(short, profile) > limit:
        keep //= 2
        short = folded(turn, keep, note)
    return short


def request_of(text: str, keep: int, note: str) -> str:
    """Return a user's text without its longest blocks, each replaced by ``note``, in about ``keep`` characters."""
    return _Cut(keep, note).request(text)


class _Cut:
    def __init__(self, keep: int, note: str) -> None:
        self.keep = keep
        self.note = note

    def text(self, text: str) -> str:
        if len(text) <= self.keep + len(self.note) + 2:
            return text
        if self.keep < 2 * LEAST:
            return self.note
        head, tail = self.keep * 3 // 4, self.keep // 4
        return f"{text[:head]}\n{self.note}\n{text[-tail:]}"

    def request(self, text: str) -> str:
        """Leave out the longest blocks first."""
        if len(text) <= self.keep + len(self.note) + 2:
            return text
        blocks = _blocks(text)
        left = len(text)
        for start, end in sorted(blocks, key=lambda block: block[0] - block[1]):
            if left <= self.keep or end - start <= 2 * len(self.note):
                break
            blocks[blocks.index((start, end))] = (start, -end)
            left -= end - start
        pieces: list[str] = []
        place = 0
        for start, end in blocks:
            if end >= 0:
                whole = bool(pieces) and pieces[-1] != self.note
                pieces.append(text[place if whole else start : end])  # with the blanks that stood between
            elif not pieces or pieces[-1] != self.note:
                pieces.append(self.note)
            place = abs(end)
        joined = "".join(f"\n\n{piece}\n\n" if piece == self.note else piece for piece in pieces)
        return self.text(joined.strip())

    def arguments(self, text: str) -> str:
        if len(text) <= self.keep + len(self.note):
            return text
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if isinstance(value, dict):
            out = json.dumps(self.arguments_of(value), ensure_ascii=False)
            return out if out != text else text
        return json.dumps({ARGUMENTS: self.text(text)}, ensure_ascii=False)

    def arguments_of(self, value: Mapping[str, Any]) -> dict[str, Any]:
        out = {key: self._deep(inner) for key, inner in value.items()}
        length = len(json.dumps(out, ensure_ascii=False))
        many = sum(isinstance(inner, str) and self.note in inner for inner in out.values()) or 1
        if length > 2 * many * (self.keep + len(self.note)) + 512:
            return {ARGUMENTS: self.text(json.dumps(value, ensure_ascii=False))}
        return out

    def value(self, key: str, value: Any) -> Any:
        """Cut what is in a field of a provider's message. Arguments are an object, or a text that holds one."""
        if key in UNTOUCHED:
            return value
        if key in ("arguments", "input", "args"):
            if isinstance(value, dict):
                return self.arguments_of(value)
            return self.arguments(value) if isinstance(value, str) else value
        if isinstance(value, dict):
            if value.get("thought") is True:
                return value
            return {inner: self.value(inner, of) for inner, of in value.items()}
        if isinstance(value, list):
            return [self.value("", inner) for inner in value]
        return self.text(value) if isinstance(value, str) else value

    def _deep(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._deep(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._deep(inner) for inner in value]
        return self.text(value) if isinstance(value, str) else value


def _blocks(text: str) -> list[tuple[int, int]]:
    """Cut a text into fenced blocks and paragraphs."""
    out: list[tuple[int, int]] = []
    place = 0
    for fenced in _FENCED.finditer(text):
        out += _paragraphs(text, place, fenced.start())
        out.append(fenced.span())
        place = fenced.end()
    return out + _paragraphs(text, place, len(text))


def _paragraphs(text: str, start: int, end: int) -> list[tuple[int, int]]:
    out = []
    for gap in _BLANK.finditer(text, start, end):
        out.append((start, gap.start()))
        start = gap.end()
    return [(first, last) for first, last in [*out, (start, end)] if text[first:last].strip()]
