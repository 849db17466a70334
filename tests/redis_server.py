"""Real Redis servers of a test's own, which it can kill and start again."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.service.ports import free_port


class RedisServer:
    """A redis-server process on one port and folder, which can be killed and started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        program = shutil.which("redis-server")
        if program is None:
            if os.environ.get("CI"):
                pytest.fail("redis-server is missing")
            pytest.skip("redis-server is not installed")
        self.folder, self._program, self._options = folder, program, options
        while True:
            self.port = free_port()
            self.url = f"redis://127.0.0.1:{self.port}/0"
            try:
                return self.start()
            except ConnectionAbortedError:  # another program was faster at this port
                if "Address already in use" not in (folder / "redis.log").read_text():
                    raise

    def start(self) -> None:
        """Start it at its port and wait for it. Raises ConnectionAbortedError where it ends instead."""
        import redis  # here: in some frameworks' environments it warns, which their tests allow

        address = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--logfile", "redis.log")
        self._process = subprocess.Popen([self._program, *address, *self._options], stdout=subprocess.DEVNULL)
        with redis.Redis(port=self.port) as client:
            self._wait(lambda: client.info("server")["process_id"] == self._process.pid)

    def make_cluster(self) -> None:
        import redis

        with redis.Redis(port=self.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            self._wait(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _wait(self, is_ready: Callable[[], bool], seconds: float = 120.0) -> None:
        import redis

        deadline = time.monotonic() + seconds
        while True:
            if self._process.poll() is not None:
                raise ConnectionAbortedError(f"redis-server ended: {(self.folder / 'redis.log').read_text()[-2000:]}")
            try:
                if is_ready():
                    return
            except (redis.ConnectionError, redis.TimeoutError):
                pass  # not listening, loading its files, or not a Redis
            if time.monotonic() > deadline:
                raise TimeoutError("redis-server did not become ready")
            time.sleep(0.05)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real redis-server of this test session's own, with an append-only file."""
    server = RedisServer(tmp_path_factory.mktemp("redis"), "--appendonly", "yes")
    yield server.url
    server.kill()


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
