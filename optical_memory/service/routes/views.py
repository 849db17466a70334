"""What a model should see of a session, and what stands in it: requests, messages, contexts, pages, recall, answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response

from optical_memory.context.base import Context
from optical_memory.errors import InputError, NotFoundError
from optical_memory.formats import from_turns
from optical_memory.memory import OpticalMemory
from optical_memory.renderers.base import Page
from optical_memory.service.access import Caller, Reader, Seen, Session, View, check_there, profile_named
from optical_memory.service.answers import answer, context_json, packed, revision_of, turn_json
from optical_memory.service.bodies import AskBody, CompressBody, Format, StrictRoute
from optical_memory.service.problems import Problem

router = APIRouter(route_class=StrictRoute, tags=["views"])
MOST_RECALLED = 100
_FOREVER = "private, max-age=31536000, immutable"


async def _seen(caller: Caller, session: str, view: View, work: Callable[[OpticalMemory], Any]) -> Response:
    """Answer with what ``work`` returns, and the revision of the session; 404 where there is none."""

    def done(memory: OpticalMemory) -> Response:
        check_there(memory)
        said = packed(work(memory))
        return answer(said, revision=revision_of(memory.store.head(session)))

    return await caller.engine.read(view.of(caller, session), done)


def _drawn(caller: Caller, memory: OpticalMemory, *, draw: bool = True) -> Context:
    context = memory.context(draw=draw)
    caller.engine.metrics.given(context.text_tokens, context.tokens, len(context.pages))
    return context


@router.get("/v1/sessions/{session}/request", summary="A whole request for a provider's client")
async def request_for(
    caller: Reader, session: Session, view: Seen, format: Format = "openai", recall: bool = False
) -> Response:
    """Return the arguments of a provider's client but for the model's name, within the budget."""
    return await _seen(caller, session, view, lambda memory: memory.request(format, recall=recall))


@router.get("/v1/sessions/{session}/messages", summary="The context as messages")
async def messages(caller: Reader, session: Session, view: Seen, format: Format = "openai") -> Response:
    """Return the context as messages of a provider, pages as PNG data."""

    def done(memory: OpticalMemory) -> Any:
        context = _drawn(caller, memory)
        found = from_turns(context.turns(), format, repair=True)
        return {"session": session, "format": format, "tokens": context.tokens, "messages": found}

    return await _seen(caller, session, view, done)


@router.get("/v1/sessions/{session}/context", summary="The context as figures, pages and recent turns")
async def context(caller: Reader, session: Session, view: Seen) -> Response:
    """Return what the model should see now; the pixels are under each page's ``url``."""
    return await _seen(
        caller, session, view, lambda memory: context_json(session, _drawn(caller, memory, draw=False), view)
    )


@router.get("/v1/sessions/{session}/recall", summary="Exact turns")
async def recall(
    caller: Reader,
    session: Session,
    view: Seen,
    q: Annotated[str | None, Query(min_length=1, max_length=8_000, examples=["confirmation code"])] = None,
    k: Annotated[int, Query(ge=1, le=MOST_RECALLED)] = 5,
    turn_id: Annotated[str | None, Query(max_length=512)] = None,
    page: Annotated[str | None, Query(max_length=128)] = None,
    line: Annotated[int | None, Query(ge=1, le=100_000)] = None,
    superseded: bool = False,
) -> Response:
    """Return exact turns: by question (best first), by id or place ("#12"), or by page and line."""
    if sum(value is not None for value in (q, turn_id, page)) != 1:
        raise InputError("give one of q=, turn_id= and page= (with or without line=)")

    def done(memory: OpticalMemory) -> Any:
        found = memory.recall(q, k=k, turn_id=turn_id, page=page, line=line, superseded=superseded)
        return {"session": session, "turns": [turn_json(turn) for turn in found]}

    return await _seen(caller, session, view, done)


@router.get("/v1/sessions/{session}/pages/{page}.png", summary="A page's pixels", response_class=Response)
async def page_png(
    caller: Reader,
    session: Session,
    view: Seen,
    page: Annotated[str, Path(pattern="^[0-9a-f]{8,128}$")],
    tier: Annotated[str | None, Query(max_length=40, description="none: as sharp as the model sees it now")] = None,
    if_none_match: Annotated[str | None, Header(max_length=1_000)] = None,
) -> Response:
    """Return a page of the context as PNG. With a ``tier`` the bytes never change."""

    def done(memory: OpticalMemory) -> Response:
        check_there(memory)
        found = _page(memory, page, tier)
        etag = f'"{found.id}-{found.tier}"'
        headers = {"ETag": etag, "Cache-Control": _FOREVER if tier is not None else "private, no-cache"}
        if if_none_match is not None and etag in if_none_match:
            return Response(status_code=304, headers=headers)
        return Response(found.png, media_type="image/png", headers=headers)

    return await caller.engine.read(view.of(caller, session), done)


def _page(memory: OpticalMemory, page_id: str, tier: str | None) -> Page:
    shown = [page for page in memory.peek().pages if page.id == page_id]
    if not shown:
        raise NotFoundError(f"no page {page_id!r} in the context of session {memory.session!r} as it is seen here")
    if tier is None or tier == shown[0].tier:
        return shown[0]
    others = (page for page in memory.pages_by_tier().get(tier, ()) if page.id == page_id)
    if (found := next(others, None)) is None:
        raise NotFoundError(f"page {page_id!r} has no tier {tier!r} in this view")
    return found


@router.post("/v1/sessions/{session}/ask", summary="A question, answered from the session")
async def ask(caller: Reader, session: Session, view: Seen, body: AskBody) -> Response:
    """Return an answer with the turns it rests on; 404 where no model is set up."""
    engine = caller.engine
    if engine.endpoint is None:
        raise Problem(404, "no model answers here", "set OPTICAL_MEMORY_ASK_URL and OPTICAL_MEMORY_ASK_MODEL")

    def done() -> Response:
        memory = view.apart(caller, session)
        return answer(packed(asdict(memory.ask(body.question, model=engine.endpoint))))

    return await engine.ask(done)


@router.post("/v1/compress", summary="Compress a list without a session")
async def compress(caller: Reader, body: CompressBody) -> Response:
    """Return the request that says what the messages say within a budget. Nothing is stored."""
    engine = caller.engine
    compressor = engine.compressor(caller.tenant)

    def done() -> Response:
        found = compressor.compress(
            body.messages,
            format=body.format,
            profile=profile_named(body.profile, engine),
            budget=body.budget or engine.settings.budget,
            renderer=engine.renderer,
            tools=body.tools,
        )
        return answer(packed(found))

    return await engine.slow(done)
