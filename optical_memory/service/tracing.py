"""Traces for OpenTelemetry: requests, calls of the store, drawing. Names, counts and times; never content or ids.

Where the process has no tracer provider, one is set up that exports over OTLP as OpenTelemetry's own variables say
(``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_SERVICE_NAME``, …).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from optical_memory.errors import MissingExtraError
from optical_memory.renderers import png
from optical_memory.renderers.base import Layout, Raster, Renderer
from optical_memory.renderers.visible import Repertoire

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_NAME = "optical_memory"
_STORES = frozenset(
    {"append", "append_all", "turns", "get", "head", "count", "search", "forgotten", "load_state", "save_state"}
    | {"get_blob", "blob_keys", "put_blobs", "delete_blobs", "delete_turns", "delete_session", "sessions"}
)


@functools.cache
def tracer() -> Tracer:
    """Return what makes spans. Raises MissingExtraError."""
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
    except ImportError as error:
        raise MissingExtraError("opentelemetry-sdk", "otel") from error
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError as error:
            raise MissingExtraError("opentelemetry-exporter-otlp-proto-http", "otel") from error
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
    return trace.get_tracer(_NAME)


class Traced:
    """ASGI middleware: one span for each request, part of the trace that its ``traceparent`` names."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        tracer()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request within a span."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from opentelemetry import propagate
        from opentelemetry.trace import SpanKind

        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        parent = propagate.extract({name: carrier[name] for name in ("traceparent", "tracestate") if name in carrier})
        method = scope["method"]
        kind = SpanKind.SERVER
        options: dict[str, Any] = {"record_exception": False, "set_status_on_exception": False}
        with tracer().start_as_current_span(method, context=parent, kind=kind, **options) as span:
            span.set_attribute("http.request.method", method)

            async def sent(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            try:
                await self._app(scope, receive, sent)
            finally:
                route = getattr(scope.get("route"), "path", "unknown")
                span.set_attribute("http.route", route)
                span.update_name(f"{method} {route}")


class TracedStore:
    """A store, each of whose calls is a span with its name and nothing of what it was called with."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return _traced(f"store {name}", found) if name in _STORES else found


class TracedRenderer:
    """A renderer that draws within spans."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    @property
    def key(self) -> str:
        """Name and pixel version."""
        return self._renderer.key

    @property
    def repertoire(self) -> Repertoire:
        """What can be drawn."""
        return self._renderer.repertoire

    def draw(self, layouts: Sequence[Layout], *, size: tuple[int, int]) -> list[Raster]:
        """Draw layouts; see the protocol."""
        return list(_drawing(self._renderer.draw, layouts, size))

    def paint(self, layouts: Sequence[Layout], *, size: tuple[int, int]) -> list[bytes]:
        """Draw layouts as PNG bytes."""
        return list(_drawing(functools.partial(png.paint, self._renderer), layouts, size))

    def __getattr__(self, name: str) -> Any:
        """Return what the renderer has besides; planning elsewhere is a span too."""
        found = getattr(self._renderer, name)
        return _traced("plan", found) if name == "elsewhere" else found

    def close(self) -> None:
        """Release what is held."""
        self._renderer.close()


def _drawing(work: Callable[..., Any], layouts: Sequence[Layout], size: tuple[int, int]) -> Any:
    with tracer().start_as_current_span("draw", record_exception=False) as span:
        span.set_attribute("pages", len(layouts))
        span.set_attribute("size", f"{size[0]}x{size[1]}")
        return work(layouts, size=size)


def _traced(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(work)
    def traced(*given: Any, **settings: Any) -> Any:
        with tracer().start_as_current_span(name, record_exception=False, set_status_on_exception=False):
            return work(*given, **settings)

    return traced
