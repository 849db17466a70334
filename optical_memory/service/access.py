"""Who calls: the key of a request, its tenant and scopes. Nothing else in a request can name a tenant."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from optical_memory.asynchronous import AsyncOpticalMemory
from optical_memory.budget import get_profile
from optical_memory.errors import AccessError, InputError, NotFoundError
from optical_memory.memory import OpticalMemory
from optical_memory.service.engine import Engine
from optical_memory.service.keys import Key
from optical_memory.service.metered import MeteredStore
from optical_memory.service.problems import Problem
from optical_memory.stores.scoped import SESSION_CHARACTERS

_audit = logging.getLogger("optical_memory.service.audit")
_bearer = HTTPBearer(auto_error=False, description="A key of `optical-memory keys create`.")
MOST_BUDGET = 10_000_000


def engine_of(request: Request) -> Engine:
    """Return what the app works with."""
    engine: Engine = request.app.state.engine
    return engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls, by the key, and the engine that serves it."""

    tenant: str
    key_id: str
    scopes: tuple[str, ...]
    engine: Engine

    @property
    def store(self) -> MeteredStore:
        """The caller's part of the store."""
        return self.engine.scoped(self.tenant)

    def audit(self, action: str, session: str = "", **figures: Any) -> None:
        """Log what was done, by whom, to which session: never what stood there."""
        entry = {"at": time.time(), "tenant": self.tenant, "key": self.key_id, "action": action, "session": session}
        _audit.info("%s", json.dumps(entry | figures))


async def let_in(request: Request, engine: Engine, text: str | None, scope: str) -> Caller:
    """Return who calls with this key, if it has a scope. Raises Problem: 401, 403 or 429."""
    if text is None:
        raise _unknown("send the key as `Authorization: Bearer KEY`")
    key = engine.keyring.cached(text)
    if key is None:
        try:
            key = await engine.quick(lambda: engine.keyring.find(text))
        except AccessError as error:
            raise _unknown(str(error)) from error
    return await admitted(request, engine, key, scope)


async def admitted(request: Request, engine: Engine, key: Key, scope: str) -> Caller:
    """Return the caller of a valid key, whose request is counted. Raises Problem: 429, 403 without the scope."""
    if engine.rates.any:
        request.state.allowance = await engine.quick(lambda: engine.rates.take(key))
    if scope not in key.scopes:
        raise Problem(403, "the key may not do this", f"this needs a key with the scope {scope!r}")
    request.state.caller = (key.tenant, key.id)
    return Caller(tenant=key.tenant, key_id=key.id, scopes=key.scopes, engine=engine)


def needs(scope: str) -> Callable[..., Awaitable[Caller]]:
    """Return a dependency that lets callers in whose key has a scope; else 401, 403 or 429."""

    async def caller(
        request: Request,
        engine: Annotated[Engine, Depends(engine_of)],
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> Caller:
        return await let_in(request, engine, credentials.credentials if credentials else None, scope)

    return caller


def bearer_of(request: Request) -> str | None:
    """Return the key that a request shows, or None."""
    kind, _, text = request.headers.get("authorization", "").partition(" ")
    return text.strip() if kind.lower() == "bearer" and text.strip() else None


def _unknown(detail: str) -> Problem:
    return Problem(401, "no valid key", detail, {"WWW-Authenticate": "Bearer"})


Reader = Annotated[Caller, Depends(needs("read"))]
Writer = Annotated[Caller, Depends(needs("write"))]
Forgetter = Annotated[Caller, Depends(needs("forget"))]
Admin = Annotated[Caller, Depends(needs("admin"))]
Session = Annotated[
    str, Path(min_length=1, max_length=SESSION_CHARACTERS, description="Id of the session.", examples=["trip-planning"])
]


@dataclass(frozen=True, slots=True)
class View:
    """For which model a session is seen, and within how many tokens."""

    profile: str
    budget: int

    def of(self, caller: Caller, session: str) -> AsyncOpticalMemory:
        """Return the caller's memory of a session in this view."""
        return caller.engine.memory(caller.tenant, session, self.profile, self.budget)

    def apart(self, caller: Caller, session: str) -> OpticalMemory:
        """Return a memory of a session that no other request waits for. Raises Problem (404) where there is none."""
        memory = caller.engine.apart(caller.tenant, session, self.profile, self.budget)
        check_there(memory)
        return memory


def profile_named(name: str | None, engine: Engine) -> str:
    """Return the name of a profile that there is. Files on the server cannot be named. Raises InputError."""
    if name is None:
        return engine.settings.profile
    if ".toml" in name.lower():
        raise InputError(f"no profile {name!r}; `optical-memory profiles` lists all")
    try:
        return get_profile(name).name
    except NotFoundError as error:
        raise InputError(str(error)) from error


def view_of(
    engine: Annotated[Engine, Depends(engine_of)],
    profile: Annotated[str | None, Query(max_length=200, description="Target model.", examples=["gpt-5"])] = None,
    budget: Annotated[int | None, Query(ge=1, le=MOST_BUDGET, description="Most tokens of a context.")] = None,
) -> View:
    """Return the view that a request names."""
    return View(profile_named(profile, engine), engine.settings.budget if budget is None else budget)


Seen = Annotated[View, Depends(view_of)]


def absent(session: str) -> Problem:
    """Return the answer for a session that is not there, or is another tenant's: the two cannot be told apart."""
    return Problem(404, "not found", f"no session {session!r}")


def check_there(memory: OpticalMemory) -> None:
    """Raise Problem (404) unless a memory's session is in the store."""
    if not memory.store.head(memory.session).birth:
        raise absent(memory.session)
