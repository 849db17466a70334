"""What can be asked of the model, and how it is understood."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

ABILITIES = (
    "I am a small reader of page images. I can `read` (all pages, `read page 2`, or `read page 2 line 5`), and `find` "
    "words or a key: I answer with the line that holds them, or `none`."
)
"""What the model says to any other question."""

_READ = re.compile(r"^\s*read(?:\s+page\s+(\d+)(?:[\s,]+(?:line|row)\s+(\d+))?)?\s*[.!]?\s*$", re.I)
_FIND = re.compile(r"^\s*find\b[\s:]*(.*?)\s*$", re.S | re.I)
_QUOTES = "\"'`“”‘’"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A prompt as understood: ``page`` and ``row`` count from 1, None for all; ``words`` are what to find."""

    kind: Literal["read", "find", "other"]
    page: int | None = None
    row: int | None = None
    words: str = ""


def parse(prompt: str) -> Command:
    """Return what a prompt asks for; quotation marks around the words to find are not part of them."""
    read = _READ.match(prompt)
    if read is not None:
        page, row = (None if number is None else int(number) for number in read.groups())
        return Command(kind="read", page=page, row=row)
    find = _FIND.match(prompt)
    words = find[1].strip(_QUOTES + " ") if find is not None else ""
    return Command(kind="find", words=words) if words else Command(kind="other")
