"""Sessions that are looked at: each with its replay, as it stands now, and within bounds on memory and processor."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from optical_memory.budget import get_profile, profiles
from optical_memory.context.lineage import within
from optical_memory.context.state import SessionState
from optical_memory.memory import OpticalMemory
from optical_memory.renderers.base import Renderer
from optical_memory.service.dashboard.ages import Ages, History, base_state
from optical_memory.service.dashboard.overlay import Overlay
from optical_memory.service.dashboard.replay import Replay, Setting
from optical_memory.service.dashboard.shown import change_data
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
    ages: Ages

    @property
    def turns(self) -> int:
        """Turns on the visible path, forgotten ones left out."""
        return self.ages.turns


class Watched:
    """One session under one setting: its epochs as they were, its replay, and memories of it at some ages."""

    def __init__(self, store: Store, session: str, setting: Setting) -> None:
        self.store, self.session, self.setting = store, session, setting
        self.seen = time.monotonic()
        self._lock = Lock()
        self._replay: Replay | None = None
        self._looked: Known | None = None
        self._ages: OrderedDict[tuple[Any, ...], OpticalMemory] = OrderedDict()

    @property
    def name(self) -> str:
        """The name under which the store keeps the epochs of this view."""
        return self.setting.settings.name

    def known(self) -> Known:
        """Read where the session stands."""
        return read(self.store, self.session)

    def replay(self, known: Known) -> Replay:
        """Return the replay, begun anew where the session is not the one that was replayed."""
        head, state = known.head, known.state
        with self._lock:
            if self._replay is not None and self._looked is known:
                return self._replay
        history = History.of(self.store, self.session, self.name, base_state(state, known.ages.path))
        with self._lock:
            if self._replay is None or not self._replay.continues(head, state):
                self._replay = Replay(self.store, self.session, head, state, self.setting, history)
                self._ages.clear()
            self._replay.history, self._looked = history, known
            return self._replay

    def at(self, known: Known, turn: int) -> OpticalMemory | None:
        """Return a memory of the session after so many turns; None where that is neither kept nor replayed yet."""
        replay = self.replay(known)
        if turn > known.turns:
            return None
        place = known.ages.place(turn)
        kept = replay.history.at(place)
        state = None if kept is None else replay.history.state(kept)
        if kept is not None and state is not None:
            return self._age(("kept", turn, kept.key), lambda: self._standing(known, place, state))
        return self._age(("at", turn), lambda: replay.at(turn)) if turn <= replay.turns else None

    def now(self, known: Known) -> OpticalMemory | None:
        """Return a memory of the session as it stands; None where it has no epoch and too many turns to begin one."""
        head = known.head
        if self.name not in known.state.epochs and known.turns > MOST_AT_ONCE:
            return None
        key = ("now", head.birth, head.length, head.version, head.forgotten)
        return self._age(key, lambda: self._standing(known, head.length - 1, known.state.pack()))

    def recorded(self, known: Known) -> dict[str, Any]:
        """Return from which turn on epochs were kept (None: none were), and after which turns those began."""
        began = dict.fromkeys(known.ages.turn(kept.after) for kept in self.replay(known).history.kept)
        return {"from": next(iter(began), None), "epochs": list(began)}

    def is_recorded(self, known: Known, turn: int | None) -> bool:
        """Whether the epoch of an age is one that was kept, and not planned anew."""
        place = known.head.length - 1 if turn is None else known.ages.place(turn)
        return self.replay(known).history.at(place) is not None

    def change(self, known: Known, turn: int | None) -> dict[str, Any] | None:
        """Return what the last epoch at or before a turn changed (None: now), and after which turn it began.

        None where there was no epoch, or the one before it is not known (yet).
        """
        replay, live = self.replay(known), known.state.epochs.get(self.name)
        kept = replay.history.at(known.head.length - 1 if turn is None else known.ages.place(turn))
        if kept is not None:
            after = replay.history.epoch(kept) if turn is not None or live is None else live
            began = known.ages.turn(kept.after)
            before = replay.history.before(kept) or replay.epoch_at(began - 1, self.name)
            if after is None or before is None or after.number != kept.number:
                return None
            return change_data(before, after) | {"turn": began}
        if turn is None and live is not None:
            replayed = replay.epoch_at(replay.turns, self.name)
            if replayed is None or replayed.entries != live.entries:
                return None
        return self._change_replayed(replay, replay.turns if turn is None else turn)

    def _change_replayed(self, replay: Replay, turn: int) -> dict[str, Any] | None:
        with replay.lock:
            epochs = replay.figures.epoch[:turn]
        if not epochs or not epochs[-1]:
            return None
        began = next((place for place in range(len(epochs) - 1, 0, -1) if epochs[place - 1] != epochs[-1]), 0) + 1
        before, after = replay.epoch_at(began - 1, self.name), replay.epoch_at(began, self.name)
        return None if before is None or after is None else change_data(before, after) | {"turn": began}

    def _standing(self, known: Known, last: int, state: bytes) -> OpticalMemory:
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
        key = (tenant, session, setting.settings.name)
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
                    self._names[setting.settings.name] = (profile, budget)
            return [self._names[name] for name in reversed(list(known.state.epochs)) if name in self._names]


def read(store: Store, session: str) -> Known:
    """Read where a session stands."""
    head = store.head(session)
    state = SessionState.load(head.birth, store.load_state(session) if head.version else None)
    path = state.lineage.path(head.length)
    gone = [place for place in store.forgotten(session) if within(path, place)] if head.forgotten else []
    return Known(head=head, state=state, ages=Ages(path=path, gone=tuple(sorted(gone))))
