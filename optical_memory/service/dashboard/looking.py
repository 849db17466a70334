"""Routes that look at one session: its replay, what a model sees of it, its costs, recall and fidelity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from optical_memory.budget import get_profile
from optical_memory.context.base import Context
from optical_memory.errors import InputError, NotFoundError
from optical_memory.memory import OpticalMemory
from optical_memory.renderers.base import Page
from optical_memory.service.access import Seen, absent
from optical_memory.service.bodies import FidelityBody, StrictRoute
from optical_memory.service.dashboard.assets import private, secured
from optical_memory.service.dashboard.costs import costs_data
from optical_memory.service.dashboard.entry import Looker
from optical_memory.service.dashboard.replay import Replay, Setting
from optical_memory.service.dashboard.shown import change_data, context_data, epoch_in, page_data
from optical_memory.service.dashboard.standing import standing
from optical_memory.service.dashboard.watched import Known, Watched
from optical_memory.service.problems import Problem
from optical_memory.stores.scoped import SESSION_CHARACTERS

router = APIRouter(route_class=StrictRoute, include_in_schema=False)
MOST_RECALLED = 20
SessionName = Annotated[str, Query(alias="session", min_length=1, max_length=SESSION_CHARACTERS)]
Turn = Annotated[int | None, Query(ge=1, le=10_000_000, description="after so many turns; none: now")]


async def _look(
    request: Request, caller: Looker, session: SessionName, view: Seen
) -> Callable[[Callable[[Watched, Known], Any]], Any]:
    """Return what does work with a session that is looked at, on a thread; 404 where there is none."""
    engine, watching = caller.engine, request.app.state.watching
    if watching.let_go not in engine.on_let_go:
        engine.on_let_go.append(watching.let_go)
    setting = Setting(profile=get_profile(view.profile), budget=view.budget, renderer=engine.renderer)

    async def look(work: Callable[[Watched, Known], Any]) -> Any:
        def done() -> Any:
            watched = watching.of(caller.tenant, caller.store, session, setting)
            known = watched.known()
            if not known.head.birth:
                watching.let_go(caller.tenant, session)
                raise absent(session)
            return work(watched, known)

        return await engine.slow(done)

    return look


Look = Annotated[Callable[[Callable[[Watched, Known], Any]], Any], Depends(_look)]


@router.get("/dashboard/api/session")
async def session(request: Request, caller: Looker, session: SessionName, look: Look) -> Response:
    """Return how many turns a session has, and under which views the store has epochs of it."""
    budgets = caller.engine.budgets(caller.tenant, session) | {caller.engine.settings.budget}

    def done(watched: Watched, known: Known) -> Any:
        views = request.app.state.watching.views(known, caller.engine.renderer, budgets)
        return {
            "session": session,
            "turns": known.turns,
            "stored": known.head.length - known.head.forgotten,
            "forgotten": known.head.forgotten,
            "views": [{"profile": profile, "budget": budget} for profile, budget in views],
            "unknown_views": len(known.state.epochs) - len(views),
        }

    return private(await look(done))


@router.get("/dashboard/api/replay")
async def replay(request: Request, look: Look, after: Annotated[int, Query(ge=0)] = 0) -> Response:
    """Go on with the replay for a moment, and return the figures after the first ``after`` turns."""

    def done(watched: Watched, known: Known) -> Any:
        replay = watched.replay(known)
        whole = replay.advance()
        with replay.lock:
            return {
                "turns": known.turns,
                "replayed": replay.turns,
                "done": whole,
                "stopped": replay.stopped,
                "figures": replay.figures.columns(after),
            }

    async with request.app.state.replaying:
        return private(await look(done))


@router.get("/dashboard/api/context")
async def context(look: Look, turn: Turn = None) -> Response:
    """Return everything that the model sees after so many turns, and what the last epoch changed."""

    def done(watched: Watched, known: Known) -> Any:
        memory = memory_at(watched, known, turn)
        replay = watched.replay(known)
        context = _context(memory, turn)
        live = turn is None and watched.name in known.state.epochs
        shown = replay.turns if turn is None else turn
        change = None if live and not _is_replayed(watched, known, replay) else _change(watched, replay, shown)
        return context_data(context) | {"turn": turn, "live": live, "change": change}

    return private(await look(done))


def memory_at(watched: Watched, known: Known, turn: int | None) -> OpticalMemory:
    """Return a memory of a session at an age. Raises Problem (409) where it is not replayed yet."""
    if turn is None:
        memory = watched.now(known)
    else:
        memory = watched.at(known, turn) if turn <= watched.replay(known).turns else None
    if memory is None:
        raise Problem(409, "not replayed yet", "this age is not replayed yet; ask for the replay until it is")
    return memory


def _context(memory: OpticalMemory, turn: int | None) -> Context:
    """Return what a memory of an age shows; one of now is asked as the model's next request would ask it."""
    return memory.context() if turn is None else memory.peek()


def _is_replayed(watched: Watched, known: Known, replay: Replay) -> bool:
    """Whether the past that the store has is the one at which the replay ends."""
    replayed = epoch_in(replay.state_at(replay.turns), watched.name)
    return replayed.entries == known.state.epochs[watched.name].entries


def _change(watched: Watched, replay: Replay, turn: int) -> dict[str, Any] | None:
    """Return what the last epoch at or before a turn changed, and after which turn it began."""
    with replay.lock:
        epochs = replay.figures.epoch[:turn]
    if not epochs or not epochs[-1]:
        return None
    began = next((place for place in range(len(epochs) - 1, 0, -1) if epochs[place - 1] != epochs[-1]), 0) + 1
    before = epoch_in(replay.state_at(began - 1), watched.name)
    return change_data(before, epoch_in(replay.state_at(began), watched.name)) | {"turn": began}


async def _page(
    look: Look,
    page: Annotated[str, Query(pattern="^[0-9a-f]{8,128}$")],
    tier: Annotated[str, Query(max_length=40)],
    turn: Turn = None,
) -> Callable[[Callable[[OpticalMemory, Page], Any]], Any]:
    async def on_page(work: Callable[[OpticalMemory, Page], Any]) -> Any:
        def done(watched: Watched, known: Known) -> Any:
            memory = memory_at(watched, known, turn)
            pages = _context(memory, turn).pages
            found = next((each for each in pages if each.id == page and each.tier == tier), None)
            if found is None:
                raise NotFoundError(f"no page {page!r} at tier {tier!r} in this context")
            return work(memory, found)

        return await look(done)

    return on_page


OnPage = Annotated[Callable[[Callable[[OpticalMemory, Page], Any]], Any], Depends(_page)]


@router.get("/dashboard/api/page.png")
async def page_png(on_page: OnPage) -> Response:
    """Return a page's pixels as the model sees them. Browsers keep none: a page may be forgotten."""
    data = await on_page(lambda memory, page: page.png)
    return secured(Response(data, media_type="image/png"))


@router.get("/dashboard/api/page")
async def page_text(on_page: OnPage) -> Response:
    """Return the text of a page, which a perfect reader would read off it."""
    return private(await on_page(lambda memory, page: page_data(page) | {"text": page.text}))


@router.get("/dashboard/api/costs")
async def costs(look: Look) -> Response:
    """Return what the requests replayed so far cost, beside full text and truncation."""

    def done(watched: Watched, known: Known) -> Any:
        replay = watched.replay(known)
        with replay.lock:
            return costs_data(replay.figures, watched.setting.profile, watched.setting.budget)

    return private(await look(done))


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
        return {"question": q, "turns": standing(_context(memory, turn), memory.recall(q, k=k), q)}

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
