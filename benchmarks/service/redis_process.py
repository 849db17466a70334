"""Redis servers of a benchmark's own, which it may pause and kill."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import redis

from benchmarks.service.ports import free_port

_STARTS = 100
"""How often a server is started while its port is taken."""


class RedisProcess:
    """A redis-server on loopback with an append-only file; ``settings`` are those of redis.conf."""

    def __init__(self, folder: Path, *, port: int | None = None, fsync: str = "everysec", **settings: str) -> None:
        self.port = free_port() if port is None else port
        self.url = f"redis://127.0.0.1:{self.port}/0"
        folder.mkdir(parents=True, exist_ok=True)
        given = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(folder), "appendonly": "yes"}
        given |= {"appendfsync": fsync, "save": ""} | {name.replace("_", "-"): text for name, text in settings.items()}
        self._log = folder / "redis.log"
        given["logfile"] = str(self._log)
        self._command = [program(), *(part for name, value in given.items() for part in (f"--{name}", value))]
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers. Raises RuntimeError with its own last words.

        A child of one that was killed may hold the port for a moment, where it was about to write the file anew.
        """
        for _ in range(_STARTS):
            self._log.write_text("")
            self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                return wait_until_up(self.port, self.process)
            except RuntimeError as error:
                said = self._log.read_text(errors="replace")[-500:]
                if self.process.poll() is None or "Address already in use" not in said:
                    raise RuntimeError(f"{error}: {said}") from error
                time.sleep(0.1)
        raise RuntimeError(f"port {self.port} stays taken")

    def kill(self) -> None:
        """Kill it without a word."""
        self.process.kill()
        self.process.wait()

    close = kill

    def pause(self) -> None:
        """Stop it in its tracks (SIGSTOP)."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def client(self) -> Any:
        """Return a client of it."""
        return redis.Redis(port=self.port)

    def processor_seconds(self) -> float:
        """Return the processor time it took."""
        import psutil

        return float(sum(psutil.Process(self.process.pid).cpu_times()[:2]))


def wait_until_up(port: int, process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    """Wait until a server answers and has read its files. Raises RuntimeError."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with redis.Redis(port=port, socket_timeout=2) as client:
                client.ping()
                return
        except redis.RedisError:
            time.sleep(0.01)
    raise RuntimeError(f"no Redis answers at port {port}: status {process.poll()}")


def program() -> str:
    """Return the path of redis-server. Raises RuntimeError."""
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("redis-server is not installed")
    return program
