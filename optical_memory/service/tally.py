"""Tallies: counters kept together in one record, with the operations under way that may still change them.

An operation adds what it may need when it begins, and gives back the rest when it ends. Who counts anew can close the
tally for a moment: then nothing begins, what is under way ends, and the truth can be put in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from optical_memory.errors import StoreCorruptError, StoreUnavailableError

_CLOSED = "!"


class ClosedError(StoreUnavailableError):
    """A tally is closed for a moment, while what it counts is counted anew."""

    def __init__(self) -> None:
        super().__init__("what the tenant keeps is being counted anew; repeat in a moment")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counters, how many operations have begun, those that did not end, and until when it is closed (ms since 1970)."""

    sums: tuple[int, ...]
    begun: int = 0
    under_way: tuple[str, ...] = ()
    closed_until: int = 0

    @classmethod
    def parse(cls, held: bytes | None, count: int) -> Tally:
        """Read a record of ``count`` counters; None: all are 0. Raises StoreCorruptError."""
        words = [] if held is None else held.decode("ascii", "replace").split()
        numbers, rest = words[: count + 1], words[count + 1 :]
        if not all(word.isdigit() for word in numbers) or (words and len(numbers) < count):
            raise StoreCorruptError(f"{count} counters are kept in a record that is damaged: {words[:8]}")
        sums = [*map(int, numbers), *[0] * (count + 1)]
        closed = [word.removeprefix(_CLOSED) for word in rest if word.startswith(_CLOSED)]
        under_way = tuple(word for word in rest if not word.startswith(_CLOSED))
        until = int(closed[0]) if closed and closed[0].isdigit() else 0
        return cls(sums=tuple(sums[:count]), begun=sums[count], under_way=under_way, closed_until=until)

    def packed(self) -> bytes:
        """Return the record."""
        closed = [f"{_CLOSED}{self.closed_until}"] if self.closed_until else []
        return " ".join([*map(str, self.sums), str(self.begun), *self.under_way, *closed]).encode()

    def begin(self, operation: str, amounts: Sequence[int], most: Sequence[int | None], now: int) -> Tally | None:
        """Return the tally once an operation has begun; None where a counter that grows would pass its most.

        Raises ClosedError. An operation that has begun is not begun again.
        """
        if operation in self.under_way:
            return self
        if now < self.closed_until:
            raise ClosedError
        after = _added(self.sums, amounts)
        grown = zip(after, amounts, most, strict=True)
        if any(limit is not None and more > 0 and total > limit for total, more, limit in grown):
            return None
        return replace(self, sums=after, begun=self.begun + 1, under_way=(*self.under_way, operation), closed_until=0)

    def end(self, operation: str, amounts: Sequence[int]) -> Tally | None:
        """Return the tally once an operation has ended and added this; None where it is not under way."""
        if operation not in self.under_way:
            return None
        rest = tuple(one for one in self.under_way if one != operation)
        return replace(self, sums=_added(self.sums, amounts), under_way=rest)


def _added(sums: Sequence[int], amounts: Sequence[int]) -> tuple[int, ...]:
    return tuple(max(mine + more, 0) for mine, more in zip(sums, amounts, strict=True))
