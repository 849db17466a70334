"""Every route of an app, those that its own schema leaves out (the dashboard's) as well, and one schema of them all."""

from __future__ import annotations

from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import RouteContext, iter_route_contexts


class _Shown(RouteContext):
    """A route that is in the schema, whatever it says of itself."""

    include_in_schema = True


def every_route(app: FastAPI) -> list[tuple[str, str]]:
    """Return method and path of all that an app answers by routes."""
    found = [(method, str(route.path)) for route in iter_route_contexts(app.routes) for method in route.methods or ()]
    assert {path.split("/")[1] for _, path in found} >= {"v1", "dashboard", "metrics", "openapi.json"}
    return sorted(found)


def whole_schema(app: FastAPI) -> dict[str, Any]:
    """Return the schema of all routes but the schema's own."""
    shown = [_Shown(route.route, route._route_context) for route in iter_route_contexts(app.routes)]
    return get_openapi(title="all", version="1", routes=shown)


def log_in(client: httpx.Client, key: str) -> None:
    """Have a client be a browser that is logged in to the dashboard as well, with its token against forgery."""
    client.post("/dashboard/api/login", json={"key": key}).raise_for_status()
    client.headers["X-CSRF-Token"] = client.get("/dashboard/api/me").json()["csrf"]
