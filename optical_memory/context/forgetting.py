"""Forgetting for real: turns leave the store, and everything that was made from them leaves with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from optical_memory.budget import count_message
from optical_memory.context.epoch import Entry, Epoch
from optical_memory.context.sealing import Sealed
from optical_memory.context.view import Builder
from optical_memory.errors import InputError, NotFoundError
from optical_memory.turns import Turn

RESULTS_WITHIN = 256
"""Turns after a tool call in which its results are looked for when it is forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What :meth:`OpticalMemory.forget` deleted.

    ``pages`` are ids of pages that showed one of the turns; vision tokens cached elsewhere under these ids should
    go too. ``blobs`` counts deleted pixels and notes of the session; those still needed are made anew.
    """

    session: str
    turn_ids: tuple[str, ...]
    pages: tuple[str, ...]
    blobs: int
    everything: bool = False


def forget(builder: Builder, *, turn_id: str | None, before: float | None, everything: bool) -> Receipt:
    """Delete one turn, all turns before a time, or the whole session.

    Errors: InputError unless exactly one is asked for, NotFoundError for an unknown turn.
    """
    if sum((turn_id is not None, before is not None, everything)) != 1:
        raise InputError("say what to forget: turn_id=, before= or everything=True")
    store, session = builder.store, builder.session
    builder.sync()
    pages = [entry.id for entry in builder.epoch.entries]
    if everything:
        ids = tuple(turn.id for turn in store.turns(session))
        blobs = store.delete_blobs(session)
        store.delete_session(session)
        builder.restart()
        return Receipt(session=session, turn_ids=ids, pages=tuple(pages), blobs=blobs, everything=True)
    doomed = _doomed(builder, turn_id, before)
    ids = tuple(turn.id for turn in doomed)
    if not ids:
        return Receipt(session=session, turn_ids=(), pages=(), blobs=0)
    kept = {entry.id: builder.shelf.sealed(entry) for entry in builder.epoch.entries}  # before their turns go
    store.delete_turns(session, ids)
    blobs = store.delete_blobs(session)
    builder.replace_epoch(_without(builder, kept, doomed))
    store.delete_turns(session, ids)  # purges what the blobs and the epoch held until now
    now = {entry.id for entry in builder.epoch.entries}
    return Receipt(session=session, turn_ids=ids, pages=tuple(page for page in pages if page not in now), blobs=blobs)


def _doomed(builder: Builder, turn_id: str | None, before: float | None) -> list[Turn]:
    """Return the turns to delete; a turn with tool calls takes its results with it."""
    store, session = builder.store, builder.session
    if turn_id is None:
        assert before is not None
        return [turn for turn in store.turns(session) if turn.created_at < before]
    found = store.get(session, [turn_id])
    if not found:
        raise NotFoundError(f"no turn {turn_id!r} in session {session!r}")
    calls = {call.id for call in found[0].tool_calls}
    later = store.turns(session, after=found[0].seq, limit=RESULTS_WITHIN) if calls else []
    return [*found, *(turn for turn in later if turn.tool_call_id in calls)]


def _without(builder: Builder, kept: Mapping[str, Sealed], doomed: Sequence[Turn]) -> Epoch:
    """Return the next epoch, in which nothing of the doomed turns is left."""
    epoch, gone = builder.epoch, frozenset(turn.id for turn in doomed)
    out: list[Sealed] = []
    done: set[tuple[int, int]] = set()
    for entry in epoch.entries:
        if not any(entry.segment[0] <= turn.seq <= entry.segment[1] for turn in doomed):
            out.append(kept[entry.id])
        elif entry.level:
            out += _gist_without(builder, kept[entry.id], gone)
        elif entry.segment not in done:
            done.add(entry.segment)
            out += _segment_again(builder, [e for e in epoch.entries if e.segment == entry.segment and not e.level])
    builder.shelf.put(out)
    sealed = [turn for turn in doomed if turn.seq <= epoch.sealed_through]
    return epoch.next(
        entries=tuple(item.entry for item in out),
        instructions=tuple(turn_id for turn_id in epoch.instructions if turn_id not in gone),
        text_tokens=epoch.text_tokens - sum(count_message(turn, builder.profile) for turn in sealed),
    )


def _gist_without(builder: Builder, gist: Sealed, gone: frozenset[str]) -> list[Sealed]:
    runs = [run for run in gist.runs if run.turn_id not in gone]
    if not runs:
        return []
    again = builder.sealer.gist(runs, [gist.entry])
    return [replace(again, entry=replace(again.entry, level=gist.entry.level, segment=gist.entry.segment))]


def _segment_again(builder: Builder, entries: Sequence[Entry]) -> list[Sealed]:
    """Seal what is left of a segment's pages again, no sharper than they were."""
    first, last = entries[0].first_seq, entries[-1].last_seq
    turns = builder.store.turns(builder.session, after=first - 1, before=last + 1)
    sealed = builder.sealer.seal(turns) if turns else []
    return [
        replace(item, entry=replace(item.entry, tier=_tier_of(item.entry, entries[min(place, len(entries) - 1)])))
        for place, item in enumerate(sealed)
    ]


def _tier_of(entry: Entry, old: Entry) -> str:
    return old.tier if old.tier in entry.costs else list(entry.costs)[-1]
