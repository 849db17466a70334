"""What is believed of a past that came in a file: only what its own turns say, at what it really costs.

Everything in an epoch follows from the turns, but for the tiers that pages stand at and the lines that a gist chose.
So pages are sealed again and compared, and the chosen lines must stand in the turns that they name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from optical_memory.budget import count_tokens
from optical_memory.context.epoch import Entry, Epoch, Sealed
from optical_memory.context.lineage import Ranges, clipped
from optical_memory.context.mentions import texts_of
from optical_memory.context.notes import NO_GIST, NO_WORDS, Notes
from optical_memory.context.sealing import Sealer, run_of
from optical_memory.context.shelf import Shelf
from optical_memory.context.telling import tell
from optical_memory.errors import OpticalMemoryError
from optical_memory.excerpt import STEP_WEIGHTS
from optical_memory.renderers.layout import Run
from optical_memory.turns import Turn
from optical_memory.wording import CUTS

MOST_ENTRIES = 4_096
"""Most entries of an epoch that is believed: no context shows more."""


def is_true(epoch: Epoch, path: Ranges, sealer: Sealer, shelf: Shelf) -> bool:
    """Whether every page, gist, label and cost of an epoch is what the turns of the visible ``path`` give."""
    path = clipped(path, 0, epoch.sealed_through)
    if epoch.sealed != path or len(epoch.entries) > MOST_ENTRIES or not _in_order(epoch.entries):
        return False
    turns = {turn.id: turn for turn in shelf.turns_at(path)}
    if not all(turn_id in turns and turns[turn_id].is_instruction for turn_id in epoch.instructions):
        return False
    sealed: dict[object, Mapping[str, Sealed]] = {}
    try:
        if not _are_notes(epoch.notes, turns, sealer):
            return False
        for entry in epoch.entries:
            if entry.level:
                if not _is_gist(sealer, entry, turns):
                    return False
                continue
            key = (entry.segment, entry.skip)
            if key not in sealed:
                again = sealer.seal(shelf.turns_at(entry.segment), skip=entry.skip)
                sealed[key] = {item.entry.id: item for item in again}
            same = sealed[key].get(entry.id)
            if same is None or replace(same.entry, tier=entry.tier, totals=entry.totals) != entry:
                return False
    except (OpticalMemoryError, LookupError, TypeError, ValueError, AttributeError):
        return False
    return all(entry.tier in entry.costs for entry in epoch.entries)


def stands_in(runs: Iterable[Run], turns: Mapping[str, Turn], *, told: bool) -> bool:
    """Whether each run names a turn, and says only what stands in it; ``told``: what a gist may say of it."""
    calls = {call.id: call for turn in turns.values() for call in turn.tool_calls} if told else {}
    for run in runs:
        turn = turns.get(run.turn_id)
        if turn is None:
            return False
        ways = [tell(turn, calls), tell(turn, {}), tell(turn, {}, calls)] if told else [run_of(turn)]
        if not any(_is_of(run, whole) for whole in ways):
            return False
    return True


def _is_of(run: Run, whole: Run) -> bool:
    if (run.role, run.header, run.place) != (whole.role, whole.header, whole.place):
        return False
    if run.header in STEP_WEIGHTS:
        return set(run.text.split("\n")) <= set(whole.text.split("\n"))
    return all(piece.strip() in whole.text for piece in CUTS.split(run.text))


def _are_notes(notes: Notes, turns: Mapping[str, Turn], sealer: Sealer) -> bool:
    """Whether notes say only what stands in the turns, the user's words only what the user said, at what they cost."""

    def count(text: str) -> int:
        return count_tokens(text, sealer.profile)

    for note, empty in ((notes.words, NO_WORDS), (notes.gist, NO_GIST)):
        if note != empty.saying(note.runs, count) or not stands_in(note.runs, turns, told=note.label == NO_GIST.label):
            return False
    if any(run.role != "user" for run in notes.words.runs):
        return False
    at = {turn.seq: texts_of(turn).all for turn in turns.values()}
    said = "\n".join(turn.text for turn in turns.values() if turn.role == "user")
    for value in notes.ledger.values:
        if not value.places or not all(value.text in at.get(place, "") for place in value.places):
            return False
        if value.key not in said or value.before not in said:
            return False
    return notes.ledger.is_consistent(count)


def _is_gist(sealer: Sealer, entry: Entry, turns: Mapping[str, Turn]) -> bool:
    runs = tuple(Run(**run) for run in entry.runs)
    if (
        not runs
        or entry.account  # nothing shows that a model told it
        or not stands_in(runs, turns, told=True)
        or not all(entry.covers(turns[run.turn_id].seq) for run in runs)
    ):
        return False
    ((first, last),) = entry.segment
    if not first <= entry.first_seq <= entry.last_seq <= last:
        return False
    again = sealer.gists.showing(runs, sealer.gists.relay(runs), [entry]).entry
    return replace(again, level=entry.level) == entry


def _in_order(entries: Sequence[Entry]) -> bool:
    """Whether the entries follow one another, and no segment is so often there that reading it would take for ever."""
    places = [place for entry in entries for place in (entry.first_seq, entry.last_seq)]
    starts = [entry.segment[0][0] for entry in entries if entry.segment]
    return len(starts) == len(entries) and places == sorted(places) and starts == sorted(starts)
