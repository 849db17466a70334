"""The recorded conversations that are replayed: a coding agent's, customer service, and long talks to remember."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import DATA, ROOT

SAMPLES = ROOT / "tests/data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One conversation in OpenAI format. ``kind``: "coding", "airline" or "talk"."""

    id: str
    kind: str
    messages: list[dict[str, Any]]


def load(coding: int, airline: int, talks: int, *, samples: bool = False) -> list[Session]:
    """Return so many sessions of each kind: of the shared folder; where that is missing or ``samples``, the tests'."""
    nested = DATA.is_dir() and not samples
    folder = DATA if nested else SAMPLES
    files = {
        "coding": folder / ("coding_agent/sessions.jsonl" if nested else "coding.jsonl"),
        "airline": folder / ("tau_bench/airline.jsonl" if nested else "airline.jsonl"),
    }
    out = []
    for kind, count in (("coding", coding), ("airline", airline)):
        for row in _rows(files[kind], count):
            out.append(Session(id=row["id"], kind=kind, messages=row["messages"]))
    paths = sorted((folder / "bfcl_memory").glob("conversation_*.jsonl"))[:talks]
    return [*out, *(_talk(path) for path in paths)]


def _rows(path: Path, count: int) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line, _ in zip(lines, range(count), strict=False):
            yield json.loads(line)


def _talk(path: Path) -> Session:
    """Return a user's statements over many days as one session; each is answered by one word."""
    messages: list[dict[str, Any]] = []
    for row in _rows(path, 10_000):
        for (said,) in row["question"]:
            messages += [said, {"role": "assistant", "content": "Noted."}]
    return Session(id=path.stem, kind="talk", messages=messages)
