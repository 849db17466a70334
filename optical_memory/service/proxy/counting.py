"""Lists as they left, so that a count of tokens counts what would leave."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from optical_memory.service.proxy.body import Item
from optical_memory.service.proxy.made import Asked, Key, Made, passed
from optical_memory.service.proxy.report import Report
from optical_memory.service.proxy.sessions import begins_with
from optical_memory.stores.base import Head, Store

MOST = 64
"""Most lists that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A list as it came and as it left, and what tells whether anything was forgotten since."""

    items: tuple[Item, ...]
    raws: tuple[bytes, ...]
    life: tuple[str, int]


class Counts:
    """The lists that left last. Safe for threads as dicts are."""

    def __init__(self) -> None:
        self._left: OrderedDict[Key, Left] = OrderedDict()

    def keep(self, asked: Asked, raws: Sequence[bytes], head: Head) -> None:
        """Keep a list that leaves as ``raws``; ``head`` is that of its session."""
        self._left[asked.key] = Left(items=asked.items, raws=tuple(raws), life=_life(head))
        self._left.move_to_end(asked.key)
        while len(self._left) > MOST:
            self._left.popitem(last=False)

    def counted(self, asked: Asked, store: Store) -> Made:
        """Return a request for a count of tokens with the beginning of its list as it left before, if it did.

        Not where something of the session was forgotten since, maybe on another replica.
        """
        for (tenant, session, _), left in reversed(list(self._left.items())):
            if tenant != asked.tenant or not begins_with(asked.items, left.items):
                continue
            if left.life == _life(store.head(session)):
                rest = [item.sent for item in asked.items[len(left.items) :]]
                body = asked.body.with_items([*left.raws, *rest])
                return Made(report=Report(done="compressed", reason="counted"), body=body)
        return passed("not-compressed")

    def let_go(self, tenant: str, session: str) -> None:
        """Keep no list of a session."""
        for key in [key for key in self._left if key[:2] == (tenant, session)]:
            self._left.pop(key, None)


def _life(head: Head) -> tuple[str, int]:
    return head.birth, head.forgotten
