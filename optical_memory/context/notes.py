"""Notes: what a past says in text ahead of its pages, whatever else leaves: the user's own words.

The first thing asked, the newest words, and what was corrected or decided stay whole while they fit in a share of the
budget; then as an excerpt, in the same words, with what is left out marked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optical_memory import wording
from optical_memory.context.folding import request_of
from optical_memory.renderers.layout import Run

CHARACTERS = 4
"""Characters of text tried for each token that it may cost; less where it then costs more."""
SHRINK = 0.8
FIRST, NEWEST = 1 / 2, 1 / 4
"""Shares of the room that the first words and the newest may take where not all fit."""

Count = Callable[[str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """The user's ``words`` in the past, oldest first, as runs; ``tokens`` is what they cost under their label."""

    words: tuple[Run, ...] = ()
    tokens: int = 0

    @property
    def text(self) -> str:
        """What the model reads; empty where there is nothing."""
        return _text(self.words)

    @property
    def turn_ids(self) -> tuple[str, ...]:
        """Ids of the turns whose words stand here."""
        return tuple(dict.fromkeys(run.turn_id for run in self.words))

    def with_words(self, runs: Iterable[Run], room: int, count: Count) -> Notes:
        """Return the notes with a user's further words, in at most ``room`` tokens."""
        words = _chosen([*self.words, *runs], room, count)
        return Notes(words=words, tokens=count(_text(words)) if words else 0)

    def without(self, turn_ids: Collection[str], count: Count) -> Notes:
        """Return the notes without what these turns say."""
        words = tuple(run for run in self.words if run.turn_id not in turn_ids)
        return self if len(words) == len(self.words) else Notes(words=words, tokens=count(_text(words)) if words else 0)

    def through(self, place: int, count: Count) -> Notes:
        """Return the notes without what turns behind ``place`` say."""
        return self.without([run.turn_id for run in self.words if run.place is not None and run.place > place], count)


NO_NOTES = Notes()
"""Of a past without words."""


def notes_from_dict(data: Mapping[str, Any]) -> Notes:
    """Return the notes of JSON data. Raises TypeError, KeyError or ValueError for what is none."""
    return Notes(words=tuple(Run(**run) for run in data["words"]), tokens=int(data["tokens"]))


def _text(words: Sequence[Run]) -> str:
    return "\n".join([wording.WORDS, *(f"{run.header} {run.text}" for run in words)]) if words else ""


def _chosen(runs: Sequence[Run], room: int, count: Count) -> tuple[Run, ...]:
    """Return all runs where they fit, else the first and the newest by their shares, and an excerpt of the others."""
    runs = [run for run in runs if run.text.strip()]
    whole = tuple(runs)
    if not runs or count(_text(whole)) <= room:
        return whole
    characters = float(CHARACTERS * room)
    while characters >= 40:
        chosen = _within(runs, int(characters))
        if chosen and count(_text(chosen)) <= room:
            return chosen
        characters *= SHRINK
    return ()


def _within(runs: Sequence[Run], characters: int) -> tuple[Run, ...]:
    if len(runs) == 1:
        return _short(runs[0], characters)
    first = _short(runs[0], int(characters * FIRST))
    newest = _short(runs[-1], int(characters * NEWEST))
    left = characters - sum(len(run.text) + len(run.header) for run in (*first, *newest))
    from optical_memory.excerpt import excerpt  # its expressions take long to compile: not before they are needed

    return (*first, *(excerpt(runs[1:-1], max(left, 0)) if len(runs) > 2 else ()), *newest)


def _short(run: Run, characters: int) -> tuple[Run, ...]:
    """Return a run in so many characters: without its longest blocks, then as an excerpt."""
    from optical_memory.excerpt import excerpt

    characters -= len(run.header) + 4
    if len(run.text) > characters:
        run = replace(run, text=request_of(run.text, characters, wording.CUT))
    return tuple(excerpt([run], characters + len(run.header) + 4))
