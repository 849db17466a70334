"""``optical-memory serve`` as a process that can be killed and started again on the same port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import httpx

from benchmarks.service.ports import free_port

SERVE = (sys.executable, "-c", "from optical_memory.cli import main; main()", "serve")


class Service:
    """A service on a store, at a port of its own; ``command`` is what serves."""

    def __init__(self, store: str, *, command: Sequence[str] = SERVE, **settings: str) -> None:
        self._command = command
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        given = {"store": store, "port": str(self.port), "renderer": "dense", **settings}
        self._environment = os.environ | {f"OPTICAL_MEMORY_{name.upper()}": value for name, value in given.items()}
        self.start()

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        deadline = time.monotonic() + 120
        while True:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=10).status_code == 200:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the service did not start: status {self.process.poll()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it without a word."""
        self.process.kill()
        self._end()

    def stop(self) -> int:
        """Ask it to end, and return its status."""
        self.process.send_signal(signal.SIGTERM)
        return self._end()

    def _end(self) -> int:
        status = self.process.wait(120)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status
