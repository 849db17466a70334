"""Taking over: a list that a process began to follow and did not end, because it died or got no answer from the store.

Following a list takes several steps. What it is about to change is written down before the first. Whoever follows the
same list again then sees what was done already, does the rest, and reports the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from optical_memory.context.lineage import Ranges, clipped
from optical_memory.stores.base import Head


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Where a session stood when a list began to be followed, and what that was to change: see ``Followed``."""

    head: Head
    superseded: int = 0
    returned: int = 0
    forgotten: int = 0

    def led_to(self, head: Head, path: Ranges, tip: int, *, whole: bool) -> bool:
        """Whether a session stands where the steps of this following lead.

        ``tip`` is the last place to which the list leads on the visible ``path``; ``whole`` says that nothing of the
        list is missing. Then others may have added turns behind it since.
        """
        if self.head.birth and self.head.birth != head.birth:
            return False
        first, after = self.head.length, next((max(low, tip + 1) for low, high in path if high > tip), None)
        if after is not None:
            return whole and after >= first
        return clipped(path, first, head.length - 1) == (((first, head.length - 1),) if head.length > first else ())


class Journal(Protocol):
    """Remembers what a following was about to change, for whoever takes it over."""

    def read(self) -> Begun | None:
        """Return what an earlier try of the same following wrote down, or None."""

    def write(self, begun: Begun) -> None:
        """Write down what is about to change, before anything does."""
