"""The door: which requests are the providers', who calls, and how a body comes in. All else is the service's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from optical_memory.errors import AccessError, OpticalMemoryError
from optical_memory.service.engine import Engine
from optical_memory.service.keys import Key
from optical_memory.service.metrics import Metrics
from optical_memory.service.problems import RETRY_SECONDS, Problem
from optical_memory.service.proxy.exchange import Exchange, Incoming
from optical_memory.service.proxy.report import Figures, Report
from optical_memory.service.proxy.shapes import Target, error_body, target_of
from optical_memory.service.proxy.streams import GoneError, while_there, whole
from optical_memory.service.proxy.upstream import Upstream
from optical_memory.service.settings import ServiceSettings

KEY_HEADER = "x-optical-memory-key"
"""Carries the key of the service; the provider's own key stays where its client puts it."""


class ProxyError(Exception):
    """A request that the proxy itself refuses."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})


class Proxy:
    """ASGI middleware, the outermost: serves the providers' paths and hands all others on."""

    def __init__(self, app: ASGIApp, *, settings: ServiceSettings, metrics: Metrics) -> None:
        self._app, self._settings = app, settings
        self._own: frozenset[str] | None = None
        self._figures = Figures(metrics.registry)
        self._metrics = metrics
        urls = {
            "openai": settings.proxy_openai_url,
            "anthropic": settings.proxy_anthropic_url,
            "gemini": settings.proxy_gemini_url,
        }
        self._upstream = Upstream(urls, seconds=settings.proxy_seconds)
        self._exchange: Exchange | None = None
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            try:
                await self._app(scope, receive, send)
            finally:
                await self._upstream.close()
            return
        if scope["type"] != "http" or not self._is_providers(scope):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        target = target_of(scope["method"], scope["path"], headers)
        if _holds_own_key(headers, scope["query_string"]) and (target is None or target.shape is None):
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._serve(scope, receive, sent, headers, target, started)
        finally:
            provider = target.provider if target is not None else "unknown"
            self._metrics.answered(f"proxy/{provider}", scope["method"], status, time.perf_counter() - started)

    def _is_providers(self, scope: Scope) -> bool:
        """Whether a path is none of the service's own, which are what its routes say."""
        path: str = scope["path"]
        if not path.startswith("/v1/"):
            return path.startswith(("/v1beta", "/v1alpha", "/upload/v1beta"))
        if self._own is None:
            paths = scope["app"].openapi()["paths"]
            self._own = frozenset(one.split("/")[2] for one in paths if one.startswith("/v1/"))
        return path.split("/")[2] not in self._own

    async def _serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: Mapping[str, str],
        target: Target | None,
        started: float,
    ) -> None:
        provider = target.provider if target is not None else "openai"
        try:
            engine: Engine = scope["app"].state.engine
            if self._under_way >= self._settings.proxy_requests:
                raise ProxyError(503, "too many requests are under way here", {"Retry-After": str(RETRY_SECONDS)})
            if target is None:
                raise ProxyError(404, _unknown(scope))
            if _holds_own_key(headers, scope["query_string"]):
                raise ProxyError(
                    401, f"the service's key belongs in {KEY_HEADER.title()}, the provider's own in its place"
                )
            tenant, added = await self._tenant(engine, headers)
            body = await self._body(receive, headers)
        except ProxyError as refused:
            self._figures.did(provider, Report(reason=f"refused-{refused.status}"), time.perf_counter() - started)
            await _refuse(send, provider, refused)
            return
        except ClientDisconnect:
            return
        if self._exchange is None:
            self._exchange = Exchange(engine, self._settings, self._upstream, self._figures)
        incoming = Incoming(
            tenant=tenant,
            target=target,
            method=scope["method"],
            path=scope.get("raw_path") or scope["path"].encode(),
            query=scope["query_string"],
            headers=list(scope["headers"]),
            by_name=headers,
            body=body,
            started=started,
            added=added,
        )
        self._under_way += 1
        try:
            await while_there(self._exchange.serve(incoming, send), receive)
        except GoneError:
            self._figures.failed(provider, "caller-gone")
        finally:
            self._under_way -= 1

    async def _tenant(self, engine: Engine, headers: Mapping[str, str]) -> tuple[str, list[tuple[bytes, bytes]]]:
        """Return whose request it is, and headers that say what is left of its rates. Raises ProxyError."""
        text = headers.get(KEY_HEADER)
        if text is None:
            if self._settings.proxy_tenant is not None:
                return self._settings.proxy_tenant, []
            raise ProxyError(401, f"send the service's key in the header {KEY_HEADER.title()}")
        try:
            key = engine.keyring.cached(text)
            if key is None:
                key = await engine.quick(lambda: engine.keyring.find(text))
            if "write" not in key.scopes:
                raise ProxyError(403, "this needs a key with the scope 'write'")
            return key.tenant, await self._rated(engine, key)
        except AccessError as error:
            raise ProxyError(401, f"{error}: {KEY_HEADER.title()} needs a key of `optical-memory keys`") from error
        except OpticalMemoryError as error:
            raise ProxyError(503, "the store cannot be used now", {"Retry-After": str(RETRY_SECONDS)}) from error

    async def _rated(self, engine: Engine, key: Key) -> list[tuple[bytes, bytes]]:
        if not engine.rates.any:
            return []
        try:
            left = await engine.quick(lambda: engine.rates.take(key))
        except Problem as refused:
            raise ProxyError(refused.status_code, str(refused.detail), refused.headers) from refused
        return [(f"x-optical-memory-{name}".lower().encode(), value.encode()) for name, value in left.headers.items()]

    async def _body(self, receive: Receive, headers: Mapping[str, str]) -> bytes:
        """Return the body. Raises ProxyError where it is too large or too slow, ClientDisconnect."""
        most, parts, taken = self._settings.proxy_max_body_bytes, list[bytes](), 0
        too_large = ProxyError(413, f"a body has at most {most:,} bytes here", {"Connection": "close"})
        if headers.get("content-length", "0").isdigit() and int(headers.get("content-length", "0")[:20]) > most:
            raise too_large
        deadline = time.monotonic() + self._settings.body_seconds
        while True:
            try:
                message = await asyncio.wait_for(receive(), max(deadline - time.monotonic(), 0.0))
            except TimeoutError as error:
                said = f"a body has {self._settings.body_seconds:g} seconds to arrive"
                raise ProxyError(408, said, {"Connection": "close"}) from error
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            parts.append(message.get("body", b""))
            taken += len(parts[-1])
            if taken > most:
                raise too_large
            if not message.get("more_body", False):
                return b"".join(parts)


def _holds_own_key(headers: Mapping[str, str], query: bytes) -> bool:
    """Whether a key of the service stands where a provider's belongs: it must go to none of them."""
    given = (headers.get("authorization", "").removeprefix("Bearer "), headers.get("x-api-key", ""))
    return any(key.startswith("om_") for key in (*given, headers.get("x-goog-api-key", ""))) or b"key=om_" in query


def _unknown(scope: Scope) -> str:
    return (
        f"{scope['method']} {scope['path'][:200]} is no path of this service, and nothing says which provider it is"
        " for: send the provider's own key (Authorization, x-api-key or x-goog-api-key)"
    )


async def _refuse(send: Send, provider: str, refused: ProxyError) -> None:
    headers = [(b"content-type", b"application/json"), *Report(reason=f"refused-{refused.status}").headers]
    headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in refused.headers.items()]
    await whole(send, refused.status, headers, error_body(provider, refused.status, str(refused)))
