"""The ages of a session: after its first turn, its second, and so on; and what the store kept of its epochs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from optical_memory.context.epoch import Epoch
from optical_memory.context.history import Kept, epoch_of, kept_of, standing
from optical_memory.context.lineage import Lineage, Ranges, within
from optical_memory.context.state import SessionState
from optical_memory.stores.base import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """The turns of the visible ``path`` by number, from 1; ``gone`` are the places of forgotten ones, in order."""

    path: Ranges
    gone: tuple[int, ...]

    @property
    def turns(self) -> int:
        """How many turns there are."""
        return sum(self._held(first, last) for first, last in self.path)

    def place(self, turn: int) -> int:
        """Return the place of the turn of a number, of 1 to :attr:`turns`."""
        left = turn
        for first, last in self.path:
            held = self._held(first, last)
            if left <= held:
                place = first + left - 1
                for gone in self.gone:
                    place += first <= gone <= place
                return place
            left -= held
        raise IndexError(f"there is no turn {turn}")

    def turn(self, place: int) -> int:
        """Return how many turns there are up to a place."""
        return sum(self._held(first, min(last, place)) for first, last in self.path if first <= place)

    def _held(self, first: int, last: int) -> int:
        gone = bisect_right(self.gone, last) - bisect_right(self.gone, first - 1)
        return last - first + 1 - gone


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The epochs that a view had in life, as far as the store kept them: of these ages nothing need be replayed."""

    store: Store
    session: str
    view: str
    base: SessionState
    kept: Sequence[Kept]

    @classmethod
    def of(cls, store: Store, session: str, view: str, base: SessionState) -> History:
        """Read which epochs were kept; ``base`` is the state without any."""
        return cls(store=store, session=session, view=view, base=base, kept=kept_of(store.blob_keys(session), view))

    def at(self, place: int) -> Kept | None:
        """Return the record of the epoch that stood after the turn at ``place``; None for ages before the records."""
        return standing(self.kept, place)

    def before(self, kept: Kept) -> Epoch | None:
        """Return the epoch before a kept one; None where that was not kept."""
        if kept.number == 1:
            return Epoch()
        place = self.kept.index(kept)
        return self.epoch(self.kept[place - 1]) if place else None

    def epoch(self, kept: Kept) -> Epoch | None:
        """Return a kept epoch; None where it was deleted meanwhile."""
        data = self.store.get_blob(self.session, kept.key)
        return None if data is None else epoch_of(data)

    def state(self, kept: Kept) -> bytes | None:
        """Return the state under which a memory shows what stood then."""
        epoch = self.epoch(kept)
        return None if epoch is None else self.base.with_epoch(self.view, epoch).pack()


def base_state(state: SessionState, path: Ranges) -> SessionState:
    """Return the state of the visible path, with what is being forgotten, and no epoch."""
    forks = tuple(fork for fork in state.lineage.forks if within(path, fork[0]))
    return replace(SessionState(), lineage=Lineage(forks), doomed=state.doomed)
