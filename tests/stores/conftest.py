"""Stores of every kind, on real files and real Redis servers of the tests' own."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from sealing_codec import SealingCodec

from optical_memory.stores import MemoryStore, SqliteStore, Store
from optical_memory.stores.codec import PLAIN
from optical_memory.stores.redis import RedisStore
from optical_memory.stores.scoped import ScopedStore

KINDS = ("memory", "sqlite", "redis", "redis-cluster", "sealed", "scoped")


class RedisServer:
    """A redis-server process on one port and folder, which can be killed and started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        program = shutil.which("redis-server")
        if program is None:
            if os.environ.get("CI"):
                pytest.fail("redis-server is missing")
            pytest.skip("redis-server is not installed")
        self.port = _free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.folder = folder
        address = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--logfile", "redis.log")
        self._command = [program, *address, *options]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        with redis.Redis(port=self.port) as client:
            self._wait(lambda: bool(client.ping()))

    def make_cluster(self) -> None:
        with redis.Redis(port=self.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            self._wait(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    @staticmethod
    def _wait(is_ready: Callable[[], bool], seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                if is_ready():
                    return
            except redis.ConnectionError:
                pass  # not listening, or loading its files
            if time.monotonic() > deadline:
                raise TimeoutError("redis-server did not become ready")
            time.sleep(0.05)


def _free_port() -> int:
    while True:  # below the ports of outgoing connections, and of the cluster bus 10,000 above
        port = random.randrange(12_000, 22_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Return a function that starts a Redis with the options given to it, on a folder of its own."""
    with ExitStack() as servers:

        def start(*options: str) -> RedisServer:
            folder = tmp_path / uuid.uuid4().hex
            folder.mkdir()
            server = RedisServer(folder, *options)
            servers.callback(server.kill)
            return server

        yield start


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
