"""The dashboard in the service's app: its pages, who is logged in, and the list of sessions."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, FastAPI, Header, Query, Request, Response

from optical_memory.budget import profiles
from optical_memory.errors import NotFoundError
from optical_memory.service.bodies import StrictRoute
from optical_memory.service.dashboard import admin, asking, entry, measuring, seeing
from optical_memory.service.dashboard.assets import SHELL, file_response, private, secured
from optical_memory.service.dashboard.entry import Looker, Working, logins_of
from optical_memory.service.dashboard.logins import csrf_of
from optical_memory.service.dashboard.watched import Watching
from optical_memory.service.fidelity import readers_here
from optical_memory.service.problems import Problem
from optical_memory.service.routes.sessions import list_sessions
from optical_memory.stores.scoped import SESSION_CHARACTERS

router = APIRouter(route_class=StrictRoute, include_in_schema=False)


def add_to(app: FastAPI) -> None:
    """Add the dashboard to the service's app."""
    app.state.watching = Watching()
    app.state.replaying = asyncio.Semaphore(1)  # one replay at a time takes a processor
    for each in (router, entry.router, seeing.router, asking.router, measuring.router, admin.router):
        app.include_router(each)


@router.get("/dashboard")
@router.get("/dashboard/")
@router.get("/dashboard/session")
@router.get("/dashboard/keys")
async def shell(engine: Working, if_none_match: Annotated[str | None, Header(max_length=200)] = None) -> Response:
    """Return the page; its script shows what the address says, or the login."""
    logins_of(engine)
    response = file_response(SHELL, if_none_match)
    assert response is not None
    return response


@router.get("/dashboard/static/{name}")
async def static(name: str, if_none_match: Annotated[str | None, Header(max_length=200)] = None) -> Response:
    """Return a file of the dashboard."""
    response = file_response(name, if_none_match)
    if response is None:
        raise NotFoundError(f"no file {name!r}")
    return response


@router.get("/dashboard/api/me")
async def me(request: Request, engine: Working) -> Response:
    """Return who is logged in, if anyone is, and what the service offers."""
    try:
        caller = await entry.logged_in(None)(request, engine)
    except Problem as problem:
        if problem.status_code != 401:
            raise
        return private({"logged_in": False})
    token = request.cookies[entry.cookie_name(entry.is_secure(request, engine))]
    said = {
        "logged_in": True,
        "tenant": caller.tenant,
        "key_id": caller.key_id,
        "scopes": caller.scopes,
        "csrf": csrf_of(token),
        "profile": engine.settings.profile,
        "budget": engine.settings.budget,
        "profiles": profiles(),
        "readers": readers_here(),
        "answers": engine.endpoint is not None,
        "operates": engine.settings.operator is not None and caller.tenant == engine.settings.operator,
    }
    return private(said)


@router.get("/dashboard/api/sessions")
async def sessions(
    caller: Looker,
    prefix: Annotated[str, Query(max_length=SESSION_CHARACTERS)] = "",
    after: Annotated[str, Query(max_length=SESSION_CHARACTERS)] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> Response:
    """Return a page of the list of sessions."""
    return secured(await list_sessions(caller, prefix, after, limit))
