"""Events: what a memory tells an observer. Values only; an observer that raises is logged and changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """Turns left the text tail and became pages. ``first_seq`` to ``last_seq`` are their places."""

    session: str
    turns: int
    pages: tuple[str, ...]
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochStarted:
    """The past changed. ``merged`` and ``archived`` count pages; ``tokens`` is what the past costs now."""

    session: str
    number: int
    tokens: int
    merged: int
    archived: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Pages were drawn, in ``seconds`` of wall time."""

    session: str
    pages: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """Exact turns were given back."""

    session: str
    turn_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """Turns were deleted. ``pages`` are ids of pages that showed one of them: caches of theirs must go too."""

    session: str
    turn_ids: tuple[str, ...]
    pages: tuple[str, ...]
    everything: bool


Event = Sealed | EpochStarted | Drawn | Recalled | Forgotten
Observer = Callable[[Event], object]


@dataclass(frozen=True, slots=True)
class Events:
    """Hands events to observers."""

    observers: tuple[Observer, ...] = ()

    def tell(self, event: Event) -> None:
        """Call each observer; what one raises is logged."""
        for observer in self.observers:
            try:
                observer(event)
            except Exception:
                _log.exception("an observer failed on %s", type(event).__name__)
