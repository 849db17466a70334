"""Real Redis servers of a test's own, which it can kill and start again."""

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
        import redis  # here: in some frameworks' environments it warns, which their tests allow

        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        with redis.Redis(port=self.port) as client:
            self._wait(lambda: bool(client.ping()))

    def make_cluster(self) -> None:
        import redis

        with redis.Redis(port=self.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            self._wait(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    @staticmethod
    def _wait(is_ready: Callable[[], bool], seconds: float = 120.0) -> None:
        import redis

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
