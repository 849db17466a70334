"""Which characters of a Markdown text are strong, emphasised, code or links. The characters themselves stay.

This is a scanner, not a parser. Its time is linear in the text, whatever the text, and it works page by page. A wrong
guess costs a style, never a character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntFlag


class Style(IntFlag):
    """How a character is drawn; 0 is plain."""

    STRONG = 1
    EMPHASIS = 2
    CODE = 4
    LINK = 8


Piece = tuple[int, int, Style]
"""From, to (exclusive), style."""

_LINE = re.compile(r"[^\n]*\n?")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[^`\n]*$")
_HEADING = re.compile(r" {0,3}#{1,6} ")
_ITEM = re.compile(r" *([-*+]|\d{1,9}[.)])(?= )")
_QUOTE = re.compile(r" {0,3}>")
_RULE = re.compile(r" {0,3}\|?(?=[^\n]*\|) *:?-+:? *(\| *:?-+:? *)*\|? *$")
# Bounded, and never two quantifiers over the same characters: hostile text cannot make them slow.
_INLINE = re.compile(
    r"(?P<code>(?<!`)(?:`[^`\n]{1,400}`|``[^\n]{1,400}?``)(?!`))"
    r"|(?P<link>\[[^\]\[\n]{1,200}\]\([^()\s]{1,400}\)|\bhttps?://[^\s<>\"'`)\]}|\\]{1,400})"
    r"|(?P<strong>\*\*(?=[^\s*])[^*\n]{1,400}\*\*|(?<!\w)__(?=[^\s_])[^_\n]{1,400}__(?!\w))"
    r"|(?P<emphasis>(?<![\w*])\*(?=[^\s*])[^*\n]{1,400}(?<!\s)\*(?![\w*])|(?<!\w)_(?=[^\s_])[^_\n]{1,400}(?<!\s)_(?!\w))"
)


def scan(text: str, *, in_fence: bool = False) -> Iterator[Piece]:
    """Yield the styled pieces of ``text``; ``in_fence``: it begins inside a fenced block of code."""
    fence = "```" if in_fence else ""
    before: tuple[int, int] | None = None
    for match in _LINE.finditer(text):
        start, line = match.start(), match[0].rstrip("\n")
        end = start + len(line)
        edge = _FENCE.match(line)
        if fence:
            yield start, match.end(), Style.CODE
            if edge and line.strip().startswith(fence):
                fence = ""
        elif edge:
            fence = edge[1]
            yield start, match.end(), Style.CODE
        elif before and _RULE.match(line):
            yield *before, Style.STRONG  # the row above a table's rule is its head
        else:
            yield from _line(line, start)
        before = (start, end) if "|" in line else None


def _line(line: str, start: int) -> Iterator[Piece]:
    """Yield the pieces of a line outside code."""
    if _HEADING.match(line):
        yield start, start + len(line), Style.STRONG
    elif _QUOTE.match(line):
        yield start, start + len(line), Style.EMPHASIS
    elif item := _ITEM.match(line):
        yield start + item.start(1), start + item.end(1), Style.STRONG
    for match in _INLINE.finditer(line):
        yield start + match.start(), start + match.end(), Style[str(match.lastgroup).upper()]


def begins_in_fence(text: str) -> bool:
    """Guess whether a text that continues an earlier page begins inside a fenced block of code.

    It does when its fences are odd in number and the first of them names no language, as a closing fence does.
    """
    fences = [line.strip() for line in text.split("\n") if _FENCE.match(line)]
    return len(fences) % 2 == 1 and not fences[0].strip("`~")
