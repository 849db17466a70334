"""Lineage: which turns of a session are its visible path, when messages were edited, rewound or regenerated.

Turns are a tree: each follows the one before it in the store, except where a *fork* says otherwise. The visible path
leads from the newest turn back to the first. What left the path stays in the store; it can come back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from optical_memory.errors import LimitError

Ranges = tuple[tuple[int, int], ...]
"""Places (``seq``) as inclusive ranges that grow and do not touch: ((0, 4), (7, 9))."""
MOST_FORKS = 16_384
"""Most forks of one session's visible path. Forks off the path are let go of first; then a LimitError."""
MOST_HIDDEN = 1_024
"""Most forks kept that are off the visible path: so many abandoned branches can be found again."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """``forks`` are (place, parent) by place: the turn at ``place`` follows the one at ``parent`` (-1: it is a first).

    The last fork may name the place that the next turn will get.
    """

    forks: tuple[tuple[int, int], ...] = ()

    def path(self, length: int) -> Ranges:
        """Return the visible path of a session with ``length`` places."""
        end, out = length, list[tuple[int, int]]()
        for at, parent in reversed(self.forks):
            if at < end or at == length:
                if at < end:
                    out.append((at, end - 1))
                end = parent + 1
        if end:
            out.append((0, end - 1))
        return _joined(reversed(out))

    def leading_to(self, place: int) -> Ranges:
        """Return the path that leads to the turn at ``place``, visible or not."""
        return Lineage(tuple(fork for fork in self.forks if fork[0] <= place)).path(place + 1)

    def children(self, place: int, length: int) -> Iterator[int]:
        """Yield the places of all turns that follow the one at ``place`` on any branch, the newest branch first."""
        cut = False
        for at, parent in reversed(self.forks):
            if parent == place and at < length:
                yield at
            cut = cut or at == place + 1
        if not cut and place + 1 < length:
            yield place + 1

    def forked(self, length: int, parent: int) -> Lineage:
        """Return the lineage in which the next turn, at place ``length``, follows ``parent``. Raises LimitError."""
        forks = [fork for fork in self.forks if fork[0] != length]
        if parent != length - 1:
            forks.append((length, parent))
        made = Lineage(tuple(forks))
        return made._bounded(length) if len(forks) > MOST_HIDDEN else made

    def _bounded(self, length: int) -> Lineage:
        path = self.path(length)
        shown = {at for at, _ in self.forks if at == length or within(path, at)}
        if len(shown) > MOST_FORKS:
            raise LimitError(f"a session is forked at most {MOST_FORKS:,} times; copy it to a new one with follow()")
        hidden = [fork for fork in self.forks if fork[0] not in shown]
        gone = set(hidden[: max(len(hidden) - MOST_HIDDEN, 0)])
        return replace(self, forks=tuple(fork for fork in self.forks if fork not in gone))


def within(ranges: Ranges, place: int) -> bool:
    """Whether ``place`` is in the ranges."""
    return any(first <= place <= last for first, last in ranges)


def clipped(ranges: Ranges, first: int, last: int) -> Ranges:
    """Return the part of the ranges from ``first`` to ``last``."""
    cut = ((max(low, first), min(high, last)) for low, high in ranges)
    return tuple((low, high) for low, high in cut if low <= high)


def common(one: Ranges, other: Ranges) -> int:
    """Return the last place up to which two paths are the same (-1: they differ from the start)."""
    last = -1
    for (first_a, last_a), (first_b, last_b) in zip(one, other, strict=False):
        if first_a != first_b:
            return last
        last = min(last_a, last_b)
        if last_a != last_b:
            return last
    return last


def ranges_of(places: Iterator[int] | list[int]) -> Ranges:
    """Return growing places as ranges."""
    return _joined((place, place) for place in places)


def _joined(ranges: Iterator[tuple[int, int]]) -> Ranges:
    out: list[tuple[int, int]] = []
    for first, last in ranges:
        if out and out[-1][1] == first - 1:
            out[-1] = (out[-1][0], last)
        else:
            out.append((first, last))
    return tuple(out)
