"""What a model sees at some age, as data: every piece in order, and what the epoch changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from optical_memory import wording
from optical_memory.context.base import Context, Piece
from optical_memory.context.epoch import Entry, Epoch
from optical_memory.context.ledger import items_in
from optical_memory.context.lineage import ranges_of
from optical_memory.context.state import SessionState
from optical_memory.renderers.base import Page
from optical_memory.stores.base import State

MOST_TEXT = 20_000
"""Most characters of one piece that are sent; the rest is counted."""
MOST_PIECES = 600
"""Most pieces that are sent: the first ones and the newest, the rest is counted."""
BEGINS = 220
"""Characters of a page's text that stand for its picture."""
MOST_NAMED = 40
"""Most pages or values that are named in a change."""


def context_data(context: Context) -> dict[str, Any]:
    """Return a context as data."""
    pieces = list(context.pieces())
    left_out = max(len(pieces) - MOST_PIECES, 0)
    if left_out:
        pieces = pieces[: MOST_PIECES // 2] + pieces[len(pieces) - MOST_PIECES // 2 :]
    return {
        "tokens": context.tokens,
        "text_tokens": context.text_tokens,
        "budget": context.budget,
        "fits": context.fits,
        "epoch": context.epoch,
        "archived_pages": context.archived_pages,
        "facts": [line[:MOST_TEXT] for line in context.facts],
        "pieces": [piece_data(piece) for piece in pieces],
        "left_out": left_out,
    }


def piece_data(piece: Piece) -> dict[str, Any]:
    """Return one piece as data. A page's text is under its own address; here is how it begins."""
    found: dict[str, Any] = {
        "kind": piece.kind,
        "part": part_of(piece),
        "role": piece.role,
        "text": piece.text[:MOST_TEXT],
        "cut": max(len(piece.text) - MOST_TEXT, 0),
        "tokens": piece.tokens,
    }
    if piece.turn is not None:
        found |= {"place": piece.turn.seq + 1, "turn": piece.turn.id}
    if piece.page is not None:
        found["page"] = page_data(piece.page)
    return found


def part_of(piece: Piece) -> str:
    """Name what a piece is to a reader: "words", "gist", "values" and "kept" are the records of text."""
    if piece.kind != "record":
        return piece.kind
    labels = {wording.WORDS: "words", wording.GIST: "gist", wording.VALUES: "values"}
    return next((part for label, part in labels.items() if piece.text.startswith(label)), "kept")


def page_data(page: Page) -> dict[str, Any]:
    """Return a page as data."""
    return {
        "id": page.id,
        "tier": page.tier,
        "size": list(page.size),
        "tokens": page.tokens,
        "kind": page.kind,
        "facts": page.facts[:MOST_TEXT],
        "places": places_of(page),
        "rows": page.layout.grid.rows,
        "begins": page.text[:BEGINS],
    }


def places_of(page: Page) -> list[list[int]]:
    """Return the places (from 1) of the turns on a page as inclusive ranges."""
    places = sorted({span.place + 1 for span in page.layout.spans if span.place is not None})
    return [list(found) for found in ranges_of(places)]


def epoch_in(state: bytes | None, view: str) -> Epoch:
    """Return the epoch of a view in a packed state."""
    held = SessionState.load("", None if state is None else State(version=1, data=state))
    return held.epochs.get(view, Epoch())


def change_data(before: Epoch, after: Epoch) -> dict[str, Any]:
    """Return what one epoch changed: what was sealed, added, drawn smaller or larger, merged and archived."""
    old = {entry.id: entry for entry in before.entries}
    new = {entry.id: entry for entry in after.entries}
    fresh = [entry for entry in after.entries if entry.id not in old]
    gone = [entry for entry in before.entries if entry.id not in new]
    gists = [entry for entry in fresh if entry.level]
    retiered = [
        (old[entry.id], entry) for entry in after.entries if entry.id in old and old[entry.id].tier != entry.tier
    ]
    archived = after.archived_pages - before.archived_pages
    return {
        "number": after.number,
        "tokens": [before.tokens, after.tokens],
        "sealed": _sealed(before, after),
        "added": _named(entry for entry in fresh if not entry.level),
        "moved": [_entry(entry) | {"from": was.tier} for was, entry in retiered][:MOST_NAMED],
        "merged": [_entry(gist) | {"pages": _named(each for each in gone if _within(each, gist))} for gist in gists][
            :MOST_NAMED
        ],
        "archived": max(archived, 0),
        "counts": {"added": len(fresh) - len(gists), "moved": len(retiered), "merged": len(gists)},
        "values": _values(before, after),
    }


def _sealed(before: Epoch, after: Epoch) -> dict[str, int] | None:
    turns = after.totals.turns - before.totals.turns
    if turns <= 0:
        return None
    return {"turns": turns, "first": before.sealed_through + 2, "last": after.sealed_through + 1}


def _named(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    return [_entry(entry) for entry in entries][:MOST_NAMED]


def _entry(entry: Entry) -> dict[str, Any]:
    places = [entry.first_seq + 1, entry.last_seq + 1]
    return {"id": entry.id, "tier": entry.tier, "tokens": entry.tokens, "level": entry.level, "places": places}


def _within(entry: Entry, gist: Entry) -> bool:
    return gist.first_seq <= entry.first_seq and entry.last_seq <= gist.last_seq


def _values(before: Epoch, after: Epoch) -> dict[str, Sequence[str]]:
    """Return the exact values that came into the ledger as it is shown, and those that left it."""
    old, new = (items_in(epoch.notes.ledger.shown) for epoch in (before, after))
    return {
        "came": [value for value in new if value not in old][:MOST_NAMED],
        "left": [value for value in old if value not in new][:MOST_NAMED],
    }
