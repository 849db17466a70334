"""Forgetting for real: turns leave the store, and everything that was made from them leaves with them.

It is a transaction in three steps, each of which can be repeated:

1. The session's state is saved without anything of the doomed turns, and names them: from here on no view shows them.
2. Their pixels, notes, bodies and index entries are deleted, and the freed space is cleared.
3. The state is saved without their names.

Killed or refused in between, a second call goes on where the first one stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from optical_memory.budget import count_message
from optical_memory.context.epoch import Entry, Epoch, Sealed, Totals
from optical_memory.context.events import Forgotten
from optical_memory.context.view import ATTEMPTS, SessionView
from optical_memory.errors import ConflictError, InputError, NotFoundError, StoreUnavailableError
from optical_memory.recall import find_turn, seq_of_place
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


@dataclass(frozen=True, slots=True, kw_only=True)
class What:
    """What to forget: one turn by id or place ("#12"), all before a time in seconds, or everything."""

    turn_id: str | None = None
    before: float | None = None
    everything: bool = False

    def __post_init__(self) -> None:
        """Raise InputError unless exactly one is asked for."""
        if sum((self.turn_id is not None, self.before is not None, self.everything)) != 1:
            raise InputError("say what to forget: turn_id=, before= or everything=True")


def forget(view: SessionView, what: What, witness: Callable[[Iterable[Turn]], object]) -> Receipt:
    """Delete turns with all that was made from them; ``witness`` is shown them while they are still there.

    Errors: NotFoundError for an unknown turn, ConflictError where other processes were faster each time, the store's.
    """
    view.stop()  # nothing that is prepared may be drawn or stored any more
    if what.everything:
        return _everything(view)
    for _ in range(ATTEMPTS):
        view.sync(read_only=True)
        doomed = _doomed(view, what)
        if not doomed and not view.state.doomed:
            return Receipt(session=view.session, turn_ids=(), pages=(), blobs=0)
        try:
            witness(turn for place in doomed for turn in view.shelf.turns_at(((place, place),)))
            return _delete(view, _hide(view, doomed))
        except ConflictError:
            continue
    raise ConflictError(f"session {view.session!r} changed {ATTEMPTS} times while turns were forgotten")


def _everything(view: SessionView) -> Receipt:
    store, session = view.store, view.session
    view.refresh()
    pages = [entry.id for epoch in view.state.epochs.values() for entry in epoch.entries]
    ids = tuple(turn.id for turn in store.turns(session))
    view.forget_pages(pages)
    blobs = store.delete_blobs(session)
    store.delete_session(session)
    view.refresh()
    return _told(view, Receipt(session=session, turn_ids=ids, pages=tuple(pages), blobs=blobs, everything=True))


def _doomed(view: SessionView, what: What) -> dict[int, str]:
    """Return places and ids of the turns to delete, those that an earlier call began with included.

    A turn with tool calls takes its results with it. One that is gone already is named again, so that what a call
    that was cut off left behind goes now.
    """
    store, session = view.store, view.session
    if what.turn_id is None:
        assert what.before is not None
        found = [turn for turn in store.turns(session) if turn.created_at < what.before]
        return {turn.seq: turn.id for turn in found}
    try:
        (turn,) = find_turn(store, session, what.turn_id)
    except NotFoundError:
        gone = store.forgotten(session) if view.head.forgotten else {}
        place = seq_of_place(what.turn_id)
        again = {seq: turn_id for seq, turn_id in gone.items() if turn_id == what.turn_id or seq == place}
        if not again:
            raise
        return again
    calls = {call.id for call in turn.tool_calls}
    later = store.turns(session, after=turn.seq, limit=RESULTS_WITHIN) if calls else []
    return {found.seq: found.id for found in (turn, *later) if found is turn or found.tool_call_id in calls}


def _hide(view: SessionView, doomed: Mapping[int, str]) -> list[str]:
    """Save a state that shows nothing of the doomed turns; return the ids of the pages that did."""
    doomed = {**view.state.doomed, **doomed}
    shown = {entry.id: entry for epoch in view.state.epochs.values() for entry in epoch.entries}
    turns = [turn for place in doomed for turn in view.shelf.turns_at(((place, place),))]
    told = {**doomed, **_answers(view, turns)}  # gists tell of a call with its result
    gone = frozenset(told.values())
    epoch = _without(view, turns, doomed, told)
    stay = {entry.id for entry in epoch.entries}  # an instruction is on no page, though a page's turns lie about it
    pages = [entry.id for entry in shown.values() if entry.id not in stay and _shows(entry, doomed, gone)]
    state = replace(view.state, doomed=doomed, epochs={view.name: epoch} if view.epoch.number else {})
    try:
        view.commit(state)
    except StoreUnavailableError:  # a full store may have room once the pixels, which are only caches, are gone
        view.store.delete_blobs(view.session)
        view.commit(state)
    view.forget_pages(pages)
    view.adopt(epoch)
    return pages


def _shows(entry: Entry, doomed: Mapping[int, str], gone: frozenset[str]) -> bool:
    """Return whether a page shows a doomed turn. One that only stands for its segment may come again as it was."""
    if entry.level and not entry.account:
        return any(run["turn_id"] in gone for run in entry.runs)
    return any(entry.covers(place) and entry.first_seq <= place <= entry.last_seq for place in doomed)


def _delete(view: SessionView, pages: Sequence[str]) -> Receipt:
    store, session = view.store, view.session
    ids = tuple(view.state.doomed.values())
    blobs = store.delete_blobs(session)
    store.delete_turns(session, ids)
    receipt = Receipt(session=session, turn_ids=ids, pages=tuple(pages), blobs=blobs)
    _told(view, receipt)
    for _ in range(ATTEMPTS):
        gone = set(ids)
        left = {place: turn_id for place, turn_id in view.state.doomed.items() if turn_id not in gone}
        try:
            view.commit(replace(view.state, doomed=left))
            break
        except ConflictError:
            view.sync(read_only=True)
    return receipt


def _told(view: SessionView, receipt: Receipt) -> Receipt:
    view.events.tell(
        Forgotten(
            session=receipt.session,
            turn_ids=receipt.turn_ids,
            pages=receipt.pages,
            everything=receipt.everything,
        )
    )
    return receipt


def _without(view: SessionView, turns: Sequence[Turn], doomed: Mapping[int, str], told: Mapping[int, str]) -> Epoch:
    """Return the next epoch, in which nothing of the doomed ``turns`` is left, and no gist says what is ``told``."""
    epoch, gone = view.epoch, frozenset(told.values())
    out: list[Sealed] = []
    for chain in _chains(epoch.entries):
        if not any(entry.covers(place) for entry in chain for place in (told if entry.level else doomed)):
            out += [view.shelf.sealed(entry) for entry in chain]
        elif chain[0].level:
            out += _gist_without(view, chain[0], gone)
        else:
            out += _segments_again(view, chain, doomed)
    view.shelf.put(out)
    sealed = [turn for turn in turns if turn.seq <= epoch.sealed_through]
    costs = {turn.id: count_message(turn, view.profile) for turn in sealed}
    lost = Totals(
        turns=len(sealed),
        text_tokens=sum(costs.values()),
        system_tokens=sum(costs[turn.id] for turn in sealed if turn.is_instruction),
    )
    return epoch.next(
        entries=tuple(item.entry for item in out),
        instructions=tuple(turn_id for turn_id in epoch.instructions if turn_id not in doomed.values()),
        totals=_less(epoch.totals, lost),
        notes=epoch.notes.without(gone, doomed, view.count),
    )


def _answers(view: SessionView, turns: Sequence[Turn]) -> dict[int, str]:
    """Return places and ids of the results that stay while the calls that they answer go."""
    calls = {call.id for turn in turns for call in turn.tool_calls}
    if not calls:
        return {}
    later = view.store.turns(view.session, after=min(turn.seq for turn in turns), limit=len(turns) + RESULTS_WITHIN)
    return {turn.seq: turn.id for turn in later if turn.tool_call_id in calls}


def _gist_without(view: SessionView, gist: Entry, gone: frozenset[str]) -> list[Sealed]:
    """Make a gist again without these turns, and without what a model told: it knew them all."""
    runs = [run for run in view.shelf.runs(gist) if run.turn_id not in gone]
    if not runs:
        return []
    again = view.sealer.gists.make(runs, [gist])
    return [replace(again, entry=replace(again.entry, level=gist.level, segment=gist.segment))]


def _chains(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Return entries in runs that are sealed again together: pages of a segment, and of those whose turns go on."""
    out: list[list[Entry]] = []
    for entry in entries:
        before = out[-1][-1] if out else None
        if before and not (before.level or entry.level) and (entry.skip or entry.segment == before.segment):
            out[-1].append(entry)
        else:
            out.append([entry])
    return out


def _segments_again(view: SessionView, entries: Sequence[Entry], doomed: Mapping[int, str]) -> list[Sealed]:
    """Seal what is left of the pages of segments again, no sharper than they were."""
    first, last = entries[0].first_seq, entries[-1].last_seq
    found = {turn.seq: turn for entry in entries for turn in view.shelf.turns_at(entry.segment)}
    turns = [found[place] for place in sorted(found) if first <= place <= last and place not in doomed]
    is_start = bool(turns) and turns[0].seq == entries[0].segment[0][0]
    sealed = view.sealer.seal(turns, entries[-1].totals, skip=entries[0].skip if is_start else 0) if turns else []
    return [
        replace(item, entry=replace(item.entry, tier=_tier_of(item.entry, entries[min(place, len(entries) - 1)])))
        for place, item in enumerate(sealed)
    ]


def _tier_of(entry: Entry, old: Entry) -> str:
    return old.tier if old.tier in entry.costs else list(entry.costs)[-1]


def _less(totals: Totals, lost: Totals) -> Totals:
    left = totals.plus(lost, -1)
    return replace(left, text_tokens=max(left.text_tokens, 0), system_tokens=max(left.system_tokens, 0))
