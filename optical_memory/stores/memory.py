"""A store in memory, private to its object: for tests, trials and sessions that need not outlive the process."""

from __future__ import annotations

from optical_memory.stores.codec import PLAIN, Codec
from optical_memory.stores.sqlite import SqliteStore


class MemoryStore(SqliteStore):
    """The SQLite store on a database that no one else sees and that ends with :meth:`close`."""

    durability = "none: everything is in this process's memory"

    def __init__(self, *, codec: Codec = PLAIN) -> None:
        super().__init__(":memory:", codec=codec)
