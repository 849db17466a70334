"""Replay: a session taken in again turn by turn, for what each request would have held.

Under the epochs that the store kept, a turn costs no more than its count. Before them, and in a view that nobody used,
they are planned anew: a memory in this process takes in the visible path under the same settings, as by an agent that
asks for its context after each turn, and every state that it would have saved is kept. There two things may have been
otherwise in life: an agent may ask less often than after each turn, or keep tokens free for tools.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass

from optical_memory.budget import Profile, count_message
from optical_memory.context.base import Settings
from optical_memory.context.epoch import Epoch
from optical_memory.context.events import Events
from optical_memory.context.history import Kept
from optical_memory.context.lineage import Ranges, clipped
from optical_memory.context.state import SessionState
from optical_memory.context.view import SessionView
from optical_memory.errors import BudgetError
from optical_memory.memory import OpticalMemory
from optical_memory.policies import BudgetedPolicy
from optical_memory.renderers.base import Renderer
from optical_memory.service.dashboard.ages import History, base_state
from optical_memory.service.dashboard.figures import Figures, Held
from optical_memory.service.dashboard.overlay import Overlay
from optical_memory.service.dashboard.shown import epoch_in
from optical_memory.stores.base import Head, Store

MOST_TURNS = 20_000
"""Most turns that are replayed; of a longer session the first ones."""
MOST_BYTES = 24 << 20
"""Most bytes of states that one replay keeps."""
SLICE_SECONDS = 0.25
"""How long one call goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A session as one target model sees it."""

    profile: Profile
    budget: int
    renderer: Renderer

    @property
    def settings(self) -> Settings:
        """The same for a view, with the policy that the service has."""
        return Settings(profile=self.profile, budget=self.budget, policy=BudgetedPolicy(), renderer=self.renderer)

    def memory(self, overlay: Overlay) -> OpticalMemory:
        """Return a memory of what an overlay shows, which draws nothing before it is asked."""
        return OpticalMemory(
            overlay.session,
            store=overlay,
            profile=self.profile,
            budget=self.budget,
            renderer=self.renderer,
            draw_ahead=False,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A state that the replayed memory saved after ``turns`` turns."""

    turns: int
    state: bytes


class Replay:
    """One session's replay under one setting, which goes on where it stopped. Safe for threads."""

    def __init__(
        self, store: Store, session: str, head: Head, state: SessionState, setting: Setting, history: History
    ) -> None:
        """No turn is read until :meth:`advance`."""
        self.store, self.session, self.setting = store, session, setting
        self.birth, self.forgotten, self.doomed = head.birth, head.forgotten, dict(state.doomed)
        self.path: Ranges = state.lineage.path(head.length)
        self.length = head.length
        self.figures = Figures()
        self.saved: list[Saved] = []
        self.stopped = ""
        self.lock = threading.Lock()
        self.history = history
        self._base = base_state(state, self.path).pack()
        self._bytes = 0
        self._overlay = Overlay(store, session, head, last=-1, state=self._base, on_state=self._keep)
        self._view = SessionView(self._overlay, session, setting.settings, events=Events())
        self._before: Held | None = None
        self._stands: Kept | None = None
        self._said: set[str] = set()

    def continues(self, head: Head, state: SessionState) -> bool:
        """Whether what was replayed is still a beginning of the session; if so, go on to its newest turn."""
        path = state.lineage.path(head.length)
        through = self.figures.seq[-1] if self.figures.seq else -1
        same = (head.birth, head.forgotten, dict(state.doomed)) == (self.birth, self.forgotten, self.doomed)
        if not same or clipped(path, 0, through) != clipped(self.path, 0, through):
            return False
        self.path, self.length = path, head.length
        return True

    @property
    def turns(self) -> int:
        """Turns that were replayed."""
        return len(self.figures.seq)

    def advance(self, seconds: float = SLICE_SECONDS) -> bool:
        """Go on for about so many seconds; return whether all is replayed, or a limit reached."""
        with self.lock:
            until = time.monotonic() + seconds
            while not self.stopped and time.monotonic() < until:
                if not self._step():
                    return True
            return bool(self.stopped)

    def _step(self) -> bool:
        """Take the next turn in; return False where there is none."""
        after = self._overlay.last
        nearest = next(((max(first, after + 1), last) for first, last in self.path if last > after), None)
        if nearest is None:
            return False
        if self.turns >= MOST_TURNS or self._bytes >= MOST_BYTES:
            most = f"{MOST_TURNS:,} turns" if self.turns >= MOST_TURNS else f"{MOST_BYTES >> 20} MiB of epochs"
            self.stopped = f"a replay keeps at most {most}"
            return False
        self._overlay.grow(nearest[0], self.length)
        found = self._overlay.turns(self.session, after=nearest[0] - 1, before=nearest[0] + 1)
        if not found:  # a forgotten turn
            return True
        held = self._held(found[0].seq)
        said_before = found[0].digest in self._said
        system = 0 if not found[0].is_instruction else 2 if said_before else 1
        tokens = count_message(found[0], self.setting.profile)
        self.figures.add(found[0], held, self._before, tokens=tokens, system=system)
        self._before = held
        if system:
            self._said.add(found[0].digest)
        return True

    def _held(self, place: int) -> Held:
        """Return what a request holds under the epoch that was kept, else under one that is planned where it is due."""
        kept = self.history.at(place)
        if kept is not None and kept != self._stands and (state := self.history.state(kept)) is not None:
            self._overlay.show(state)
            self._stands = kept
        if self._stands is not None:
            self._view.sync(read_only=True)
        else:
            with suppress(BudgetError):  # where not even the least fits, it is shown as it stands
                self._view.build()
        return Held.of(self._view, self._before)

    def _keep(self, state: bytes) -> None:
        self.saved.append(Saved(turns=self.turns + 1, state=state))
        self._bytes += len(state)

    def at(self, turns: int) -> OpticalMemory:
        """Return a memory of the session after so many turns (1 to :attr:`turns`)."""
        head = Head(birth=self.birth, length=self.length, version=1, forgotten=self.forgotten)
        last, state = self.figures.seq[turns - 1], self.state_at(turns)
        return self.setting.memory(Overlay(self.store, self.session, head, last=last, state=state))

    def state_at(self, turns: int) -> bytes:
        """Return the state after so many turns, of those under no epoch that was kept."""
        place = bisect_right(self.saved, turns, key=lambda saved: saved.turns)
        return self.saved[place - 1].state if place else self._base

    def epoch_at(self, turns: int, view: str) -> Epoch | None:
        """Return the epoch that was planned by the time of so many turns; None for one of those that were kept."""
        if turns > self.turns or (turns and self.history.at(self.figures.seq[turns - 1]) is not None):
            return None
        return epoch_in(self.state_at(turns), view)
