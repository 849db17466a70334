"""The dashboard on a long session: seconds until it shows any age, and until the requests of all are counted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx

from benchmarks.service.load import make_key
from benchmarks.service.process import Service

TALKS = Path(__file__).parents[2] / "tests" / "data" / "airline.jsonl"
STEP = 20
"""Turns between two requests of the agent's."""


def dashboard(store: str, *, turns: int) -> dict[str, float]:
    """Store ``turns`` real turns with an agent's requests in between; return seconds of each step of looking."""
    key = make_key(store, "acme")
    service = Service(store, profile="gpt-5", budget="8000")
    try:
        _fill(service.url, key, turns)
        service.stop()
        service.start()  # nothing is warm
        with httpx.Client(base_url=f"{service.url}/dashboard/api/", timeout=600) as client:
            client.post("login", json={"key": key}).raise_for_status()
            view = {"session": "long", "profile": "gpt-5", "budget": 8_000}
            unused = view | {"budget": 8_001}
            middle = turns // 2
            found = {
                "turns": turns,
                "list": _seconds(lambda: client.get("sessions")),
                "open": _seconds(lambda: client.get("session", params=view)),
                "now": _seconds(lambda: client.get("context", params=view)),
                "any age, first look": _seconds(lambda: client.get("context", params=view | {"turn": middle})),
                "another age": _seconds(lambda: client.get("context", params=view | {"turn": middle // 3})),
                "first slice of the count": _seconds(lambda: client.get("replay", params=view)),
                "all counted": _seconds(lambda: _replay(client, view)),
                "costs": _seconds(lambda: client.get("costs", params=view)),
                "recall": _seconds(lambda: client.get("recall", params=view | {"q": "reservation of Sofia Kim"})),
                "first slice of a view that nobody used": _seconds(lambda: client.get("replay", params=unused)),
                "all of it planned anew": _seconds(lambda: _replay(client, unused)),
            }
            found["epochs kept"] = len(client.get("replay", params=view).json()["recorded"]["epochs"])
        return {name: round(value, 3) for name, value in found.items()}
    finally:
        service.stop()


def _fill(url: str, key: str, turns: int) -> None:
    talks = [message for line in TALKS.read_text("utf-8").splitlines() for message in json.loads(line)["messages"]]
    spoken = [message for message in talks if message["role"] != "system"]
    messages = [talks[0], *islice(cycle(spoken), turns - 1)]
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=600) as client:
        for start in range(0, turns, STEP):
            body = messages[start : start + STEP]
            client.post("/v1/sessions/long/messages", params={"format": "openai"}, json=body).raise_for_status()
            client.get("/v1/sessions/long/context").raise_for_status()


def _replay(client: httpx.Client, view: dict[str, Any]) -> httpx.Response:
    after = 0
    while True:
        answer = client.get("replay", params=view | {"after": after}).raise_for_status()
        after = answer.json()["replayed"]
        if answer.json()["done"]:
            return answer


def _seconds(work: Callable[[], httpx.Response]) -> float:
    started = time.perf_counter()
    work().raise_for_status()
    return time.perf_counter() - started
