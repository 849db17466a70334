"""The list that leaves: what came first and is an instruction, the past as pages, and the newest messages as they came.

A message that is shown as it is leaves with the bytes it came with: thinking, signatures, open calls and tools of the
provider's own are not touched. Only a message of which a part is shown otherwise is written anew.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from optical_memory.context.base import Context, Piece, turns_of
from optical_memory.formats import from_turns
from optical_memory.service.proxy.body import Item
from optical_memory.service.proxy.markers import marked, marks
from optical_memory.turns import Turn
from optical_memory.wording import HEADER, HEADER_ALONE

MOST_PASTS = 128
"""Pasts whose text is kept."""
Places = Sequence[Sequence[int]]
"""For each message the places of its turns, as following a list returns them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One of the newest messages: its number (None: pages), and whether it leaves otherwise than it came."""

    number: int | None
    pieces: tuple[Piece, ...]
    anew: bool

    @property
    def tokens(self) -> int:
        """What it costs."""
        return sum(piece.tokens for piece in self.pieces)

    @property
    def key(self) -> tuple[int, ...]:
        """What tells it from others as long as its pieces are held."""
        return tuple(map(id, self.pieces))


@dataclass(frozen=True, slots=True)
class Written:
    """The texts of newest messages that leave otherwise than they came, kept with what they were made of."""

    pieces: tuple[Piece, ...]
    mark: Any
    texts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """Messages as JSON, in order, what each costs, and how many images they hold."""

    raws: tuple[bytes, ...]
    tokens: tuple[int, ...]
    images: int

    @property
    def sent(self) -> tuple[tuple[int, int], ...]:
        """A hash and the tokens of each message: what tells how much of a request stands as it stood before."""
        return tuple((hash(raw), tokens) for raw, tokens in zip(self.raws, self.tokens, strict=True))


def leading(items: Sequence[Item]) -> int:
    """Count the instructions that a list begins with: they stay where they are and are not remembered."""
    for place, item in enumerate(items):
        if not isinstance(item.value, dict) or item.value.get("role") not in ("system", "developer"):
            return place
    return len(items)


@dataclass(slots=True)
class Past:
    """The text of a view's past, which stays as it is until an epoch begins: pages are not written out each time.

    ``shown`` are the newest messages that leave otherwise than they came, pages of large results above all.
    """

    of: tuple[Piece, ...] | None = None
    recall: bool = False
    mark: Any = None
    texts: tuple[bytes, ...] = ()
    shown: dict[tuple[int, ...], Written] = field(default_factory=dict)


class Pasts:
    """The texts of pasts by view; those used longest ago are let go."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, Past] = OrderedDict()

    def of(self, key: Any) -> Past:
        """Return what is kept of a view's past."""
        found = self._kept.setdefault(key, Past())
        self._kept.move_to_end(key)
        while len(self._kept) > MOST_PASTS:
            self._kept.popitem(last=False)
        return found

    def let_go(self, is_gone: Callable[[Any], bool]) -> None:
        """Let go of the views whose key says so."""
        for key in [key for key in self._kept if is_gone(key)]:
            self._kept.pop(key, None)


def answers_in(items: Sequence[Item]) -> int:
    """Count the answers of the model in a list: runs of messages or items that are its own."""
    own = [_is_models(item.value) for item in items]
    return sum(now and not before for before, now in zip([False, *own], own, strict=False))


