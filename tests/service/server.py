"""A real uvicorn on a free port, in a thread of the test's own process, so that a test can look into its engine."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn

from optical_memory.service.app import create_app
from optical_memory.service.engine import Engine
from optical_memory.service.settings import ServiceSettings

ALL = ("read", "write", "forget", "admin")


class Served:
    """A service that runs, and clients of it."""

    def __init__(self, url: str, engine: Engine, app: Any) -> None:
        self.url, self.engine, self.app = url, engine, app

    def key(self, tenant: str, scopes: tuple[str, ...] = ALL) -> str:
        return self.engine.keyring.create(tenant, scopes)[1]

    def client(self, tenant: str = "acme", scopes: tuple[str, ...] = ALL) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key(tenant, scopes)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=120)


@contextmanager
def served(**settings: Any) -> Iterator[Served]:
    """Run a service with these settings, which under load too has the time to compress."""
    usual: dict[str, Any] = {"renderer": "dense", "profile": "mini", "budget": 2_000, "proxy_compress_seconds": 600.0}
    app = create_app(ServiceSettings(**usual | settings))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.02)
        assert server.started
        try:
            yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", app.state.engine, app)
        finally:
            server.should_exit = True
            thread.join()
