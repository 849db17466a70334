"""Quotas over HTTP: a tenant's admin sees its own; admins of the operator's tenant see and set those of all."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from optical_memory.service.access import Admin, Caller
from optical_memory.service.answers import answer, packed
from optical_memory.service.bodies import QuotaBody, StrictRoute
from optical_memory.service.problems import Problem
from optical_memory.service.quotas import Quota, Quotas
from optical_memory.service.usage import KINDS

router = APIRouter(route_class=StrictRoute, tags=["operations"])
Tenant = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.~-]{1,64}$", description="Name of a tenant.")]


@router.get("/v1/quota", summary="What the caller's tenant may keep, and keeps")
async def own_quota(caller: Admin) -> Response:
    """Return the tenant's quota, what it keeps, and what remains; null is no limit."""
    return answer(packed(await caller.engine.quick(lambda: told(caller.engine.quotas, caller.tenant))))


@router.get("/v1/quotas/{tenant}", summary="What a tenant may keep, and keeps")
async def quota(caller: Admin, tenant: Tenant) -> Response:
    """Return any tenant's quota, for admins of the operator's tenant."""
    _operates(caller)
    return answer(packed(await caller.engine.quick(lambda: told(caller.engine.quotas, tenant))))


@router.put("/v1/quotas/{tenant}", summary="Set what a tenant may keep")
async def set_quota(caller: Admin, tenant: Tenant, body: QuotaBody) -> Response:
    """Set any tenant's quota, for admins of the operator's tenant; every replica follows within seconds."""
    _operates(caller)

    def done() -> dict[str, Any]:
        caller.engine.quotas.set(tenant, Quota(sessions=body.sessions, turns=body.turns, bytes=body.bytes))
        return told(caller.engine.quotas, tenant)

    said = await caller.engine.quick(done)
    caller.audit("set quota", of=tenant)
    return answer(packed(said))


@router.post("/v1/quotas/{tenant}/recount", summary="Count anew what a tenant keeps")
async def recount(caller: Admin, tenant: Tenant) -> Response:
    """Read all that a tenant keeps and correct the count, as after a replica was killed."""
    _operates(caller)

    def done() -> dict[str, Any]:
        caller.engine.quotas.recount(tenant)
        return told(caller.engine.quotas, tenant)

    return answer(packed(await caller.engine.slow(done)))


def told(quotas: Quotas, tenant: str) -> dict[str, Any]:
    """Return a tenant's quota and usage as data."""
    limits, used = quotas.of(tenant), quotas.usage(tenant)
    left = {
        kind: None if limit is None else max(limit - amount, 0)
        for kind, limit, amount in zip(KINDS, limits.limits, used.amounts, strict=True)
    }
    return {"tenant": tenant, "quota": asdict(limits), "usage": asdict(used), "remaining": left}


def _operates(caller: Caller) -> None:
    """Raise Problem (403) unless the caller is of the operator's tenant."""
    operator = caller.engine.settings.operator
    if operator is None or caller.tenant != operator:
        raise Problem(
            403,
            "only the operator may do this",
            "it needs an admin's key of the tenant that OPTICAL_MEMORY_OPERATOR names, or `optical-memory quotas`",
        )
