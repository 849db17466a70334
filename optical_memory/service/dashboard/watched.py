"""Sessions that are looked at: each with its replay, as it stands now, and within bounds on memory and processor."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from optical_memory.budget import get_profile, profiles
from optical_memory.context.base import Settings
from optical_memory.context.lineage import within
from optical_memory.context.state import SessionState
from optical_memory.memory import OpticalMemory
from optical_memory.policies import BudgetedPolicy
from optical_memory.renderers.base import Renderer
from optical_memory.service.dashboard.overlay import Overlay
from optical_memory.service.dashboard.replay import Replay, Setting
from optical_memory.stores.base import Head, Store

MOST_REPLAYS = 16
"""Replays kept in a process; the one looked at longest ago goes first."""
MOST_NAMES = 20_000
"""Most names of views that are known; then they are tried anew."""
IDLE_SECONDS = 900.0
"""After so long without a look a replay is let go."""
MOST_AGES = 4
"""Ages of one replay whose memories are kept open."""
MOST_AT_ONCE = 2_000
"""Most turns that are taken in at once, where the store has no epoch to begin from."""
BUDGETS = (2_000, 4_000, 8_000, 12_000, 16_000, 24_000, 32_000, 48_000, 64_000, 100_000, 128_000, 200_000)
"""Budgets under which epochs are looked for beside the service's own and those of open memories."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the store has of a session now."""

    head: Head
    state: SessionState
    turns: int
    """Turns on the visible path, forgotten ones left out."""


class Watched:
    """One session under one setting: its replay, and memories of it at some ages."""

    def __init__(self, store: Store, session: str, setting: Setting) -> None:
        self.store, self.session, self.setting = store, session, setting
        self.seen = time.monotonic()
        self._lock = Lock()
        self._replay: Replay | None = None
        self._ages: OrderedDict[tuple[Any, ...], OpticalMemory] = OrderedDict()

    @property
    def name(self) -> str:
        """The name under which the store keeps the epochs of this view."""
        return view_name(self.setting)

    def known(self) -> Known:
        """Read where the session stands."""
        return read(self.store, self.session)

    def replay(self, known: Known) -> Replay:
        """Return the replay, begun anew where the session is not the one that was replayed."""
        with self._lock:
            if self._replay is None or not self._replay.continues(known.head, known.state):
                self._replay = Replay(self.store, self.session, known.head, known.state, self.setting)
                self._ages.clear()
            return self._replay

    def at(self, known: Known, turns: int) -> OpticalMemory:
        """Return a memory of the session after so many turns, of those that were replayed."""
        replay = self.replay(known)
        return self._age(("at", turns), lambda: replay.at(turns))

    def now(self, known: Known) -> OpticalMemory | None:
        """Return a memory of the session as it stands; None where it has no epoch and too many turns to begin one."""
        head = known.head
        if self.name not in known.state.epochs and known.turns > MOST_AT_ONCE:
            return None
        return self._age(("now", head.birth, head.length, head.version, head.forgotten), lambda: self._stands(known))

    def _stands(self, known: Known) -> OpticalMemory:
        last, state = known.head.length - 1, known.state.pack()
        return self.setting.memory(Overlay(self.store, self.session, known.head, last=last, state=state))

    def _age(self, key: tuple[Any, ...], make: Callable[[], OpticalMemory]) -> OpticalMemory:
        with self._lock:
            memory = self._ages.pop(key, None) or make()
            self._ages[key] = memory
            while len(self._ages) > MOST_AGES:
                self._ages.popitem(last=False)
            return memory


class Watching:
    """All sessions that are looked at in this process. Safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._watched: OrderedDict[tuple[str, str, str], Watched] = OrderedDict()
        self._names: dict[str, tuple[str, int]] = {}

    def of(self, tenant: str, store: Store, session: str, setting: Setting) -> Watched:
        """Return what is kept of a tenant's session under a setting."""
        key = (tenant, session, view_name(setting))
        now = time.monotonic()
        with self._lock:
            found = self._watched.pop(key, None) or Watched(store, session, setting)
            found.seen = now
            self._watched[key] = found
            idle = [key for key, one in self._watched.items() if now - one.seen > IDLE_SECONDS]
            for key in idle:
                del self._watched[key]
            while len(self._watched) > MOST_REPLAYS:
                self._watched.popitem(last=False)
        return found

    def let_go(self, tenant: str, session: str) -> None:
        """Keep nothing of a session from which something was deleted."""
        with self._lock:
            for key in [key for key in self._watched if key[:2] == (tenant, session)]:
                del self._watched[key]

    def views(self, known: Known, renderer: Renderer, budgets: Iterable[int]) -> list[tuple[str, int]]:
        """Return profile and budget of the views whose epochs the store has, the one saved last first.

        The store knows views by a hash. It is looked for under every profile with :data:`BUDGETS` and ``budgets``.
        """
        with self._lock:
            if len(self._names) > MOST_NAMES:
                self._names.clear()
            tried = {budget for _, budget in self._names.values()}
            for budget in {*BUDGETS, *budgets} - tried:
                for profile in profiles():
                    setting = Setting(profile=get_profile(profile), budget=budget, renderer=renderer)
                    self._names[view_name(setting)] = (profile, budget)
            return [self._names[name] for name in reversed(list(known.state.epochs)) if name in self._names]


def read(store: Store, session: str) -> Known:
    """Read where a session stands."""
    head = store.head(session)
    state = SessionState.load(head.birth, store.load_state(session) if head.version else None)
    path = state.lineage.path(head.length)
    gone = sum(within(path, place) for place in store.forgotten(session)) if head.forgotten else 0
    return Known(head=head, state=state, turns=sum(last - first + 1 for first, last in path) - gone)


def view_name(setting: Setting) -> str:
    """Return the name of a view with the policy that the service has."""
    settings = Settings(
        profile=setting.profile, budget=setting.budget, policy=BudgetedPolicy(), renderer=setting.renderer
    )
    return settings.name
