"""Routes that ask of a session at an age: recall, and a model's answer, each with where it stands."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from optical_memory.errors import InputError
from optical_memory.service.bodies import AskBody, StrictRoute
from optical_memory.service.dashboard.assets import private
from optical_memory.service.dashboard.entry import Looker
from optical_memory.service.dashboard.look import Look, Turn, context_of, memory_at
from optical_memory.service.dashboard.standing import standing
from optical_memory.service.dashboard.watched import Known, Watched
from optical_memory.service.problems import Problem

router = APIRouter(route_class=StrictRoute, include_in_schema=False)
MOST_RECALLED = 20


@router.get("/dashboard/api/recall")
async def recall(
    look: Look,
    q: Annotated[str, Query(min_length=1, max_length=8_000)],
    k: Annotated[int, Query(ge=1, le=MOST_RECALLED)] = 5,
    turn: Turn = None,
) -> Response:
    """Return the exact turns that answer a question, with where each stands in the context."""
    if not q.strip():
        raise InputError("a question holds at least one word")

    def done(watched: Watched, known: Known) -> Any:
        memory = memory_at(watched, known, turn)
        return {"question": q, "turns": standing(context_of(memory, turn), memory.recall(q, k=k), q)}

    return private(await look(done))


@router.post("/dashboard/api/ask")
async def ask(caller: Looker, look: Look, body: AskBody, turn: Turn = None) -> Response:
    """Return a model's answer from the session at an age, and where the turns that it rests on stand.

    Raises Problem (404) where no model is set up.
    """
    endpoint = caller.engine.endpoint
    if endpoint is None:
        raise Problem(404, "no model answers here", "set OPTICAL_MEMORY_ASK_URL and OPTICAL_MEMORY_ASK_MODEL")

    def done(watched: Watched, known: Known) -> Any:
        memory = memory_at(watched, known, turn)
        reply = memory.ask(body.question, model=endpoint)
        turns = [found for source in reply.sources for found in memory.recall(turn_id=source.turn_id)]
        return asdict(reply) | {
            "question": body.question,
            "turns": standing(context_of(memory, turn), turns, reply.text),
        }

    return private(await look.asking(done))
