"""Replay: a session taken in again turn by turn, as by an agent that asks for its context after each turn.

The store keeps every turn exactly, but of a view's epochs only the newest. So the past is replayed: a memory in this
process takes in the visible path under the same settings, and every state that it would have saved is kept. Two
things may have been otherwise in life: an agent may ask less often than after each turn, or keep tokens free for tools.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

from optical_memory.budget import Profile, count_message
from optical_memory.context.base import Context, Piece
from optical_memory.context.lineage import Lineage, Ranges, clipped, within
from optical_memory.context.state import SessionState
from optical_memory.errors import BudgetError
from optical_memory.memory import OpticalMemory
from optical_memory.renderers.base import Renderer
from optical_memory.service.dashboard.overlay import Overlay
from optical_memory.stores.base import Head, Store
from optical_memory.turns import Turn

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

    def memory(self, overlay: Overlay, clock: Callable[[], float] = time.time) -> OpticalMemory:
        """Return a memory of what an overlay shows, which draws nothing before it is asked."""
        return OpticalMemory(
            overlay.session,
            store=overlay,
            profile=self.profile,
            budget=self.budget,
            renderer=self.renderer,
            clock=clock,
            draw_ahead=False,
        )


@dataclass(slots=True, kw_only=True)
class Figures:
    """What each request would have held, one entry for each turn of the visible path.

    ``tokens`` of the context and ``text`` of the whole history, ``turn`` of that turn alone, all in tokens;
    ``kept``: tokens at the start of the request that stood so in the request before; ``epoch``: its number;
    ``over``: 1 where not even the least fitted; ``system``: 1 for instructions, 2 for ones that were said before.
    """

    seq: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    text: list[int] = field(default_factory=list)
    turn: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    epoch: list[int] = field(default_factory=list)
    over: list[int] = field(default_factory=list)
    system: list[int] = field(default_factory=list)

    def columns(self, after: int) -> dict[str, list[int]]:
        """Return all entries after the first ``after``."""
        return {one.name: getattr(self, one.name)[after:] for one in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A state that the replayed memory saved after ``turns`` turns."""

    turns: int
    state: bytes


class Replay:
    """One session's replay under one setting, which goes on where it stopped. Safe for threads."""

    def __init__(self, store: Store, session: str, head: Head, state: SessionState, setting: Setting) -> None:
        """Nothing is read until :meth:`advance`."""
        self.store, self.session, self.setting = store, session, setting
        self.birth, self.forgotten, self.doomed = head.birth, head.forgotten, dict(state.doomed)
        self.path: Ranges = state.lineage.path(head.length)
        self.length = head.length
        self.figures = Figures()
        self.saved: list[Saved] = []
        self.stopped = ""
        self.lock = threading.Lock()
        self._base = base_state(state, self.path)
        self._bytes = 0
        self._at = 0.0
        self._overlay = Overlay(store, session, head, last=-1, state=self._base, on_state=self._keep)
        self._memory = setting.memory(self._overlay, self._clock)
        self._before: tuple[Piece, ...] = ()
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
    def places(self) -> int:
        """Turns of the visible path, forgotten ones included."""
        return sum(last - first + 1 for first, last in self.path)

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
        self._at = found[0].created_at or self._at
        tokens = count_message(found[0], self.setting.profile)
        try:
            context, over = self._memory.context(), 0
        except BudgetError:
            context, over = self._memory.peek(), 1
        self._note(found[0], tokens, context, over)
        return True

    def _note(self, turn: Turn, tokens: int, context: Context, over: int) -> None:
        pieces = tuple(context.pieces())
        row = {
            "seq": turn.seq,
            "tokens": context.tokens,
            "text": context.text_tokens,
            "turn": tokens,
            "kept": kept(self._before, pieces),
            "epoch": context.epoch,
            "over": over,
            "system": 0 if not turn.is_instruction else 2 if turn.digest in self._said else 1,
        }
        for name, value in row.items():
            getattr(self.figures, name).append(value)
        self._before = pieces
        if turn.is_instruction:
            self._said.add(turn.digest)

    def _keep(self, state: bytes) -> None:
        self.saved.append(Saved(turns=self.turns + 1, state=state))
        self._bytes += len(state)

    def at(self, turns: int) -> OpticalMemory:
        """Return a memory of the session after so many turns (1 to :attr:`turns`)."""
        head = Head(birth=self.birth, length=self.length, version=1, forgotten=self.forgotten)
        last, state = self.figures.seq[turns - 1], self.state_at(turns)
        overlay = Overlay(self.store, self.session, head, last=last, state=state)
        return self.setting.memory(overlay, self._clock)

    def state_at(self, turns: int) -> bytes:
        """Return the state after so many turns."""
        place = bisect_right(self.saved, turns, key=lambda saved: saved.turns)
        return self.saved[place - 1].state if place else self._base

    def _clock(self) -> float:
        return self._at


def base_state(state: SessionState, path: Ranges) -> bytes:
    """Return the state from which a replay begins: the visible path, what is being forgotten, and no epoch."""
    forks = tuple(fork for fork in state.lineage.forks if within(path, fork[0]))
    return SessionState(lineage=Lineage(forks), doomed=state.doomed).pack()


def kept(before: tuple[Piece, ...], now: tuple[Piece, ...]) -> int:
    """Return the tokens at the start of a request that stood so, to the byte, in the request before."""
    tokens = 0
    for old, new in zip(before, now, strict=False):
        if old is not new and not _same(old, new):
            break
        tokens += new.tokens
    return tokens


def _same(one: Piece, other: Piece) -> bool:
    """Whether two pieces leave as the same bytes: pixels follow from a page's id and tier."""
    pages = [None if piece.page is None else (piece.page.id, piece.page.tier) for piece in (one, other)]
    return pages[0] == pages[1] and replace(one, page=None, tokens=0) == replace(other, page=None, tokens=0)
