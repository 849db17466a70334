"""Epochs: what a view's past holds between two changes of the prefix, as data that a store keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from optical_memory.context.lineage import Ranges, clipped, within
from optical_memory.context.notes import NO_NOTES, Count, Notes, notes_from_dict
from optical_memory.policies.base import PageInfo
from optical_memory.renderers.base import Layout
from optical_memory.renderers.layout import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over the turns that were sealed up to some place.

    ``text_tokens`` is what their exact text would cost, ``shown_tokens`` what they cost in the tail, and
    ``system_tokens`` what instructions have of the text, each as often as it was said.
    """

    turns: int = 0
    text_tokens: int = 0
    shown_tokens: int = 0
    system_tokens: int = 0

    def plus(self, other: Totals, sign: int = 1) -> Totals:
        """Return the sums with those over other turns, or (``sign`` -1) without them."""
        return Totals(
            turns=self.turns + sign * other.turns,
            text_tokens=self.text_tokens + sign * other.text_tokens,
            shown_tokens=self.shown_tokens + sign * other.shown_tokens,
            system_tokens=self.system_tokens + sign * other.system_tokens,
        )


NOTHING = Totals()
"""The sums before anything is sealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing in the past: a page at a tier, or a record that stays text (tier "text").

    ``id`` names its text (a page id). ``costs`` maps the tiers it may be shown at to tokens, sharpest first.
    ``segment`` holds the places it was sealed with, ``first_seq`` and ``last_seq`` bound what it covers, ``totals``
    sums up to its segment's end. ``text_tokens`` is what the text it stands for would cost. ``runs`` is the text of a
    gist, kept because the choice of its lines cannot be made again. ``account`` is what a gist shows instead that a
    model told: its sentences, then some of the ``runs``, of which alone other gists are made. The first ``skip``
    characters that pages show of the segment's first turn stand on pages before. ``open_at`` says so of the first turn
    on this page where it has room left and goes on with what is sealed next; -1 where it has none.
    """

    id: str
    level: int
    tier: str
    costs: Mapping[str, int]
    first_seq: int
    last_seq: int
    segment: Ranges
    last_at: float
    text_tokens: int
    importance: float = 0.5
    floor: str | None = None
    runs: tuple[Mapping[str, Any], ...] = ()
    account: tuple[Mapping[str, Any], ...] = ()
    totals: Totals = NOTHING
    skip: int = 0
    open_at: int = -1

    @property
    def tokens(self) -> int:
        """What the entry costs at its tier."""
        return self.costs[self.tier]

    def covers(self, place: int) -> bool:
        """Whether the turn at ``place`` may show here: it is of the segment, or in what this gist stands for."""
        return self.first_seq <= place <= self.last_seq if self.level else within(self.segment, place)

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
class Sealed:
    """An entry with what is drawn for it. ``layout`` is None for an entry that can only be text.

    ``told`` is what a gist may say of its turns.
    """

    entry: Entry
    runs: tuple[Run, ...]
    layout: Layout | None
    told: tuple[Run, ...] = ()

    @property
    def turn_ids(self) -> tuple[str, ...]:
        """Ids of the turns on it, in order."""
        return tuple(dict.fromkeys(run.turn_id for run in self.runs))

    @property
    def text(self) -> str:
        """The entry as a text record."""
        return "\n".join(f"{run.header} {run.text}" for run in self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """The past as one change of the prefix left it. Immutable; the next epoch is a new object.

    ``sealed`` are the places of the turns that left the text tail. ``instructions`` are ids of sealed system and
    developer turns: those that stand are text, ahead of the past. ``totals`` are sums over all sealed turns, archived
    ones included. ``notes`` are what is said in text. ``bare``: there was no room even for the header.
    """

    number: int = 0
    sealed: Ranges = ()
    entries: tuple[Entry, ...] = ()
    instructions: tuple[str, ...] = ()
    totals: Totals = NOTHING
    archived_pages: int = 0
    notes: Notes = NO_NOTES
    bare: bool = False

    @property
    def sealed_through(self) -> int:
        """Place of the last sealed turn (-1: none)."""
        return self.sealed[-1][1] if self.sealed else -1

    @property
    def tokens(self) -> int:
        """What the notes, and the entries at their tiers, cost."""
        return self.notes.tokens + sum(entry.tokens for entry in self.entries)

    @property
    def is_empty(self) -> bool:
        """Whether the past shows nothing, not even that there is one."""
        return self.bare or not (self.entries or self.notes.tokens or self.archived_pages)

    def next(self, **changes: Any) -> Epoch:
        """Return the following epoch with ``changes``."""
        return replace(self, number=self.number + 1, **changes)

    def cut(self, last: int, count: Count) -> Epoch:
        """Return the epoch without what was sealed of turns behind the place ``last``: the path left there.

        Whole segments stay or go. Instructions stay until the turns that go are read again.
        ``count`` counts the tokens of the words that stay.
        """
        kept = 0
        while kept < len(self.entries) and _end(self.entries[kept]) <= last:
            kept += 1
        entries = self.entries[:kept]
        end = _end(entries[-1]) if entries else -1
        if entries and self.entries[kept : kept + 1] and self.entries[kept].skip:
            end -= 1  # its last turn goes on on a page that is gone: it is read again, whole
        return self.next(
            sealed=clipped(self.sealed, 0, end),
            entries=entries,
            totals=entries[-1].totals if entries else NOTHING,
            archived_pages=self.archived_pages if entries else 0,
            notes=self.notes.through(end, count),
        )


def _end(entry: Entry) -> int:
    return entry.segment[-1][1]


def fields_of(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, for ``json.dumps(default=)``; ``asdict`` would copy all that is in them."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def epoch_from_dict(data: Mapping[str, Any]) -> Epoch:
    """Return the epoch of JSON data. Raises TypeError, KeyError or ValueError for what is not one."""
    entries = tuple(_entry(entry) for entry in data["entries"])
    fields = {"sealed": _ranges(data["sealed"]), "entries": entries, "instructions": tuple(data["instructions"])}
    return Epoch(
        **(dict(data) | fields | {"totals": Totals(**data["totals"]), "notes": notes_from_dict(data["notes"])})
    )


def _entry(data: Mapping[str, Any]) -> Entry:
    fields = {"segment": _ranges(data["segment"]), "runs": tuple(data["runs"]), "totals": Totals(**data["totals"])}
    fields["account"] = tuple(data.get("account", ()))
    return Entry(**(dict(data) | fields))


def _ranges(data: Any) -> Ranges:
    return tuple((int(first), int(last)) for first, last in data)
