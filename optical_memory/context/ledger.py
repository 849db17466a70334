"""The ledger: exact values of a whole session as text, chosen by use, each once, the one used last first.

What the user said, what calls asked for, what comes again and what is rare is used later; a value seen once in a result
seldom is. A value that the user gave anew under the same name replaces the older one, which is named beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log2
from typing import Any

from optical_memory import wording
from optical_memory.turns import Turn

MOST_KEPT = 600
"""Values kept to choose from, those in the context among them."""
PLACES = 3
"""Newest places kept of each value."""
HALF_LIFE = 120
"""Turns after which a value that is not used again counts half."""
Count = Callable[[str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One exact value. ``said`` counts the user's turns with it, ``called`` calls, ``seen`` all turns.

    ``key`` is what the user called it, ``before`` the value that it replaced. ``places`` are its newest, oldest first.
    """

    text: str
    key: str = ""
    before: str = ""
    weight: float = 1.0
    said: int = 0
    called: int = 0
    seen: int = 0
    places: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Return the value as it stands in the ledger."""
        named = f"{self.key}: {self.text}" if self.key else self.text
        return f"{named} ({wording.REPLACED} {self.before})" if self.before else named

    def worth(self, now: int) -> float:
        """Return how likely it is that it is used again, judged at the place ``now``."""
        age = max(now - self.places[-1], 0) / HALF_LIFE
        used = 3 * min(self.said, 2) + 2 * log2(1 + self.called) + log2(1 + self.seen)
        return float(used * self.weight * (0.3 + 0.7 * 0.5**age))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Values to choose from, and ``shown`` as one text that costs ``tokens``."""

    values: tuple[Value, ...] = ()
    shown: str = ""
    tokens: int = 0

    def with_turns(self, turns: Iterable[Turn], room: int, count: Count, beside: str = "") -> Ledger:
        """Return the ledger with the values of further turns, the best of all shown in ``room`` tokens.

        Values that stand in ``beside`` are not shown again.
        """
        known = {value.text: value for value in self.values}
        for turn in turns:
            _take_in(turn, known)
        now = max((value.places[-1] for value in known.values()), default=0)
        ranked = sorted(known.values(), key=lambda value: (-value.worth(now), value.text))[:MOST_KEPT]
        return Ledger(values=tuple(ranked))._showing(room, count, beside)

    def _showing(self, room: int, count: Count, beside: str) -> Ledger:
        wanted = [value for value in self.values if value.before or value.text not in beside]
        costs = [count(f" | {value}") for value in wanted]
        left = room - count(wording.VALUES)
        chosen: list[Value] = []
        for value, cost in zip(wanted, costs, strict=True):
            if cost <= left:
                chosen.append(value)
                left -= cost
        while chosen:
            text = _line(chosen)
            if (tokens := count(text)) <= room:
                return replace(self, shown=text, tokens=tokens)
            chosen.pop()
        return replace(self, shown="", tokens=0)

    def is_consistent(self, count: Count) -> bool:
        """Whether what is shown is made of the values, and costs what is said."""
        known = {str(value) for value in self.values}
        items = items_in(self.shown)
        return (
            self.shown == _written(items)
            and known.issuperset(items)
            and self.tokens == (count(self.shown) if items else 0)
        )

    def without(self, places: Collection[int], count: Count) -> Ledger:
        """Return the ledger without values that stand at none but these places."""
        left = []
        for value in self.values:
            stays = tuple(place for place in value.places if place not in places)
            if stays:
                left.append(value if stays == value.places else replace(value, places=stays, before=""))
        if left == list(self.values):
            return self
        gone = {str(value) for value in self.values} - {str(value) for value in left}
        kept = [item for item in items_in(self.shown) if item not in gone]
        text = _written(kept)
        return Ledger(values=tuple(left), shown=text, tokens=count(text) if text else 0)


def ledger_from_dict(data: Mapping[str, Any]) -> Ledger:
    """Return the ledger of JSON data. Raises TypeError, KeyError or ValueError for what is none."""
    values = tuple(Value(**(dict(value) | {"places": tuple(value["places"])})) for value in data["values"])
    return Ledger(**(dict(data) | {"values": values}))


def _line(values: Sequence[Value]) -> str:
    return _written([str(value) for value in sorted(values, key=lambda value: (-value.places[-1], value.text))])


def _written(items: Sequence[str]) -> str:
    return "\n".join([wording.VALUES, wording.BETWEEN.join(items)]) if items else ""


def items_in(shown: str) -> list[str]:
    """Return the values that a ledger's text shows, in its order."""
    return shown.partition("\n")[2].split(wording.BETWEEN) if shown else []


def _take_in(turn: Turn, known: dict[str, Value]) -> None:
    from optical_memory.context.mentions import mentions, names_in, texts_of  # slow to compile: not before an epoch

    texts = texts_of(turn)
    found = mentions(turn, texts)
    for text, mention in found.items():
        old = known.get(text) or Value(text=text, key=mention.key, weight=mention.worth)
        if mention.key:
            old = _named(old, mention.key, known)
        known[text] = replace(
            old,
            said=old.said + (turn.role == "user"),
            called=old.called + (text in texts.asked),
            seen=old.seen + 1,
            places=(*old.places, turn.seq)[-PLACES:],
        )
    for name in names_in(texts.all) & known.keys() - found.keys():
        known[name] = replace(known[name], seen=known[name].seen + 1, places=(*known[name].places, turn.seq)[-PLACES:])


def _named(value: Value, key: str, known: dict[str, Value]) -> Value:
    """Return the value under the name that the user gave it; an older value of that name is replaced."""
    for other in list(known.values()):
        if other.key == key and other.text != value.text:
            del known[other.text]
            return replace(value, key=key, before=other.text)
    return replace(value, key=key)
