"""What the dashboard's routes about one session depend on: the session that is looked at, and one age of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from optical_memory.budget import get_profile
from optical_memory.context.base import Context
from optical_memory.memory import OpticalMemory
from optical_memory.service.access import Caller, Seen, absent
from optical_memory.service.dashboard.entry import Looker
from optical_memory.service.dashboard.replay import Setting
from optical_memory.service.dashboard.watched import Known, Watched, Watching
from optical_memory.service.problems import Problem
from optical_memory.stores.scoped import SESSION_CHARACTERS

SessionName = Annotated[str, Query(alias="session", min_length=1, max_length=SESSION_CHARACTERS)]
Work = Callable[[Watched, Known], Any]
Turn = Annotated[int | None, Query(ge=1, le=10_000_000, description="after so many turns; none: now")]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedAt:
    """One session under one view, and what works with it on threads. Raises Problem (404) where there is none."""

    caller: Caller
    watching: Watching
    session: str
    setting: Setting

    async def __call__(self, work: Work) -> Any:
        """Return what ``work`` makes of it, on a thread for what plans and draws."""
        return await self.caller.engine.slow(lambda: self._done(work))

    async def asking(self, work: Work) -> Any:
        """Return what ``work`` makes of it, on a thread for what waits for a model."""
        return await self.caller.engine.ask(lambda: self._done(work))

    def _done(self, work: Work) -> Any:
        watched = self.watching.of(self.caller.tenant, self.caller.store, self.session, self.setting)
        known = watched.known()
        if not known.head.birth:
            self.watching.let_go(self.caller.tenant, self.session)
            raise absent(self.session)
        return work(watched, known)


def _look(request: Request, caller: Looker, session: SessionName, view: Seen) -> LookedAt:
    engine, watching = caller.engine, request.app.state.watching
    if watching.let_go not in engine.on_let_go:
        engine.on_let_go.append(watching.let_go)
    setting = Setting(profile=get_profile(view.profile), budget=view.budget, renderer=engine.renderer)
    return LookedAt(caller=caller, watching=watching, session=session, setting=setting)


Look = Annotated[LookedAt, Depends(_look)]


def memory_at(watched: Watched, known: Known, turn: int | None) -> OpticalMemory:
    """Return a memory of a session at an age. Raises Problem (409) where it is not replayed yet."""
    memory = watched.now(known) if turn is None else watched.at(known, turn)
    if memory is None:
        raise Problem(409, "not replayed yet", "this age is not replayed yet; ask for the replay until it is")
    return memory


def context_of(memory: OpticalMemory, turn: int | None) -> Context:
    """Return what a memory of an age shows; one of now is asked as the model's next request would ask it."""
    return memory.context() if turn is None else memory.peek()
