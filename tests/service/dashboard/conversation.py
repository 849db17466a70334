"""A real conversation of any length for the dashboard's tests: recorded service talks, one after the other."""

from __future__ import annotations

from typing import Any

from transcripts import DATA, read


def airline(messages: int) -> list[dict[str, Any]]:
    """The first messages of the recorded talks, with the policy said once at their head."""
    talks = [message for session in read(DATA / "airline.jsonl") for message in session["messages"]]
    spoken = [message for message in talks if message["role"] != "system"]
    assert len(spoken) >= messages - 1
    return [talks[0], *spoken[: messages - 1]]
