"""How appends reach any store: together where it takes them so, else one after the other with records beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from optical_memory.errors import ConflictError
from optical_memory.service.records import Records, answer_kept, keep_answer
from optical_memory.stores.appends import Append, Appended, Commit, Once, Result
from optical_memory.stores.base import Head, Store
from optical_memory.turns import Turn


def append_all(store: Store, records: Records) -> Commit:
    """Return what does many appends to a store, each atomic for itself and done once (see ``Once``)."""
    together: Commit | None = getattr(store, "append_all", None)
    if together is not None:
        return together

    def in_turn(appends: Sequence[Append]) -> Sequence[Result]:
        return [_tried(store, records, append) for append in appends]

    return in_turn


def _tried(store: Store, records: Records, append: Append) -> Result:
    try:
        if append.once is not None and (before := _before(records, append, append.once)) is not None:
            return before
        done = _done(store, append)
        if append.once is not None:
            _keep(records, append.once, done)
        return done
    except Exception as error:  # also one that nobody expected spoils its own append alone
        return error


def _done(store: Store, append: Append) -> Appended:
    before = store.head(append.session)
    try:
        stored = store.append(append.session, append.turns, expected=append.expected)
    except ConflictError:
        # The service may have died after it had stored them, before it could keep the answer.
        held = store.get(append.session, [turn.id for turn in append.turns]) if append.once is not None else []
        if not held or {turn.id: turn.digest for turn in held} != {turn.id: turn.digest for turn in append.turns}:
            raise
        by_id = {turn.id: turn for turn in held}
        stored = [by_id[turn.id] for turn in append.turns]
    after = store.head(append.session)
    fresh = {turn.id: turn for turn in stored if turn.seq >= before.length or after.birth != before.birth}
    # Of appends that found no session at the same time, the one that stored its first turn made it.
    made = after.birth != before.birth and any(turn.seq == 0 for turn in fresh.values())
    return Appended(turns=tuple(stored), head=after, fresh=tuple(fresh.values()), made=made)


def _before(records: Records, append: Append, once: Once) -> Appended | None:
    kept = answer_kept(records, f"once/{once.name}", once.digest)
    if kept is None:
        return None
    answer = json.loads(kept)
    turns: list[Turn] = [
        replace(turn, seq=seq, created_at=when) for turn, (seq, when) in zip(append.turns, answer["turns"], strict=True)
    ]
    return Appended(turns=tuple(turns), head=Head(**answer["head"]), replayed=True)


def _keep(records: Records, once: Once, done: Appended) -> None:
    said = {"turns": [[turn.seq, turn.created_at] for turn in done.turns], "head": asdict(done.head)}
    keep_answer(records, f"once/{once.name}", once.digest, json.dumps(said).encode(), seconds=once.seconds)
