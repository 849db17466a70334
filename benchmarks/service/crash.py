"""Kill -9 of the service under load, with clients that try again: what was acknowledged is there, once and in order."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field

from benchmarks.service.process import Service
from optical_memory.client import OpticalMemoryClient
from optical_memory.service.keys import Keyring
from optical_memory.service.records import open_records
from optical_memory.stores import open_store
from optical_memory.stores.scoped import ScopedStore

TENANT = "crash"


@dataclass
class Writer:
    """One client that adds turns to a session of its own, and to one that all share, until it is told to stop."""

    client: OpticalMemoryClient
    name: str
    stop: threading.Event
    acknowledged: dict[str, list[str]] = field(default_factory=lambda: {"own": [], "shared": []})
    failed: Exception | None = None

    def run(self) -> None:
        """Add turns."""
        number = 0
        try:
            while not self.stop.is_set():
                text = f"{self.name} {number}"
                for kind, session in (("own", self.name), ("shared", "shared")):
                    self.client.add(session, "user", text)
                    self.acknowledged[kind].append(text)
                number += 1
        except Exception as error:
            self.failed = error


def crash(store: str, *, kills: int, writers: int, most_seconds: float = 1.0, seed: int = 7) -> dict[str, int]:
    """Kill the service ``kills`` times while ``writers`` add turns, and return what was counted.

    ``lost``: acknowledged and not there; ``doubled``: there more than once; ``disordered``: writers whose turns are
    not in the order in which they were sent.
    """
    chance = random.Random(seed)
    records = open_records(store)
    key = Keyring(records).create(TENANT, ["read", "write"])[1]
    records.close()
    service, stop = Service(store), threading.Event()
    clients = [OpticalMemoryClient(service.url, key, timeout_seconds=60, retries=300) for _ in range(writers)]
    running = [Writer(client, f"writer-{place}", stop) for place, client in enumerate(clients)]
    threads = [threading.Thread(target=writer.run) for writer in running]
    for thread in threads:
        thread.start()
    for _ in range(kills):
        time.sleep(chance.uniform(0.2, most_seconds))
        service.kill()
        service.start()
    stop.set()
    for thread in threads:
        thread.join()
    service.stop()
    for client in clients:
        client.close()
    return {"kills": kills, **_checked(store, running)}


def _checked(store: str, running: list[Writer]) -> dict[str, int]:
    opened = open_store(store)
    scoped = ScopedStore(opened, TENANT)
    shared = [turn.text for turn in scoped.turns("shared")]
    counts = {"acknowledged": 0, "lost": 0, "doubled": 0, "disordered": 0}
    for writer in running:
        if writer.failed is not None:
            raise writer.failed
        own = [turn.text for turn in scoped.turns(writer.name)]
        mine = [text for text in shared if text.startswith(f"{writer.name} ")]
        for kind, held in (("own", own), ("shared", mine)):
            counts["acknowledged"] += len(writer.acknowledged[kind])
            counts["lost"] += len(set(writer.acknowledged[kind]) - set(held))
            counts["doubled"] += len(held) - len(set(held))
            counts["disordered"] += held != sorted(held, key=lambda text: int(text.split()[1]))
    opened.close()
    return counts
