"""Clients that add, follow, forget and read, try again until they are answered, and know what must then be there."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from optical_memory.client import OpticalMemoryClient
from optical_memory.errors import NotFoundError
from optical_memory.stores import open_store
from optical_memory.stores.scoped import ScopedStore

TENANT = "crash"
SHARED = "shared"
PROBED = "probe"
_ROOMY = 1_000_000


@dataclass
class Writer:
    """One client, one call at a time. Two sessions are its own, so each read of them must equal what it knows.

    It adds to both kinds of session, waits ``pause_seconds``, and goes on; every so often it follows, reads, forgets.
    """

    client: OpticalMemoryClient
    name: str
    stop: threading.Event
    forgets: bool = True
    pause_seconds: float = 0.0
    own: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    path: list[str] = field(default_factory=list)
    revision: str = "none"
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    failed: Exception | None = None

    def run(self) -> None:
        """Call until told to stop."""
        chance, number = random.Random(self.name), 0
        try:
            while not self.stop.is_set():
                text = f"{self.name} {number}"
                for session, known in ((self.name, self.own), (SHARED, self.shared)):
                    self.client.add(session, "user", text)
                    known.append(text)
                self.counts["append"] += 2
                if number % 3 == 0:
                    self._follow(chance, number)
                if number % 7 == 0:
                    self._read()
                if self.forgets and number % 25 == 24:
                    self._forget(chance)
                number += 1
                time.sleep(self.pause_seconds)
        except Exception as error:
            self.failed = error

    def _follow(self, chance: random.Random, number: int) -> None:
        """Follow a list that grew, or that was rewound and went on in another way."""
        if self.path and chance.random() < 0.3:
            del self.path[chance.randrange(len(self.path)) :]
        self.path.append(f"{self.name} path {number}")
        messages = [{"role": "user", "content": text} for text in self.path]
        told = self.client.follow(f"{self.name}-path", messages, format="openai", if_match=self.revision)
        self.revision = told["revision"]  # nobody else changes this session
        self.counts["follow"] += 1

    def _forget(self, chance: random.Random) -> None:
        place = chance.randrange(len(self.own))
        try:
            (turn,) = [turn for turn in self._held() if turn["text"] == self.own[place]]
            self.client.forget(self.name, turn_id=turn["id"])
        except NotFoundError:
            pass  # a try that got no answer had forgotten it
        del self.own[place]
        self.counts["forget"] += 1

    def _read(self) -> None:
        self.counts["read"] += 2
        held = [turn["text"] for turn in self._held()]
        if held != self.own:
            self.wrong.append(f"{self.name} read {len(held)} turns of its own where it knows {len(self.own)}")
        if self.path:
            shown = [message["content"] for message in self.client.messages(f"{self.name}-path", budget=_ROOMY)]
            if shown != self.path:
                self.wrong.append(f"{self.name} was shown {shown[-3:]} after it followed {self.path[-3:]}")

    def _held(self) -> list[dict[str, str]]:
        lines = [json.loads(line) for line in self.client.export(self.name).splitlines()]
        return [line["turn"] for line in lines if "turn" in line]


@dataclass
class Prober:
    """One client that never tries again: it notes the status of each answer, and whether 503 said when to come back."""

    url: str
    key: str
    stop: threading.Event
    statuses: Counter[int] = field(default_factory=Counter)
    without_retry_after: int = 0
    last: int = 0

    def run(self) -> None:
        """Ask twenty times a second until told to stop."""
        headers = {"Authorization": f"Bearer {self.key}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=60) as client:
            while not self.stop.is_set():
                try:
                    answer = client.post(f"/v1/sessions/{PROBED}/turns", json={"role": "user", "content": "probe"})
                    self.last = answer.status_code
                    self.without_retry_after += answer.status_code == 503 and "retry-after" not in answer.headers
                except httpx.TransportError:
                    self.last = 0
                self.statuses[self.last] += 1
                time.sleep(0.05)


def checked(store: str, writers: list[Writer]) -> dict[str, object]:
    """Return what was counted and found wrong, against what the store holds in the end.

    ``lost``: acknowledged and not there; ``doubled``: there more than once; ``disordered``: writers whose turns are not
    in the order in which they were sent; ``violations``: reads that did not equal what their reader knew.
    """
    opened = open_store(store)
    scoped = ScopedStore(opened, TENANT)
    shared = [turn.text for turn in scoped.turns(SHARED)]
    total: Counter[str] = Counter({"lost": 0, "doubled": 0, "disordered": 0})
    for writer in writers:
        if writer.failed is not None:
            raise writer.failed
        total += writer.counts
        held = [turn.text for turn in scoped.turns(writer.name)]
        mine = [text for text in shared if text.startswith(f"{writer.name} ")]
        for known, there in ((writer.own, held), (writer.shared, mine)):
            total["lost"] += len(set(known) - set(there))
            total["doubled"] += len(there) - len(set(there))
            total["disordered"] += [text for text in there if text in set(known)] != known
    opened.close()
    figures = {name: total[name] for name in ("append", "follow", "forget", "read", "lost", "doubled", "disordered")}
    return {**figures, "violations": [line for writer in writers for line in writer.wrong]}
