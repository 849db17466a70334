"""Fidelity over HTTP: what a reader still reads of a session's pages at each tier, read when asked, kept for a day."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from dataclasses import asdict
from typing import Any

from optical_memory.errors import NotFoundError
from optical_memory.memory import OpticalMemory
from optical_memory.readers import Reader, load_reader, reader_names
from optical_memory.service.records import Records
from optical_memory.stores.record import pack
from optical_memory.stores.scoped import scoped_id

MORE_THAN_A_NAME = frozenset({"deepseek-ocr", "deepseek-ocr-2", "endpoint", "got-ocr2"})
"""Readers that a request cannot name: they need a checkpoint or an address, which is for the service to know."""
MOST_PAGES = 8
"""Most pages that one request has read, each at every tier."""
KEPT_SECONDS = 86_400.0


def readers_here() -> tuple[str, ...]:
    """Return the names of the readers that a request may name."""
    return tuple(name for name in reader_names() if name not in MORE_THAN_A_NAME)


class Fidelity:
    """Reads pages and keeps the figures, never the text. One reading at a time: each takes all processors."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._readers: dict[str, Reader] = {}
        self._lock = threading.Lock()
        self.turn = asyncio.Semaphore(1)

    def read(self, memory: OpticalMemory, tenant: str, reader: str, pages: int) -> dict[str, Any]:
        """Have the newest pages of a memory read at every tier, and keep the figures for its view.

        Errors: NotFoundError for a reader that cannot be named here, MissingExtraError where its packages are not
        installed, ReaderError.
        """
        scores = memory.fidelity(self._reader(reader), pages=pages)
        head = memory.store.head(memory.session)
        context = memory.peek()
        found = {
            "session": memory.session,
            "profile": memory.profile.name,
            "budget": memory.budget,
            "reader": reader,
            "pages": pages,
            "epoch": context.epoch,
            "read_at": time.time(),
            "tiers": {tier: asdict(score) for tier, score in scores.items()},
            "stated": dict(memory.profile.legibility),
        }
        held = json.dumps({"birth": head.birth, "forgotten": head.forgotten, "figures": found})
        self._records.put(_name(memory, tenant, reader), held.encode(), seconds=KEPT_SECONDS)
        return found

    def kept(self, memory: OpticalMemory, tenant: str, reader: str) -> dict[str, Any]:
        """Return the figures of the last reading. Raises NotFoundError where there is none of this session as it is."""
        if reader not in readers_here():
            raise _unknown(reader)
        held = json.loads(self._records.get(_name(memory, tenant, reader)) or b"{}")
        head = memory.store.head(memory.session)
        if (held.get("birth"), held.get("forgotten")) != (head.birth, head.forgotten):
            raise NotFoundError(f"{reader!r} has read no page of session {memory.session!r} yet; POST has it read")
        found: dict[str, Any] = held["figures"]
        return found

    def _reader(self, name: str) -> Reader:
        if name not in readers_here():
            raise _unknown(name)
        with self._lock:
            if name not in self._readers:
                self._readers[name] = load_reader(name)
            return self._readers[name]


def _unknown(reader: str) -> NotFoundError:
    return NotFoundError(f"no reader {reader!r} can be named here; there are {', '.join(readers_here())}")


def _name(memory: OpticalMemory, tenant: str, reader: str) -> str:
    view = "\0".join((scoped_id(tenant, memory.session), memory.profile.name, str(memory.budget), reader))
    return f"fidelity/{hashlib.sha256(pack(view)).hexdigest()}"
