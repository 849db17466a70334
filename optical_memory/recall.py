"""Recall: from a question, a turn id or a spot on a page back to the exact words in the store."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from optical_memory import wording
from optical_memory.errors import NotFoundError, OpticalMemoryError
from optical_memory.formats import get_format
from optical_memory.stores.base import Store
from optical_memory.turns import Turn, transcript

MAX_TURNS = 20
"""Most turns that one call of the tool returns."""
MAX_CHARACTERS = 16_000
"""Most characters of text that one call of the tool returns; the rest is asked for with ``offset``."""

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "question": {
            "type": "string",
            "description": "Words to search the whole history for; with turn_id or page: what to show of that.",
        },
        "turn_id": {"type": "string", "description": "Id or place (#12) of one turn to read in full."},
        "page": {"type": "string", "description": "Id of a page, as its label gives it."},
        "line": {"type": "integer", "minimum": 1, "description": "Line on the page, counted from 1 at its top."},
        "k": {"type": "integer", "minimum": 1, "maximum": MAX_TURNS, "description": "Most turns to return."},
        "offset": {"type": "integer", "minimum": 0, "description": "First character to return of a long answer."},
    },
    "additionalProperties": False,
}

Lookup = Callable[..., list[Turn]]
LEAST_SHOWN = 2_000
"""Fewest characters of a turn that are worth showing."""
_WORD = re.compile(r"\w{2,}")
_PLACE = re.compile(r"#([1-9][0-9]{0,9})")


def find_turn(store: Store, session: str, turn_id: str) -> list[Turn]:
    """Return the turn with an id or, where no turn has that id, at a place ("#12"). Raises NotFoundError."""
    found = store.get(session, [turn_id])
    if not found and (seq := seq_of_place(turn_id)) is not None:
        found = store.turns(session, after=seq - 1, before=seq + 1, limit=1)
    if not found:
        raise NotFoundError(f"no turn {turn_id!r} in session {session!r}")
    return found


def seq_of_place(place: str) -> int | None:
    """Return the ``seq`` of a place as labels write it, from 1 ("#12": 11), or None for any other text."""
    match = _PLACE.fullmatch(place)
    return int(match[1]) - 1 if match else None


@dataclass(frozen=True, slots=True)
class RecallTool:
    """The ``recall`` tool for a model: its schema, and the call. Unpacks as ``schema, call``.

    ``schema`` is an OpenAI function tool; :meth:`schema_for` gives the shape of other providers. Calling it never
    raises on what a model may send: mistakes come back as text that says how to ask.
    """

    lookup: Lookup
    name: str = wording.RECALL
    description: str = wording.RECALL_DESCRIPTION

    @property
    def parameters(self) -> dict[str, Any]:
        """JSON schema of the arguments."""
        return dict(PARAMETERS)

    @property
    def schema(self) -> dict[str, Any]:
        """The tool in OpenAI's chat format."""
        return self.schema_for("openai")

    def schema_for(self, format: str) -> dict[str, Any]:
        """Return the tool as a format's provider takes it. Raises NotFoundError for an unknown format."""
        return get_format(format).tool(self.name, self.description, self.parameters)

    def __iter__(self) -> Iterator[Any]:
        """Unpack as ``schema, call``."""
        return iter((self.schema, self.__call__))

    def __call__(self, arguments: str | dict[str, Any] | None = None, /, **more: Any) -> str:
        """Answer a call. ``arguments`` may be the JSON text that the model wrote, a dict, or keywords."""
        return self.answer(arguments, **more)[0]

    def answer(self, arguments: str | dict[str, Any] | None = None, /, **more: Any) -> tuple[str, list[Turn]]:
        """Answer a call as :meth:`__call__` does, and return the turns that it found as well."""
        try:
            asked = json.loads(arguments) if isinstance(arguments, str) else dict(arguments or {})
            asked |= more
            offset = int(asked.pop("offset", 0) or 0)
            asked["k"] = max(1, min(int(asked.get("k") or 5), MAX_TURNS))
            question = str(asked.get("question") or "")
            if asked.get("turn_id") or asked.get("page"):
                asked.pop("question", None)  # it says what to show of what is named
            turns = self.lookup(**asked)
        except (OpticalMemoryError, ValueError, TypeError) as error:
            return wording.recall_failed(error), []
        return _answer(turns, max(offset, 0), question), turns


def _answer(turns: Sequence[Turn], offset: int, question: str) -> str:
    """Write turns out for a model, bounded; what is left out is counted and can be asked for.

    Where not all fits, and a question was asked, each long turn is shown around the lines that the question is about.
    """
    if not turns:
        return wording.RECALL_NOTHING
    records = [_record(turn) for turn in turns]
    if question and not offset and sum(map(len, records)) > MAX_CHARACTERS:
        return _around(turns, records, question)
    text = "\n\n".join(records)
    part = text[offset : offset + MAX_CHARACTERS]
    left = len(text) - offset - len(part)
    return part + (f"\n{wording.recall_more(left, offset + len(part))}" if left > 0 else "")


def _around(turns: Sequence[Turn], records: Sequence[str], question: str) -> str:
    """Write out what the question is about: the first turns have most of the room, as they answer best."""
    out: list[str] = []
    left = MAX_CHARACTERS
    for place, (turn, record) in enumerate(zip(turns, records, strict=True)):
        share = left if place == len(records) - 1 else max(left // 2, min(left, LEAST_SHOWN))
        if left < LEAST_SHOWN and out:
            out.append(wording.recall_others(len(records) - place))
            break
        start, end = _window(record, question, share)
        part = record[start:end]
        if end - start < len(record):
            part = f"{wording.recall_part(turn.id, start, end, len(record))}\n{part}"
        out.append(part)
        left -= end - start
    return "\n\n".join(out)


def _window(text: str, question: str, size: int) -> tuple[int, int]:
    """Return the bounds of whole lines of a text, about ``size`` characters, around the one most like the question."""
    if len(text) <= size:
        return 0, len(text)
    sought = [line.strip() for line in question.splitlines() if line.strip()]
    words = set(_WORD.findall(question.lower()))
    best, place, at = -1.0, 0, 0
    for line in text.splitlines(keepends=True):
        same = sum(len(part) for part in sought if part in line)
        worth = same + len(words.intersection(_WORD.findall(line.lower()))) / max(len(words), 1)
        if worth > best:
            best, place = worth, at
        at += len(line)
    start = max(0, min(place - size // 3, len(text) - size))
    start = text.rfind("\n", 0, start + 1) + 1 if start else 0
    end = min(start + size, len(text))
    if end < len(text) and (cut := text.rfind("\n", start, end)) > start:
        end = cut + 1
    return start, end


def _record(turn: Turn) -> str:
    header, body = transcript(turn)
    at = datetime.fromtimestamp(turn.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC") if turn.created_at else ""
    return f"[turn {turn.id}{', ' + at if at else ''}] {header}:\n{body}"
