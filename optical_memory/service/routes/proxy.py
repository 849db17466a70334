"""The proxy's switch, for an admin of a tenant: it works on every replica within seconds."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from optical_memory.service.access import Admin, Caller
from optical_memory.service.answers import answer, packed
from optical_memory.service.bodies import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["proxy"])


class ModeBody(BaseModel):
    """What the proxy shall do for the tenant's requests."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["on", "dry-run", "off"] = Field(examples=["off"])


@router.get("/v1/proxy", summary="What the proxy does for the tenant")
async def read_mode(caller: Admin) -> Response:
    """Return the tenant's mode, and the one in force: the lowest of the settings', the operator's and the tenant's."""
    return answer(await caller.engine.quick(lambda: _modes(caller)))


@router.put("/v1/proxy", summary="Turn the proxy down or up for the tenant")
async def set_mode(caller: Admin, body: ModeBody) -> Response:
    """Set the tenant's mode. ``off`` passes every request through as it came, on every replica within seconds."""

    def done() -> bytes:
        caller.engine.switch.set(body.mode, caller.tenant)
        return _modes(caller)

    said = await caller.engine.quick(done)
    caller.audit("set proxy", mode=body.mode)
    return answer(said)


def _modes(caller: Caller) -> bytes:
    switch = caller.engine.switch
    return packed({"mode": switch.stored(caller.tenant), "in_force": switch.read(caller.tenant)})
