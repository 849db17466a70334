"""The way in: login by key or by link, the cookie, the check of changes against forgery, logout."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from optical_memory.errors import AccessError
from optical_memory.service.access import Caller, admitted, engine_of
from optical_memory.service.answers import answer, packed
from optical_memory.service.bodies import StrictBody, StrictRoute
from optical_memory.service.dashboard.logins import Login, Logins
from optical_memory.service.engine import Engine
from optical_memory.service.problems import Problem

CSRF_HEADER = "X-CSRF-Token"
router = APIRouter(route_class=StrictRoute, include_in_schema=False)
Working = Annotated[Engine, Depends(engine_of)]


class KeyGiven(StrictBody):
    """A key, or the token of a link."""

    key: str = Field(default="", max_length=200)
    link: str = Field(default="", max_length=200)


def logins_of(engine: Engine) -> Logins:
    """Return the logins of a service. Raises Problem (404) where it has no dashboard."""
    seconds = engine.settings.dashboard_seconds
    if not seconds:
        raise Problem(404, "not found", "this service has no dashboard (OPTICAL_MEMORY_DASHBOARD_SECONDS=0)")
    return Logins(engine.records, engine.keyring, seconds=seconds)


def is_secure(request: Request, engine: Engine) -> bool:
    """Whether the browser speaks TLS: with the service itself, or with the proxy that `--plaintext` says there is."""
    settings = engine.settings
    behind_proxy = settings.plaintext and not settings.is_loopback
    return request.url.scheme == "https" or settings.tls_cert is not None or behind_proxy


def cookie_name(secure: bool) -> str:
    """Return the cookie's name: with TLS browsers themselves hold a ``__Host-`` cookie to this host and to TLS."""
    return "__Host-optical-memory" if secure else "optical-memory"


def logged_in(scope: str | None) -> Callable[..., Awaitable[Caller]]:
    """Return a dependency that lets browsers in that are logged in with a scope (None: any); else 401, 403 or 429.

    What changes something must come from the dashboard's own pages, with the token that only they can read.
    """

    async def caller(request: Request, engine: Working) -> Caller:
        login = await _login(request, engine)
        if request.method not in ("GET", "HEAD"):
            from_own_page(request)
            given = request.headers.get(CSRF_HEADER, "")
            if not hmac.compare_digest(given.encode(), login.csrf.encode()):
                raise Problem(403, "not from the dashboard", f"send the token of /dashboard/api/me as {CSRF_HEADER}")
        return await admitted(request, engine, login.key, scope or login.key.scopes[0])

    return caller


async def _login(request: Request, engine: Engine) -> Login:
    token = request.cookies.get(cookie_name(is_secure(request, engine)), "")
    logins = logins_of(engine)
    if not token:
        raise Problem(401, "not logged in", "log in with a key")
    try:
        return await engine.quick(lambda: logins.find(token))
    except AccessError as error:
        raise Problem(401, "not logged in", str(error)) from error


def from_own_page(request: Request) -> None:
    """Raise Problem (403) for what a browser sends from another site's page."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        is_own = site == "same-origin"
    else:
        is_own = origin is None or urlsplit(origin).netloc == request.headers.get("host", "")
    if not is_own:
        raise Problem(403, "not from the dashboard", "this came from another site's page")


Anyone = Annotated[Caller, Depends(logged_in(None))]
Looker = Annotated[Caller, Depends(logged_in("read"))]
Keeper = Annotated[Caller, Depends(logged_in("admin"))]


@router.post("/dashboard/api/login")
async def login(request: Request, engine: Working, body: KeyGiven) -> Response:
    """Log in by a key, or once by a link: the answer sets the cookie."""
    from_own_page(request)
    logins = logins_of(engine)

    def done() -> str:
        return logins.follow(body.link) if body.link else logins.begin(engine.keyring.find(body.key.strip()))

    try:
        token = await engine.quick(done)
    except AccessError as error:
        raise Problem(401, "no valid key", str(error)) from error
    secure = is_secure(request, engine)
    response = answer(packed({"logged_in": True}), Cache_Control="no-store")
    response.set_cookie(
        cookie_name(secure),
        token,
        max_age=int(logins.seconds),
        path="/" if secure else "/dashboard",
        secure=secure,
        httponly=True,
        samesite="strict",
    )
    return response


@router.post("/dashboard/api/logout")
async def logout(request: Request, engine: Working, caller: Anyone) -> Response:
    """End the login, here and on every replica."""
    secure = is_secure(request, engine)
    token = request.cookies[cookie_name(secure)]
    await engine.quick(lambda: logins_of(engine).end(token))
    response = answer(packed({"logged_in": False}), Cache_Control="no-store")
    response.delete_cookie(
        cookie_name(secure), path="/" if secure else "/dashboard", secure=secure, httponly=True, samesite="strict"
    )
    return response
