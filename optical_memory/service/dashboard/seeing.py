"""Routes that show one session: its views, its replay, and what a model sees of it at an age, page by page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from optical_memory.budget import get_profile
from optical_memory.context.history import kept_of
from optical_memory.errors import NotFoundError
from optical_memory.memory import OpticalMemory
from optical_memory.renderers.base import Page, Renderer
from optical_memory.service.bodies import StrictRoute
from optical_memory.service.dashboard.assets import private, secured
from optical_memory.service.dashboard.entry import Looker
from optical_memory.service.dashboard.look import Look, SessionName, Turn, context_of, memory_at
from optical_memory.service.dashboard.replay import Setting
from optical_memory.service.dashboard.shown import context_data, page_data
from optical_memory.service.dashboard.watched import MOST_AT_ONCE, Known, Watched

router = APIRouter(route_class=StrictRoute, include_in_schema=False)


@router.get("/dashboard/api/session")
async def session(request: Request, caller: Looker, session: SessionName, look: Look) -> Response:
    """Return how many turns a session has, and under which views the store has epochs of it, kept from which turn on.

    ``now`` is whether its newest age is shown at once also under a view that nobody used.
    """
    budgets = caller.engine.budgets(caller.tenant, session) | {caller.engine.settings.budget}

    def done(watched: Watched, known: Known) -> Any:
        views = request.app.state.watching.views(known, caller.engine.renderer, budgets)
        keys = watched.store.blob_keys(session)
        return {
            "session": session,
            "turns": known.turns,
            "stored": known.head.length - known.head.forgotten,
            "forgotten": known.head.forgotten,
            "now": known.turns <= MOST_AT_ONCE,
            "views": [_used(known, keys, profile, budget, caller.engine.renderer) for profile, budget in views],
            "unknown_views": len(known.state.epochs) - len(views),
        }

    return private(await look(done))


def _used(known: Known, keys: list[str], profile: str, budget: int, renderer: Renderer) -> dict[str, Any]:
    setting = Setting(profile=get_profile(profile), budget=budget, renderer=renderer)
    kept = kept_of(keys, setting.settings.name)
    return {"profile": profile, "budget": budget, "from": known.ages.turn(kept[0].after) if kept else None}


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
                "recorded": watched.recorded(known),
                "figures": replay.figures.columns(after),
            }

    async with request.app.state.replaying:
        return private(await look(done))


@router.get("/dashboard/api/context")
async def context(look: Look, turn: Turn = None) -> Response:
    """Return everything that the model sees after so many turns, and what the last epoch changed."""

    def done(watched: Watched, known: Known) -> Any:
        memory = memory_at(watched, known, turn)
        context = context_of(memory, turn)
        said = {
            "turn": turn,
            "live": turn is None and watched.name in known.state.epochs,
            "recorded": watched.is_recorded(known, turn),
            "change": watched.change(known, turn),
        }
        return context_data(context) | said

    return private(await look(done))


async def _page(
    look: Look,
    page: Annotated[str, Query(pattern="^[0-9a-f]{8,128}$")],
    tier: Annotated[str, Query(max_length=40)],
    turn: Turn = None,
) -> Callable[[Callable[[OpticalMemory, Page], Any]], Any]:
    async def on_page(work: Callable[[OpticalMemory, Page], Any]) -> Any:
        def done(watched: Watched, known: Known) -> Any:
            memory = memory_at(watched, known, turn)
            pages = context_of(memory, turn).pages
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
