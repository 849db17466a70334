"""Stores of every kind, on real files and real Redis servers of the tests' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from redis_server import RedisServer
from sealing_codec import SealingCodec

from optical_memory.stores import MemoryStore, SqliteStore, Store
from optical_memory.stores.codec import PLAIN
from optical_memory.stores.redis import RedisStore
from optical_memory.stores.scoped import ScopedStore

KINDS = ("memory", "sqlite", "redis", "redis-cluster", "sealed", "scoped")


@pytest.fixture(scope="session")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Redis in cluster mode that owns all slots."""
    server = RedisServer(tmp_path_factory.mktemp("cluster"), "--cluster-enabled", "yes", "--appendonly", "yes")
    server.make_cluster()
    yield server.url
    server.kill()


@pytest.fixture(params=KINDS)
def open_store_again(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Return a function that opens the same empty store each time; in memory there is one only."""
    kind: str = request.param
    with ExitStack() as opened:
        if kind in ("memory", "scoped"):
            store = MemoryStore()
            opened.callback(store.close)
            yield lambda: store if kind == "memory" else ScopedStore(store, "tenant-1")
            return
        url, codec = "", SealingCodec(b"k" * 32) if kind == "sealed" else PLAIN
        if kind not in ("sqlite", "sealed"):
            url = request.getfixturevalue("redis_url" if kind == "redis" else "cluster_url")
            with redis.Redis.from_url(url) as client:
                client.flushdb()

        def open_again() -> Store:
            again: Store = RedisStore(url) if url else SqliteStore(tmp_path / "store.db", codec=codec)
            opened.callback(again.close)
            return again

        yield open_again


@pytest.fixture
def store(open_store_again: Callable[[], Store]) -> Store:
    """An empty store of each kind."""
    return open_store_again()
