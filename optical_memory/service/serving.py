"""The service as processes: one, or several workers on one port, each started again when it dies."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from optical_memory.errors import MissingExtraError

try:
    import uvicorn
except ImportError as error:
    raise MissingExtraError("uvicorn", "service") from error

from optical_memory.service.collecting import collect_rarely
from optical_memory.service.logs import set_up_logs
from optical_memory.service.settings import PREFIX, ServiceSettings

_log = logging.getLogger(__name__)
_METRICS = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client adds up the figures of several processes."""
_SWITCH_SECONDS = 0.001
"""How long a thread that plans may keep the interpreter while the event loop waits; Python's own 5 ms add up."""
_SHORTEST_LIFE_SECONDS = 5.0
"""A worker that ends sooner than this failed to start; another try would fail as well."""


def serve_at(listening: socket.socket, settings: ServiceSettings) -> None:
    """Serve at a socket that is bound until SIGTERM or SIGINT, after which requests under way end.

    With several workers the socket only holds the port: each worker binds one of its own to it (SO_REUSEPORT), and the
    kernel spreads connections over them.
    """
    if settings.workers == 1:
        _serve(settings, listening)
        return
    os.environ |= {name: value for name, value in _environment(settings).items() if value}
    with tempfile.TemporaryDirectory(prefix="optical-memory-metrics-") as figures:
        os.environ[_METRICS] = figures
        Workers(settings.workers, listening.family, listening.getsockname()[:2]).run()


class Workers:
    """Processes that serve at one address. One that dies is started again; all end at SIGTERM or SIGINT."""

    def __init__(self, count: int, family: socket.AddressFamily, address: tuple[str, int]) -> None:
        self._given = (family, address)
        self._spawn = multiprocessing.get_context("spawn")
        self._running: dict[SpawnProcess, float] = {}
        self._count = count
        self._ending = False

    def run(self) -> None:
        """Serve until told to end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        for _ in range(self._count):
            self._start()
        while self._running:
            wait([process.sentinel for process in self._running], timeout=0.5)
            for process in [process for process in self._running if not process.is_alive()]:
                lived = time.monotonic() - self._running.pop(process)
                if not self._ending and lived < _SHORTEST_LIFE_SECONDS and (process.exitcode or 0) > 0:
                    _log.error("a worker ended with status %s as it started", process.exitcode)
                    self._end()
                elif not self._ending:
                    _log.warning("worker %s died (status %s); another takes its place", process.pid, process.exitcode)
                    self._start()

    def _start(self) -> None:
        process = self._spawn.Process(target=serve_worker, args=self._given)
        process.start()
        self._running[process] = time.monotonic()

    def _end(self, number: int = 0, frame: FrameType | None = None) -> None:
        self._ending = True
        for process in self._running:
            process.terminate()


def serve_worker(family: socket.AddressFamily, address: tuple[str, int]) -> None:
    """Serve in a worker, with the settings of the environment, at a socket of its own, while its parent lives."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(address)
        _serve(ServiceSettings(), listening)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _serve(settings: ServiceSettings, listening: socket.socket) -> None:
    from optical_memory.service.app import create_app

    set_up_logs(settings.log_format)
    sys.setswitchinterval(_SWITCH_SECONDS)
    app = create_app(settings)
    collect_rarely()
    config = uvicorn.Config(
        app,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        access_log=False,  # its lines hold session ids and questions
        server_header=False,
        log_config=None,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _environment(settings: ServiceSettings) -> dict[str, str]:
    """Return settings as the environment variables that make them."""
    found = {}
    for name, value in settings:
        plain = value.get_secret_value() if hasattr(value, "get_secret_value") else value
        found[f"{PREFIX}{name.upper()}"] = "" if plain is None else str(plain)
    return found
