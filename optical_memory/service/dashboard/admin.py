"""Keys and quotas, for a browser that is logged in as an admin: the same routes as programs have."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from optical_memory.service.bodies import KeyBody, QuotaBody, StrictRoute
from optical_memory.service.dashboard.entry import Keeper
from optical_memory.service.routes import operations, quotas
from optical_memory.service.routes.operations import KeyId
from optical_memory.service.routes.quotas import Tenant

router = APIRouter(route_class=StrictRoute, include_in_schema=False)


@router.get("/dashboard/api/keys")
async def list_keys(caller: Keeper) -> Response:
    """Return the tenant's keys."""
    return _unkept(await operations.list_keys(caller))


@router.post("/dashboard/api/keys")
async def create_key(caller: Keeper, body: KeyBody) -> Response:
    """Make a key; its text is shown this once."""
    return _unkept(await operations.create_key(caller, body))


@router.post("/dashboard/api/keys/{key_id}/rotate")
async def rotate_key(
    caller: Keeper, key_id: KeyId, overlap_seconds: Annotated[float, Query(ge=0, le=1e8)] = 86_400.0
) -> Response:
    """Replace a key; both work for the overlap."""
    return _unkept(await operations.rotate_key(caller, key_id, overlap_seconds))


@router.delete("/dashboard/api/keys/{key_id}")
async def revoke_key(caller: Keeper, key_id: KeyId) -> Response:
    """End a key, and every login by it."""
    return _unkept(await operations.revoke_key(caller, key_id))


@router.get("/dashboard/api/quotas/{tenant}")
async def any_quota(caller: Keeper, tenant: Tenant) -> Response:
    """Return what any tenant may keep, keeps, and has left, for admins of the operator's tenant."""
    return _unkept(await quotas.quota(caller, tenant))


@router.put("/dashboard/api/quotas/{tenant}")
async def set_quota(caller: Keeper, tenant: Tenant, body: QuotaBody) -> Response:
    """Set what any tenant may keep, for admins of the operator's tenant."""
    return _unkept(await quotas.set_quota(caller, tenant, body))


@router.post("/dashboard/api/quotas/{tenant}/recount")
async def recount(caller: Keeper, tenant: Tenant) -> Response:
    """Count anew what any tenant keeps, for admins of the operator's tenant."""
    return _unkept(await quotas.recount(caller, tenant))


@router.get("/dashboard/api/quota")
async def quota(caller: Keeper) -> Response:
    """Return what the tenant may keep, keeps, and has left."""
    return _unkept(await quotas.own_quota(caller))


def _unkept(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
