"""Notes: what a past says in text ahead of its pages, whatever else leaves: the user's own words.

The first thing asked, the newest words, and what was corrected or decided stay whole while they fit in a share of the
budget; then as an excerpt, in the same words, with what is left out marked. Where not one page fits, the gist of all is
text too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optical_memory import wording
from optical_memory.context.ledger import Ledger, ledger_from_dict
from optical_memory.renderers.layout import Run
from optical_memory.turns import Turn

CHARACTERS = 4
"""Characters of text tried for each token that it may cost; less where it then costs more."""
SHRINK = 0.9
LEAST = 40
"""Fewest characters that are worth a try."""
FIRST, NEWEST = 1 / 2, 1 / 4
"""Shares of the room that the first words and the newest may take where not all fit."""

Count = Callable[[str], int]
Choose = Callable[[Sequence[Run], int], Sequence[Run]]
"""Chooses of runs what is most telling, in so many characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Runs, oldest first, under a label; ``tokens`` is what they cost with it, 0 where there are none."""

    label: str
    runs: tuple[Run, ...] = ()
    tokens: int = 0

    @property
    def text(self) -> str:
        """What the model reads; empty where there is nothing."""
        return "\n".join([self.label, *(f"{run.header} {run.text}" for run in self.runs)]) if self.runs else ""

    @property
    def turn_ids(self) -> tuple[str, ...]:
        """Ids of the turns whose words stand here."""
        return tuple(dict.fromkeys(run.turn_id for run in self.runs))

    def saying(self, runs: Iterable[Run], count: Count) -> Note:
        """Return the note with these runs instead."""
        note = replace(self, runs=tuple(runs))
        return replace(note, tokens=count(note.text) if note.runs else 0)

    def within(self, runs: Sequence[Run], room: int, count: Count, choose: Choose) -> Note:
        """Return the note with these runs where they fit in ``room`` tokens, else with what is chosen of them."""
        runs = [run for run in runs if run.text.strip()]
        whole = self.saying(runs, count)
        characters = float(CHARACTERS * room)
        if whole.tokens <= room or not runs:
            return whole
        while characters >= LEAST:
            chosen = self.saying(choose(runs, int(characters)), count)
            if chosen.runs and chosen.tokens <= room:
                return chosen
            characters *= SHRINK
        return self.saying((), count)


NO_WORDS = Note(label=wording.WORDS)
NO_GIST = Note(label=wording.GIST)
NO_VALUES = Ledger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What a past says in text: the user's ``words``, a ``gist`` of what is on no page of it, and the ``ledger``."""

    words: Note = NO_WORDS
    gist: Note = NO_GIST
    ledger: Ledger = NO_VALUES

    @property
    def tokens(self) -> int:
        """What the notes cost."""
        return self.words.tokens + self.gist.tokens + self.ledger.tokens

    def with_words(self, runs: Iterable[Run], room: int, count: Count) -> Notes:
        """Return the notes with a user's further words, all of them in at most ``room`` tokens."""
        return replace(self, words=self.words.within([*self.words.runs, *runs], room, count, _words))

    def with_gist(self, runs: Iterable[Run], room: int, count: Count) -> Notes:
        """Return the notes with the gist of further runs, all of it in at most ``room`` tokens."""
        return replace(self, gist=self.gist.within([*self.gist.runs, *runs], room, count, _lines))

    def with_values(self, turns: Iterable[Turn], room: int, count: Count) -> Notes:
        """Return the notes with the exact values of further turns, all of them in at most ``room`` tokens."""
        return replace(self, ledger=self.ledger.with_turns(turns, room, count, self.words.text))

    def without(self, turn_ids: Collection[str], places: Collection[int], count: Count) -> Notes:
        """Return the notes without what these turns, at these places, say."""

        def left(note: Note) -> Note:
            runs = [run for run in note.runs if run.turn_id not in turn_ids]
            return note if len(runs) == len(note.runs) else note.saying(runs, count)

        return Notes(words=left(self.words), gist=left(self.gist), ledger=self.ledger.without(places, count))

    def through(self, place: int, count: Count) -> Notes:
        """Return the notes without what turns behind ``place`` say."""
        runs = (*self.words.runs, *self.gist.runs)
        ids = {run.turn_id for run in runs if run.place is not None and run.place > place}
        behind = {at for value in self.ledger.values for at in value.places if at > place}
        return self.without(ids, behind, count)


NO_NOTES = Notes()
"""Of a past without words."""


def notes_from_dict(data: Mapping[str, Any]) -> Notes:
    """Return the notes of JSON data. Raises TypeError, KeyError or ValueError for what is none."""

    def note(data: Mapping[str, Any]) -> Note:
        return Note(**(dict(data) | {"runs": tuple(Run(**run) for run in data["runs"])}))

    return Notes(words=note(data["words"]), gist=note(data["gist"]), ledger=ledger_from_dict(data["ledger"]))


def _lines(runs: Sequence[Run], characters: int) -> Sequence[Run]:
    from optical_memory.excerpt import excerpt  # its expressions take long to compile: not before they are needed

    return excerpt(runs, characters)


def _words(runs: Sequence[Run], characters: int) -> Sequence[Run]:
    """Return the first and the newest words by their shares, and an excerpt of what lies between.

    Where a user says so much that it does not fit, pages show more of it for the same tokens: half the room is theirs.
    """
    if len(runs) > 1:
        characters //= 2
    if len(runs) == 1:
        return _short(runs[0], characters)
    first = _short(runs[0], int(characters * FIRST))
    newest = _short(runs[-1], int(characters * NEWEST))
    left = characters - sum(len(run.text) + len(run.header) for run in (*first, *newest))
    between = _lines(runs[1:-1], max(left, 0)) if len(runs) > 2 else ()
    return (*first, *between, *newest)


def _short(run: Run, characters: int) -> tuple[Run, ...]:
    """Return a run in so many characters: without its longest blocks, then as an excerpt."""
    characters -= len(run.header) + 4
    if len(run.text) > characters:
        from optical_memory.context.folding import request_of  # seldom needed

        run = replace(run, text=request_of(run.text, characters, wording.CUT))
    return tuple(_lines([run], characters + len(run.header) + 4))
