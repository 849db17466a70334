"""The app: routes, errors and limits around one engine, which lives as long as the app does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from optical_memory.errors import MissingExtraError

try:
    from fastapi import FastAPI
except ImportError as error:
    raise MissingExtraError("fastapi", "service") from error

from starlette.concurrency import run_in_threadpool

from optical_memory.service.dashboard import routes as dashboard
from optical_memory.service.engine import Engine
from optical_memory.service.limits import Limits
from optical_memory.service.metrics import Metrics
from optical_memory.service.problems import MEDIA_TYPE, add_handlers
from optical_memory.service.proxy.door import Proxy
from optical_memory.service.routes import fidelity, operations, proxy, quotas, sessions, turns, views
from optical_memory.service.settings import ServiceSettings
from optical_memory.service.tracing import Traced

_PROBLEM = {
    "description": "An error, as RFC 9457 has it.",
    "content": {
        MEDIA_TYPE: {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                },
            },
            "example": {"type": "about:blank", "title": "not found", "status": 404, "detail": "no session 'trip'"},
        }
    },
}
_ERRORS = (400, 401, 403, 404, 408, 409, 410, 412, 413, 422, 429, 500, 501, 502, 503)


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """Return the service as an ASGI app. The store is opened when the app starts, and closed when it ends.

    ``settings`` None: from the environment. Errors: at the start, those of opening the store and the master key.
    """
    chosen = ServiceSettings() if settings is None else settings
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = await run_in_threadpool(Engine, chosen, metrics)
        app.state.engine = engine
        tending = asyncio.create_task(engine.tend())
        try:
            yield
        finally:
            tending.cancel()
            await run_in_threadpool(engine.close)

    responses: dict[int | str, dict[str, Any]] = {status: _PROBLEM for status in _ERRORS}
    app = FastAPI(
        title="optical_memory",
        summary="Long-context memory for LLM agents: exact on disk, page images that fade with age for the model.",
        version="1",
        lifespan=lifespan,
        responses=responses,
        docs_url=None,  # its scripts come from another server
        redoc_url=None,
        # FastAPI's own telemetry would hold paths, and so session ids.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    add_handlers(app)
    app.add_middleware(Limits, settings=chosen, metrics=metrics)
    stored = (turns.lean, sessions.router, turns.router, views.router, fidelity.router)
    for router in (*stored, operations.router, quotas.router):
        app.include_router(router)
    if chosen.otel:
        app.add_middleware(Traced)
    dashboard.add_to(app)
    if chosen.proxy is not None:
        chosen.check_proxy()
        app.include_router(proxy.router)
        app.add_middleware(Proxy, settings=chosen, metrics=metrics)
    return app
