"""Epochs: what a session's archive holds between two changes of the prefix, as data that a store keeps."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from optical_memory.errors import StoreCorruptError
from optical_memory.policies.base import PageInfo
from optical_memory.stores.base import State

VIEWS = 8
"""Most views (profile, budget, policy, renderer) of one session whose epochs are kept; the oldest goes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing in the archive: a page at a tier, or a record that stays text (tier "text").

    ``id`` names its text (a page id). ``costs`` maps the tiers it may be shown at to tokens, sharpest first.
    ``segment`` is the (first, last) seq that it was sealed with, ``first_seq`` and ``last_seq`` what it covers.
    ``text_tokens`` is what the text it stands for would cost; ``facts`` the line that travels beside it.
    ``runs`` is the text of a gist, kept because the choice of its lines cannot be made again; else empty.
    """

    id: str
    level: int
    tier: str
    costs: Mapping[str, int]
    first_seq: int
    last_seq: int
    segment: tuple[int, int]
    last_at: float
    text_tokens: int
    importance: float = 0.5
    floor: str | None = None
    facts: str = ""
    runs: tuple[Mapping[str, Any], ...] = ()

    @property
    def tokens(self) -> int:
        """What the entry costs at its tier."""
        return self.costs[self.tier]

    def info(self, fresh: bool) -> PageInfo:
        """Return what a policy may know of it; a ``fresh`` entry has no tier yet."""
        return PageInfo(
            id=self.id,
            level=self.level,
            costs=self.costs,
            tier=None if fresh else self.tier,
            floor=self.floor,
            importance=self.importance,
            last_at=self.last_at,
            text_tokens=self.text_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """The archive as one change of the prefix left it. Immutable; the next epoch is a new object.

    ``sealed_through`` is the seq of the last turn that left the text tail (-1: none). ``instructions`` are ids of
    sealed system and developer turns: they stay text, ahead of the archive. ``text_tokens`` is the cost of the
    exact text of all sealed turns, archived ones included; ``shown_tokens`` what those ``sealed_turns`` cost as they
    were shown before.
    """

    number: int = 0
    sealed_through: int = -1
    entries: tuple[Entry, ...] = ()
    instructions: tuple[str, ...] = ()
    text_tokens: int = 0
    shown_tokens: int = 0
    sealed_turns: int = 0
    archived_pages: int = 0

    @property
    def tokens(self) -> int:
        """What the entries cost at their tiers."""
        return sum(entry.tokens for entry in self.entries)

    def next(self, **changes: Any) -> Epoch:
        """Return the following epoch with ``changes``."""
        return replace(self, number=self.number + 1, **changes)


@dataclass(slots=True)
class Views:
    """The epochs of one session, one for each view, and the version that the store knows them under."""

    version: int = 0
    epochs: dict[str, Epoch] = field(default_factory=dict)

    @classmethod
    def load(cls, state: State | None) -> Views:
        """Read a stored state. Raises StoreCorruptError where it is not one."""
        if state is None:
            return cls()
        try:
            data = json.loads(zlib.decompress(state.data))
            return cls(state.version, {key: _epoch(value) for key, value in data["views"].items()})
        except (zlib.error, ValueError, TypeError, KeyError) as error:
            raise StoreCorruptError(f"the state of this session is damaged: {error}") from error

    def with_epoch(self, view: str, epoch: Epoch) -> bytes:
        """Return the state to store once ``view`` has moved on to ``epoch``, the newest view last."""
        others = [(key, value) for key, value in self.epochs.items() if key != view][-(VIEWS - 1) :]
        views = {key: asdict(value) for key, value in [*others, (view, epoch)]}
        return zlib.compress(json.dumps({"format": 1, "views": views}, separators=(",", ":")).encode(), 1)


def _epoch(data: dict[str, Any]) -> Epoch:
    entries = tuple(
        Entry(**(entry | {"segment": tuple(entry["segment"]), "runs": tuple(entry["runs"])}))
        for entry in data.pop("entries")
    )
    return Epoch(**(data | {"entries": entries, "instructions": tuple(data["instructions"])}))
