"""Sessions: listed in pages, deleted, forgotten in part, exported and imported as streams."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from optical_memory.context.forgetting import Receipt
from optical_memory.context.state import SessionState, for_export, from_file
from optical_memory.context.takeover import Begun
from optical_memory.errors import ConflictError, InputError, StoreCorruptError
from optical_memory.memory import OpticalMemory
from optical_memory.service.access import Caller, Forgetter, Reader, Seen, Session, View, Writer, absent, check_there
from optical_memory.service.answers import answer, packed, receipt_json, revision_of
from optical_memory.service.bodies import ForgetBody, SessionBody, StrictRoute
from optical_memory.service.repeats import IdempotencyKey, Repeat, repeated
from optical_memory.stores.base import Store
from optical_memory.stores.export import is_begun, load_file, session_lines
from optical_memory.stores.scoped import SESSION_CHARACTERS

router = APIRouter(route_class=StrictRoute, tags=["sessions"])
MOST_LISTED = 200
EXPORT_TYPE = "application/jsonl"
_CHUNK_BYTES = 256 << 10


@router.get("/v1/sessions", summary="Sessions, in pages")
async def list_sessions(
    caller: Reader,
    prefix: Annotated[str, Query(max_length=SESSION_CHARACTERS)] = "",
    after: Annotated[str, Query(max_length=SESSION_CHARACTERS, description="the `next` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
) -> Response:
    """Return the caller's sessions by id, sorted; ``next`` is null on the last page."""

    def done() -> Response:
        store = caller.store
        found = store.sessions(prefix, after, limit + 1)
        heads = [(session, store.head(session)) for session in found[:limit]]
        listed = [
            {"id": session, "turns": head.length - head.forgotten, "revision": revision_of(head)}
            for session, head in heads
        ]
        following = found[limit - 1] if len(found) > limit else None
        return answer(packed({"sessions": listed, "next": following}))

    return await caller.engine.quick(done)


@router.post("/v1/sessions", status_code=201, summary="Make a session")
async def create_session(caller: Writer, body: SessionBody, idempotency_key: IdempotencyKey = None) -> Response:
    """Make a session that has no turns yet, under this id or a new one. 200 where it is there: it stays as it is.

    It need not be done: a session's first turn makes it as well.
    """
    if body.id in (".", ".."):
        raise InputError(f"no path can hold the session id {body.id!r}")

    def done() -> Response:
        repeat = None
        if idempotency_key is not None:
            repeat = Repeat.of(caller, "new", "create", idempotency_key, body.model_dump(mode="json"))
            if (before := repeat.answer()) is not None:
                return repeated(before, status=201)
        session = body.id or (uuid.uuid4().hex if repeat is None else repeat.turn_id(0))
        made = _made(caller.store, session)
        head = caller.store.head(session)
        said = {"session": session, "turns": head.length - head.forgotten, "revision": revision_of(head)}
        if made and repeat is not None:
            repeat.keep(packed(said))
        return answer(packed(said), status=201 if made else 200, revision=revision_of(head))

    response = await caller.engine.quick(done)
    response.headers.update(caller.engine.quotas.headers(caller.tenant))
    return response


def _made(store: Store, session: str) -> bool:
    """Make a session; return False where it is there. Raises ConflictError where it went meanwhile."""
    try:
        store.save_state(session, SessionState().pack(), expected=0, birth="")
    except ConflictError:
        if not store.head(session).birth:
            raise
        return False
    return True


@router.delete("/v1/sessions/{session}", summary="Delete a session")
async def delete_session(caller: Forgetter, session: Session, view: Seen) -> Response:
    """Really delete a session with its turns, pages and index; return the receipt."""
    return await _forget(caller, session, view, ForgetBody(everything=True))


@router.post("/v1/sessions/{session}/forget", summary="Forget turns")
async def forget(caller: Forgetter, session: Session, view: Seen, body: ForgetBody) -> Response:
    """Really delete turns with all that was made from them; return the receipt."""
    return await _forget(caller, session, view, body)


async def _forget(caller: Caller, session: str, view: View, body: ForgetBody) -> Response:
    def done(memory: OpticalMemory) -> Receipt:
        check_there(memory)
        return memory.forget(turn_id=body.turn_id, before=body.before, everything=body.everything)

    try:
        receipt = await view.of(caller, session).use(done)
    finally:
        caller.engine.let_go(caller.tenant, session)
    caller.audit("forget", session, turns=len(receipt.turn_ids), everything=receipt.everything)
    response = answer(packed(receipt_json(receipt)))
    response.headers.update(caller.engine.quotas.headers(caller.tenant))
    return response


@router.get("/v1/sessions/{session}/export", summary="A session as a file", response_class=StreamingResponse)
async def export(caller: Reader, session: Session) -> Response:
    """Return a session as JSON lines, the last of which holds their checksum: without it the file is cut off."""
    store = caller.store

    def begun() -> Iterator[bytes]:
        if not store.head(session).birth:
            raise absent(session)
        state, leaving = for_export(store.load_state(session))
        return session_lines(store, session, state=state, leave_out=leaving)

    lines = await caller.engine.quick(begun)
    first = await caller.engine.quick(lambda: _chunk(lines))  # what fails at once is still answered with its status
    caller.audit("export", session)

    async def chunks() -> AsyncIterator[bytes]:
        chunk = first
        while chunk:
            yield chunk
            chunk = await caller.engine.quick(lambda: _chunk(lines))

    return StreamingResponse(chunks(), media_type=EXPORT_TYPE)


def _chunk(lines: Iterator[bytes]) -> bytes:
    chunk = bytearray()
    for line in lines:
        chunk += line
        if len(chunk) >= _CHUNK_BYTES:
            break
    return bytes(chunk)


@router.post("/v1/sessions/{session}/import", status_code=201, summary="Load an exported session")
async def import_session(
    caller: Writer, session: Session, request: Request, idempotency_key: IdempotencyKey = None
) -> Response:
    """Store an exported session under this id, whole or not at all; the body is the file.

    It is held in memory while it is checked, so that nothing readable touches the disk. Under an Idempotency-Key a
    request sent again is answered as before, and loads anew what a service that died had loaded in part.
    """
    async with caller.engine.importing:
        file = io.BytesIO()
        async for chunk in request.stream():
            file.write(chunk)
        file.seek(0)

        def done() -> Response:
            store, repeat = caller.store, None
            if idempotency_key is not None:
                body = hashlib.sha256(file.getbuffer()).hexdigest()
                repeat = Repeat.of(caller, session, "import", idempotency_key, body)
                if (before := repeat.answer()) is not None:
                    return repeated(before, status=201)
            try:
                if repeat is not None:
                    _clear_way(store, session, file, repeat)
                load_file(file, store, name=Path("the body"), session=session, state=from_file)
            except StoreCorruptError as error:
                raise InputError(str(error)) from error
            head = store.head(session)
            said = {"session": session, "turns": head.length - head.forgotten, "revision": revision_of(head)}
            if repeat is not None:
                repeat.keep(packed(said))
            return answer(packed(said), status=201, revision=revision_of(head))

        response = await caller.engine.slow(done)
        response.headers.update(caller.engine.quotas.headers(caller.tenant))
    caller.audit("import", session)
    return response


def _clear_way(store: Store, session: str, file: io.BytesIO, repeat: Repeat) -> None:
    """Delete what an earlier try of the same import left of a session, or note that nothing was there before it."""
    head = store.head(session)
    if not head.birth:
        repeat.write(Begun(head=head))
    elif repeat.read() is not None and is_begun(file, store, name=Path("the body"), session=session):
        store.delete_session(session)
    file.seek(0)
