"""Health, readiness and figures; and what an admin of a tenant sees to: its keys and its data keys."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from optical_memory.errors import NotFoundError, OpticalMemoryError
from optical_memory.service.access import Admin, Caller, engine_of
from optical_memory.service.answers import answer, packed
from optical_memory.service.bodies import KeyBody, StrictRoute
from optical_memory.service.engine import Engine
from optical_memory.service.keys import Key
from optical_memory.service.metrics import MEDIA_TYPE
from optical_memory.service.problems import RETRY_SECONDS, Problem
from optical_memory.service.records import PROBE

router = APIRouter(route_class=StrictRoute, tags=["operations"])
KeyId = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="Id of a key.")]


@router.get("/healthz", summary="Whether the process answers")
async def healthz() -> dict[str, str]:
    """Answer, whatever the store does."""
    return {"status": "ok"}


@router.get("/readyz", summary="Whether the store answers")
async def readyz(engine: Annotated[Engine, Depends(engine_of)]) -> dict[str, str]:
    """Answer 503 while the store cannot be read."""

    def done() -> None:
        engine.records.get(PROBE)
        engine.store.sessions("", "", 1)

    try:
        await engine.quick(done)
    except OpticalMemoryError as error:
        raise Problem(503, "not ready", str(error), {"Retry-After": str(RETRY_SECONDS)}) from error
    return {"status": "ready", "durability": engine.store.durability}


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
async def metrics(engine: Annotated[Engine, Depends(engine_of)]) -> Response:
    """Return counts and times: never content, sessions or tenants."""
    return Response(engine.metrics.text(), headers={"Content-Type": MEDIA_TYPE})


@router.get("/v1/keys", summary="Keys of the caller's tenant")
async def list_keys(caller: Admin) -> Response:
    """Return the tenant's keys, without their secrets."""
    keys = await caller.engine.quick(lambda: caller.engine.keyring.all(caller.tenant))
    return answer(packed({"keys": [key.shown(time.time()) for key in keys]}))


@router.post("/v1/keys", status_code=201, summary="Make a key for the caller's tenant")
async def create_key(caller: Admin, body: KeyBody) -> Response:
    """Return a new key; its text is shown this once."""
    key, text = await caller.engine.quick(
        lambda: caller.engine.keyring.create(caller.tenant, body.scopes, name=body.name, seconds=body.seconds)
    )
    caller.audit("create key", made=key.id)
    return answer(packed({**key.shown(time.time()), "key": text}), status=201, Cache_Control="no-store")


@router.post("/v1/keys/{key_id}/rotate", status_code=201, summary="Replace a key")
async def rotate_key(
    caller: Admin, key_id: KeyId, overlap_seconds: Annotated[float, Query(ge=0, le=1e8)] = 86_400.0
) -> Response:
    """Return a new key that may do the same; the old one works for the overlap."""

    def done() -> tuple[Key, str]:
        _own(caller, key_id)
        return caller.engine.keyring.rotate(key_id, overlap_seconds=overlap_seconds)

    key, text = await caller.engine.quick(done)
    caller.audit("rotate key", old=key_id, made=key.id)
    return answer(packed({**key.shown(time.time()), "key": text}), status=201, Cache_Control="no-store")


@router.delete("/v1/keys/{key_id}", summary="Revoke a key")
async def revoke_key(caller: Admin, key_id: KeyId) -> Response:
    """End a key, on every replica within seconds."""

    def done() -> Key:
        _own(caller, key_id)
        return caller.engine.keyring.revoke(key_id)

    key = await caller.engine.quick(done)
    caller.audit("revoke key", revoked=key.id)
    return answer(packed(key.shown(time.time())))


@router.delete("/v1/data-keys", summary="Destroy the tenant's data keys")
async def destroy_data_keys(caller: Admin, confirm: Annotated[str, Query(max_length=64)] = "") -> Response:
    """Destroy the keys under which all of the tenant's data is encrypted; ``confirm`` is the tenant's name."""
    keys = caller.engine.tenant_keys
    if keys is None:
        raise Problem(409, "nothing is encrypted", "this service has no master key; delete the sessions instead")
    if confirm != caller.tenant:
        raise Problem(422, "the request is wrong", "confirm= must be the name of the key's own tenant")
    when = await caller.engine.quick(lambda: keys.destroy(caller.tenant))
    caller.audit("destroy data keys")
    said = "The data keys were destroyed; nothing that was stored under them can be read again."
    return answer(packed({"tenant": caller.tenant, "destroyed_at": when, "statement": said}))


def _own(caller: Caller, key_id: str) -> None:
    """Raise NotFoundError unless a key is one of the caller's tenant: another's is answered like one that is not."""
    missing = NotFoundError(f"no key {key_id!r}")
    try:
        key = caller.engine.keyring.get(key_id)
    except NotFoundError:
        raise missing from None
    if key.tenant != caller.tenant:
        raise missing
