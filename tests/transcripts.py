"""Recorded conversations as fixtures: the samples in ``tests/data``, and all of those in the folder of shared data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent / "data"
Session = dict[str, Any]
"""``{"id", "messages"}`` in OpenAI format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcripts:
    """Sessions of a coding agent, long and full of tool results, and customer-service conversations."""

    coding: list[Session]
    airline: list[Session]


def read(path: Path) -> list[Session]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def coding_session() -> Session:
    """One session of a coding agent: 137 messages, 79,000 tokens."""
    return read(DATA / "coding.jsonl")[0]


@pytest.fixture(scope="session")
def airline_sessions() -> list[Session]:
    """Thirty customer-service conversations with tool calls."""
    return read(DATA / "airline.jsonl")


@pytest.fixture(scope="session")
def bfcl_memory() -> Path:
    """Folder with five conversations to remember, and 155 questions and answers about them."""
    return DATA / "bfcl_memory"


@pytest.fixture(scope="session")
def coding_sessions(shared: Path) -> list[Session]:
    """All eight sessions of a coding agent: 100 to 230 messages each, 910,000 tokens together."""
    return read(shared / "data/coding_agent/sessions.jsonl")


@pytest.fixture(scope="session", params=["samples", "all"])
def transcripts(request: pytest.FixtureRequest) -> Transcripts:
    """The samples, which are always there; and in a second run of the test all that the shared folder has."""
    if request.param == "samples":
        return Transcripts(coding=read(DATA / "coding.jsonl"), airline=read(DATA / "airline.jsonl"))
    folder: Path = request.getfixturevalue("shared") / "data"
    return Transcripts(
        coding=read(folder / "coding_agent/sessions.jsonl"), airline=read(folder / "tau_bench/airline.jsonl")
    )