def _is_models(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    kind = str(value.get("type", "message"))
    return value.get("role") in ("assistant", "model") or kind == "reasoning" or kind.endswith("_call")


def compose(
    items: Sequence[Item], places: Places, context: Context, format: str, *, recall: bool, past: Past
) -> Composed:
    """Return the messages for a context of ``items``, whose turns are at ``places``.

    ``recall``: the model has the recall tool. ``past``: what is kept of the view's past; it is brought up to date.
    """
    return _Composing(items, places, context, format, recall).done(past)


class _Composing:
    def __init__(self, items: Sequence[Item], places: Places, context: Context, format: str, recall: bool) -> None:
        self.items, self.places, self.context, self.format, self.recall = items, places, context, format, recall
        self.of: dict[int, int] = {}
        for message, turns in enumerate(places):
            for seq in turns:
                self.of.setdefault(seq, message)
        self.exact = {turn.seq: turn for turn in context.recent}
        self.kept: set[int] = set()

    def done(self, past: Past) -> Composed:
        """Return the list. Instructions of the past come first: they stay text for ever."""
        stated = [piece for piece in self.context.past if piece.kind == "instructions"]
        out = [(self.items[self.of[seq]].sent, piece.tokens) for piece in stated if (seq := _seq(piece)) in self.of]
        self.kept.update(self.of[seq] for piece in stated if (seq := _seq(piece)) in self.of)
        tail = list(self._tail())
        numbers = [one.number for one in tail if one.number is not None]
        ahead = list(self._ahead(numbers[0])) if numbers else []
        self.kept.update(ahead)
        self.kept.update(numbers)
        self._write(past)
        cost = sum(piece.tokens for piece in self.context.past if piece.kind != "instructions")
        out += [(text, 0 if place else cost) for place, text in enumerate(past.texts)]
        out += [(self.items[message].sent, 0) for message in ahead]
        written: dict[tuple[int, ...], Written] = {}
        for place, one in enumerate(tail):
            if one.anew:
                written[one.key] = self._written(one, self._mark(tail, place), past)
                raws = written[one.key].texts
            else:
                raws = (self.items[one.number or 0].sent,)
            out += [(raw, 0 if number else one.tokens) for number, raw in enumerate(raws)]
        past.shown = written
        pages = sum(piece.page is not None for piece in self.context.pieces())
        return Composed(raws=tuple(raw for raw, _ in out), tokens=tuple(cost for _, cost in out), images=pages)

    def _write(self, past: Past) -> None:
        """Bring the text of the past up to date, with the first of the markers that left the list with messages."""
        gone = (item for place, item in enumerate(self.items) if place not in self.kept)
        mark = next((mark for item in gone for mark in marks(item.value)), None) if self._has_marks else None
        if past.of is self.context.past and (past.recall, past.mark) == (self.recall, mark):
            return
        pieces = [piece for piece in self.context.past if piece.kind != "instructions"]
        if not self.recall:
            pieces = [replace(one, text=HEADER_ALONE) if one.text == HEADER else one for one in pieces]
        messages = from_turns(turns_of(pieces), self.format, repair=False)
        if messages and mark is not None:
            messages[-1] = marked(messages[-1], mark)
        past.of, past.recall, past.mark = self.context.past, self.recall, mark
        past.texts = tuple(map(_text, messages))

    @property
    def _has_marks(self) -> bool:
        return self.format == "anthropic"

    def _tail(self) -> Iterator[Shown]:
        """Yield the newest messages."""
        for number, run in groupby(self.context.latest, key=self._message):
            pieces = tuple(run)
            turns = [piece.turn for piece in pieces if piece.turn is not None]
            same = number is not None and len(turns) == len(self.places[number]) and all(map(self._as_it_came, turns))
            yield Shown(number=number, pieces=pieces, anew=not same)

    def _written(self, one: Shown, mark: Any, past: Past) -> Written:
        """Return what a message leaves as, written once as long as it stays as it is."""
        held = past.shown.get(one.key)
        if held is not None and held.mark == mark:
            return held
        if one.number is None:
            turns = turns_of(one.pieces)
        else:
            turns = [piece.turn for piece in one.pieces if piece.turn is not None]
        made = from_turns(turns, self.format, repair=False)
        if mark is not None and made:
            made[-1] = marked(made[-1], mark)
        return Written(one.pieces, mark, tuple(map(_text, made)) or (self.items[one.number or 0].sent,))

    def _message(self, piece: Piece) -> int | None:
        return None if piece.turn is None else self.of.get(piece.turn.seq)

    def _as_it_came(self, turn: Turn) -> bool:
        exact = self.exact.get(turn.seq)
        return exact is not None and (turn.text, turn.tool_calls, len(turn.parts)) == (
            exact.text, exact.tool_calls, len(exact.parts)
        )  # fmt: skip

    def _ahead(self, first: int) -> Iterator[int]:
        """Yield the reasoning that belongs to the first of the newest items: the API refuses one without the other."""
        start = first
        while start and _kind(self.items[start - 1]) == "reasoning":
            start -= 1
        yield from (place for place in range(start, first) if place not in self.kept)

    def _mark(self, tail: Sequence[Shown], place: int) -> Any:
        """Return the marker that a message had, or None; pages that follow a message take its marker."""
        number = tail[place].number
        if number is None and place and tail[place - 1].anew:
            number = tail[place - 1].number
        elif place + 1 < len(tail) and tail[place + 1].number is None:
            return None
        if number is None or not self._has_marks:
            return None
        return next(marks(self.items[number].value), None)


def _seq(piece: Piece) -> int:
    return -1 if piece.turn is None else piece.turn.seq


def _kind(item: Item) -> Any:
    return item.value.get("type") if isinstance(item.value, Mapping) else None


def _text(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()
