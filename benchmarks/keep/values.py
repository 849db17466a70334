"""What is looked for in a context: exact values and runs of words. Kept apart from the library's own extraction."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from optical_memory.turns import Turn

_VALUE = re.compile(
    r"""[$€£¥]\s?\d[\d,.]*\d|[$€£¥]\d                           # amounts
    | \d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2})?)?             # dates
    | (?:January|February|March|April|May|June|July|August|September|October|November|December)\s\d{1,2}
    | [\w.+-]+@[\w-]+(?:\.[\w-]+)+                              # addresses
    | (?:[\w.-]+/)+[\w-]+\.\w{1,8}                              # files
    | [A-Za-z_]*\d[\w-]*[A-Za-z\d]                              # ids: letters with digits
    | [a-z]+(?:_[a-z\d]+)+                                      # names of code
    | [a-z]+(?:[A-Z][a-z\d]+)+""",
    re.VERBOSE | re.ASCII,
)
_WORD = re.compile(r"\w+")
SHORTEST = 5
"""Characters of a value; shorter ones stand everywhere by chance."""
LONGEST = 80
RUN = 3
"""Words in a run of words."""


def values_in(text: str) -> set[str]:
    """Return the distinct identifiers, amounts, dates, paths and names of code in a text."""
    found = (match.group() for match in _VALUE.finditer(text))
    return {value for value in found if SHORTEST <= len(value) <= LONGEST}


def runs_of_words(text: str) -> set[tuple[str, ...]]:
    """Return the distinct runs of three words in a text; a shorter text is one run."""
    words = _WORD.findall(text.lower())
    if len(words) < RUN:
        return {tuple(words)} if words else set()
    return {tuple(words[at : at + RUN]) for at in range(len(words) - RUN + 1)}


def spoken(turn: Turn) -> str:
    """Return a turn's text and what its calls ask for, without the names of arguments and the escapes of JSON."""
    return "\n".join([turn.text, *(text for call in turn.tool_calls for text in _of_arguments(call.arguments))])


def _of_arguments(arguments: str) -> Iterator[str]:
    try:
        value = json.loads(arguments)
    except ValueError:
        yield arguments
    else:
        yield from leaves(value)


def leaves(value: Any) -> Iterator[str]:
    """Yield the texts of what JSON held, in order, without the names of fields."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            waiting.extend(reversed(value.values() if isinstance(value, dict) else value))
        else:
            yield str(value)
