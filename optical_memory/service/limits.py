"""The outermost layer: bounds on bodies, time and requests at once, kept before anything is parsed; and the figures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from optical_memory.service.logs import log_request
from optical_memory.service.metrics import Metrics
from optical_memory.service.problems import RETRY_SECONDS, Problem
from optical_memory.service.rates import Allowance
from optical_memory.service.settings import ServiceSettings

_FREE = ("/healthz", "/readyz", "/metrics")
"""Paths that are answered however many requests there are."""


TITLES = {413: "the body is too large", 408: "the body came too slowly", 503: "too many requests at once"}
"""What is refused here: status and title."""


def _refused(status: int, detail: str) -> Problem:
    retry = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else {}
    return Problem(status, TITLES[status], detail, {"Connection": "close"} | retry)


def _added(scope: Scope) -> Iterator[tuple[bytes, bytes]]:
    """Yield the headers that every answer has, and what remains of the caller's rates."""
    yield b"x-content-type-options", b"nosniff"
    allowance: Allowance | None = scope.get("state", {}).get("allowance")
    for name, value in allowance.headers.items() if allowance is not None else ():
        yield name.lower().encode(), value.encode()


class Limits:
    """ASGI middleware that refuses bodies too large (413) or too slow (408), and too many requests at once (503).

    At the most requests at once, the one whose body has been arriving longest gives way (408) to one that comes:
    callers that send slowly do not keep out the others.
    """

    def __init__(self, app: ASGIApp, *, settings: ServiceSettings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._under_way = 0
        self._arriving: dict[object, tuple[float, asyncio.Timeout]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request within the limits."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        begun = False

        async def sent(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                message["headers"] = [*message.get("headers", ()), *_added(scope)]
            await send(message)

        free = scope["path"] in _FREE
        try:
            if not free and self._under_way >= self._settings.max_requests and not self._gave_way():
                raise _refused(503, f"{self._settings.max_requests} requests are under way; try again")
            self._under_way += not free
            try:
                await self._app(scope, self._bounded(scope, receive), sent)
            finally:
                self._under_way -= not free
        except Problem as refused:
            if begun:
                raise
            await refused.answer()(scope, receive, sent)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            seconds = time.perf_counter() - started
            self._metrics.answered(route, scope["method"], status, seconds)
            if self._settings.log_requests:
                log_request(scope, route, status, seconds)

    def _gave_way(self) -> bool:
        """End the request whose body has been arriving longest, if it is slow; return whether there was one."""
        slowest = min(self._arriving, key=lambda one: self._arriving[one][0], default=None)
        now = asyncio.get_running_loop().time()
        if slowest is None or now < self._arriving[slowest][0] + self._settings.slow_body_seconds:
            return False
        _, timeout = self._arriving.pop(slowest)
        timeout.reschedule(now)
        return True

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        settings = self._settings
        most = settings.max_import_bytes if scope["path"].endswith("/import") else settings.max_body_bytes
        too_large = _refused(413, f"a body has at most {most:,} bytes here")
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and int(declared[:20]) > most:
            raise too_large
        began = asyncio.get_running_loop().time()
        taken, deadline, whole, request = 0, began + settings.body_seconds, False, object()

        async def bounded() -> Message:
            nonlocal taken, whole
            if whole:  # what comes after the body is the end of the connection
                return await receive()
            try:
                async with asyncio.timeout_at(deadline) as timeout:
                    self._arriving[request] = (began, timeout)
                    message = await receive()
            except TimeoutError as error:
                detail = (
                    f"a body has {settings.body_seconds:g} seconds to arrive, fewer while there are too many requests"
                )
                raise _refused(408, detail) from error
            finally:
                self._arriving.pop(request, None)
            taken += len(message.get("body", b""))
            if taken > most:
                raise too_large
            whole = message["type"] != "http.request" or not message.get("more_body", False)
            return message

        return bounded
