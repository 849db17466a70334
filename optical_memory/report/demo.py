"""The demo's run: a transcript goes in turn by turn; figures, ages and pages come out for the report."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from optical_memory.context.base import Context
from optical_memory.errors import InputError, NotFoundError
from optical_memory.memory import OpticalMemory

AGES = (0.25, 0.5, 0.75, 1.0)
"""Shares of the conversation at which the context is kept for the report."""
MAX_FILE_BYTES = 256 * 2**20
"""Largest transcript file that is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The context after ``turns`` turns."""

    turns: int
    context: Context


@dataclass(slots=True, kw_only=True)
class Run:
    """What a run of the demo left behind. ``history`` is (turns, text tokens, context tokens) after each turn."""

    turns: int
    seconds: float = 0.0
    epochs: int = 0
    moments: list[Moment] = field(default_factory=list)
    history: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def last(self) -> Context:
        """The context at the end."""
        return self.moments[-1].context

    def tiers(self) -> Counter[str]:
        """Count the pages of the last context by tier."""
        return Counter(page.tier for page in self.last.pages)


def example() -> list[dict[str, Any]]:
    """Return the messages of the conversation that ships with the package."""
    text = resources.files("optical_memory").joinpath("examples/airline-shift.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def read_transcript(path: Path) -> list[dict[str, Any]]:
    """Read OpenAI-style messages: a JSON list, a JSON object with "messages", or one of either per line.

    Several conversations in one file become one history. Errors: NotFoundError, InputError naming the line.
    """
    if not path.is_file():
        raise NotFoundError(f"no file {str(path)!r}")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{str(path)!r} is larger than {MAX_FILE_BYTES:,} bytes")
    text = path.read_text("utf-8", errors="replace")
    try:
        return list(_messages(json.loads(text)))
    except json.JSONDecodeError:
        out: list[dict[str, Any]] = []
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    out.extend(_messages(json.loads(line)))
                except json.JSONDecodeError as error:
                    raise InputError(f"{str(path)!r}, line {number}: not JSON: {error}") from error
        return out


def _messages(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict) and isinstance(value.get("messages"), list):
        value = value["messages"]
    for message in value if isinstance(value, list) else [value]:
        if not isinstance(message, dict):
            raise InputError(f"not a message: {str(message)[:60]!r}")
        yield message


def play(memory: OpticalMemory, messages: Sequence[dict[str, Any]], step: Callable[[], object] = lambda: None) -> Run:
    """Feed a conversation turn by turn, asking for the context after each, as an agent would."""
    run = Run(turns=len(messages))
    stops = {max(1, round(len(messages) * share)) for share in AGES}
    start = time.perf_counter()
    for number, message in enumerate(messages, 1):
        memory.extend([message])
        context = memory.context()
        run.history.append((number, context.text_tokens, context.tokens))
        if number in stops:
            for page in context.pages:
                page.png  # noqa: B018 - drawn now, while the page is shown, and counted in the time
            run.moments.append(Moment(turns=number, context=context))
        step()
    run.seconds = time.perf_counter() - start
    run.epochs = run.last.epoch
    return run
