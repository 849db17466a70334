"""What a reader still reads of a session's pages at each tier."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from optical_memory.service.access import Reader, Seen, Session
from optical_memory.service.answers import answer, packed
from optical_memory.service.bodies import FidelityBody, StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["views"])


@router.post("/v1/sessions/{session}/fidelity", summary="Have pages read at every tier")
async def read(caller: Reader, session: Session, view: Seen, body: FidelityBody) -> Response:
    """Have a reader read the newest pages at every tier; return what it got right. It takes seconds for each page.

    501 where the reader's packages are not installed; the answer says which.
    """
    fidelity = caller.engine.fidelity

    def done() -> Response:
        memory = view.apart(caller, session)
        return answer(packed(fidelity.read(memory, caller.tenant, body.reader, body.pages)))

    async with fidelity.turn:
        return await caller.engine.ask(done)


@router.get("/v1/sessions/{session}/fidelity", summary="What was read last")
async def kept(
    caller: Reader,
    session: Session,
    view: Seen,
    reader: Annotated[str, Query(max_length=100, examples=["mini"])] = "mini",
) -> Response:
    """Return the figures of the last reading, kept for a day; 404 where nothing was read since the last `forget`."""

    def done() -> Response:
        memory = view.apart(caller, session)
        return answer(packed(caller.engine.fidelity.kept(memory, caller.tenant, reader)))

    return await caller.engine.quick(done)
