"""Routes that measure a session: what its requests cost, and what a reader reads off its pages."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from optical_memory.errors import NotFoundError
from optical_memory.service.bodies import FidelityBody, StrictRoute
from optical_memory.service.dashboard.assets import private
from optical_memory.service.dashboard.costs import costs_data
from optical_memory.service.dashboard.entry import Looker
from optical_memory.service.dashboard.look import Look, memory_at
from optical_memory.service.dashboard.watched import Known, Watched

router = APIRouter(route_class=StrictRoute, include_in_schema=False)


@router.get("/dashboard/api/costs")
async def costs(look: Look) -> Response:
    """Return what the requests replayed so far cost, beside full text and truncation."""

    def done(watched: Watched, known: Known) -> Any:
        replay = watched.replay(known)
        with replay.lock:
            return costs_data(replay.figures, watched.setting.profile, watched.setting.budget)

    return private(await look(done))


@router.post("/dashboard/api/fidelity")
async def read(caller: Looker, look: Look, body: FidelityBody) -> Response:
    """Have a reader read pages of the session as it stands at every tier."""
    fidelity = caller.engine.fidelity

    def done(watched: Watched, known: Known) -> Any:
        return fidelity.read(memory_at(watched, known, None), caller.tenant, body.reader, body.pages)

    async with fidelity.turn:
        return private(await look(done))


@router.get("/dashboard/api/fidelity")
async def kept(caller: Looker, look: Look, reader: Annotated[str, Query(max_length=100)] = "mini") -> Response:
    """Return what was read last; ``tiers`` is null where nothing was."""

    def done(watched: Watched, known: Known) -> Any:
        try:
            return caller.engine.fidelity.kept(memory_at(watched, known, None), caller.tenant, reader)
        except NotFoundError:
            return {"reader": reader, "tiers": None}

    return private(await look(done))
