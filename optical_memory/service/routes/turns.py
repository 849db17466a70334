"""Turns in: one or many, and whole lists that a session follows."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Response

from optical_memory.budget import get_profile
from optical_memory.errors import ConflictError, InputError, NotFoundError
from optical_memory.formats import turns_by_message
from optical_memory.formats.keywords import turn_of
from optical_memory.memory import OpticalMemory
from optical_memory.service.access import Caller, Seen, Session, Writer
from optical_memory.service.answers import answer, expected_head, packed, revision_of
from optical_memory.service.bodies import FollowBody, Format, Json, StrictRoute, TurnBody
from optical_memory.service.lean import IF_MATCH_CHARACTERS, SHORT_BYTES, LeanRoute
from optical_memory.service.problems import Problem
from optical_memory.service.repeats import REPLAYED, IdempotencyKey, Repeat, repeated
from optical_memory.stores.appends import Append
from optical_memory.stores.base import Head
from optical_memory.stores.record import BATCH_TURNS
from optical_memory.stores.scoped import scoped_id
from optical_memory.turns import Turn

router = APIRouter(route_class=StrictRoute, tags=["turns"])
lean = APIRouter(route_class=LeanRoute, tags=["turns"])
"""Routes under load: read by hand instead of through FastAPI, which describes them."""
_EXAMPLES: Any = {
    "one": {"value": {"role": "user", "content": "Find me a flight to Oslo"}},
    "many": {"value": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "How can I help?"}]},
}
MOST_SHORT = 8
"""Most turns that are read on the event loop."""
IfMatch = Annotated[
    str | None,
    Header(max_length=IF_MATCH_CHARACTERS, description="The revision that the session must have, as an ETag says it."),
]


@lean.post("/v1/sessions/{session}/turns", status_code=201, summary="Add one turn or many")
async def add_turns(
    caller: Writer,
    session: Session,
    body: Annotated[TurnBody | list[TurnBody], Body(openapi_examples=_EXAMPLES)],
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """Store turns, all or none; when the answer comes they are durable. The session is made where it is not there.

    Turns without an id get one. A turn whose id is stored with the same content is stored once; with other content the
    answer is 409. 412 where the session has another revision than If-Match says.
    """
    bodies = body if isinstance(body, list) else [body]
    if len(bodies) > BATCH_TURNS:
        raise Problem(413, "too many turns", f"at most {BATCH_TURNS:,} turns in one request")

    def read() -> tuple[list[Turn], Repeat | None]:
        repeat = None
        if idempotency_key is not None:
            data = [one.model_dump(mode="json", exclude_defaults=True) for one in bodies]
            repeat = Repeat.of(caller, session, "turns", idempotency_key, data)
        return _turns(bodies, repeat, caller), repeat

    expected = expected_head(if_match)
    turns, repeat = read() if _is_short(bodies) else await caller.engine.parse(read)
    return await _stored(caller, session, turns, repeat, expected)


@router.post("/v1/sessions/{session}/messages", status_code=201, summary="Add messages of a provider's shape")
async def add_messages(
    caller: Writer,
    session: Session,
    body: Annotated[list[Json], Body(examples=[[{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]])],
    format: Annotated[Format | None, Query(description="none: told by looking")] = None,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """Store messages as a provider's client has them, exactly; otherwise as for turns."""
    expected = expected_head(if_match)

    def read() -> tuple[list[Turn], Repeat | None]:
        repeat = Repeat.of(caller, session, "messages", idempotency_key, [format, body]) if idempotency_key else None
        groups = turns_by_message(body, format, created_at=time.time())
        turns: list[Turn] = []
        for message, group in zip(body, groups, strict=True):
            own = repeat is None or bool(message.get("id"))
            turns += group if own else [_named(turn, repeat, len(turns) + place) for place, turn in enumerate(group)]
        return turns, repeat

    turns, repeat = await caller.engine.parse(read)
    return await _stored(caller, session, turns, repeat, expected)


@router.put("/v1/sessions/{session}/messages", summary="Follow a list of messages")
async def follow(
    caller: Writer,
    session: Session,
    view: Seen,
    body: FollowBody,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """Make the visible history equal this list: adds, rewinds and branches; deletes nothing.

    412 where the session has another revision than If-Match says.
    """
    expected = expected_head(if_match)
    data = body.model_dump(mode="json")
    repeat = Repeat.of(caller, session, "follow", idempotency_key, data) if idempotency_key else None

    def done(memory: OpticalMemory) -> Response:
        if repeat is not None and (before := repeat.answer()) is not None:
            return repeated(before)
        try:
            followed = memory.follow(body.messages, format=body.format, expected=expected, journal=repeat)
        except ConflictError as error:
            if expected is None:
                raise
            raise Problem(412, "the session has another revision", str(error)) from error
        revision = revision_of(memory.store.head(session))
        said = packed(
            {
                "session": session,
                "added": [{"id": turn.id, "seq": turn.seq} for turn in followed.added],
                "superseded": followed.superseded,
                "returned": followed.returned,
                "forgotten": followed.forgotten,
                "revision": revision,
            }
        )
        if repeat is not None:
            repeat.keep(said)
        caller.engine.metrics.stored(len(followed.added))
        response = answer(said, revision=revision)
        response.headers.update(caller.engine.quotas.headers(caller.tenant))
        return response

    return await view.of(caller, session).use(done)


async def _stored(
    caller: Caller, session: str, turns: Sequence[Turn], repeat: Repeat | None, expected: Head | None
) -> Response:
    once = repeat.once if repeat is not None else None
    append = Append(session=scoped_id(caller.tenant, session), turns=turns, expected=expected, once=once)
    try:
        done = await caller.engine.append(append)
    except ConflictError as error:
        raise Problem(412, "the session has another revision", str(error)) from error
    revision = revision_of(done.head)
    said = packed(
        {
            "session": session,
            "turns": [{"id": turn.id, "seq": turn.seq, "created_at": turn.created_at} for turn in done.turns],
            "revision": revision,
        }
    )
    caller.engine.metrics.stored(len(done.fresh))
    response = answer(said, status=201, revision=revision)
    response.headers.update(caller.engine.quotas.headers(caller.tenant))
    if done.replayed:
        response.headers[REPLAYED] = "true"
    return response


def _is_short(bodies: Sequence[TurnBody]) -> bool:
    """Whether bodies are read faster than a thread could begin to."""
    if len(bodies) > MOST_SHORT or any(not isinstance(body.content, str) or body.tool_calls for body in bodies):
        return False
    return sum(len(body.content) for body in bodies if isinstance(body.content, str)) <= SHORT_BYTES


def _turns(bodies: Sequence[TurnBody], repeat: Repeat | None, caller: Caller) -> list[Turn]:
    profile, now = get_profile(caller.engine.settings.profile), time.time()
    turns = []
    for place, body in enumerate(bodies):
        if isinstance(body.pin, str):
            try:
                profile.tier(body.pin)
            except NotFoundError as error:
                raise InputError(str(error)) from error
        turns.append(
            turn_of(
                body.role,
                body.content,
                id=body.id or (repeat.turn_id(place) if repeat is not None else uuid.uuid4().hex),
                name=body.name,
                pin=body.pin,
                importance=body.importance,
                tool_calls=body.tool_calls,
                tool_call_id=body.tool_call_id,
                created_at=now if body.created_at is None else body.created_at,
            )
        )
    return turns


def _named(turn: Turn, repeat: Repeat | None, place: int) -> Turn:
    return turn if repeat is None else replace(turn, id=repeat.turn_id(place))
