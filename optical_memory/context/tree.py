"""The stored turns of a session as a tree, in which a list of messages is looked up by what was said."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from optical_memory.context.lineage import within
from optical_memory.context.view import SessionView
from optical_memory.turns import Part, Turn

WINDOW = 512
"""Turns read at a time while a list is walked, and turns in which calls are looked up that results do not name."""


class Tree:
    """The stored turns of a session, read in windows."""

    def __init__(self, view: SessionView) -> None:
        self._view = view
        self._lineage, self._length = view.state.lineage, view.head.length
        self.path = view.path()
        self._window: dict[int, bytes | None] = {}
        self._gone: dict[int, str] | None = None

    def child(self, place: int, wanted: bytes) -> int | None:
        """Return the turn after ``place`` that says what is wanted, one on the visible path first."""
        found = [next_ for next_ in self._lineage.children(place, self._length) if self._said(next_) == wanted]
        return next((next_ for next_ in found if within(self.path, next_)), found[0] if found else None)

    def holes(self, place: int) -> list[int]:
        """Return the places of the forgotten turns that come next, one after the other."""
        out: list[int] = []
        while True:
            children = self._lineage.children(out[-1] if out else place, self._length)
            hole = next((next_ for next_ in children if self._said(next_) is None), None)
            if hole is None:
                return out
            out.append(hole)

    def forgotten_ids(self) -> Mapping[int, str]:
        """Return the ids of forgotten turns by their places."""
        if self._gone is None:
            self._gone = self._view.store.forgotten(self._view.session) if self._view.head.forgotten else {}
            self._gone = {**self._gone, **self._view.state.doomed}
        return self._gone

    def _said(self, place: int) -> bytes | None:
        if place not in self._window:
            turns = self._view.store.turns(self._view.session, after=place - 1, before=place + WINDOW)
            self._window = {at: None for at in range(place, min(place + WINDOW, self._length))}
            self._window |= {turn.seq: said(turn) for turn in turns if turn.seq not in self._view.state.doomed}
        return self._window[place]


def said(turn: Turn) -> bytes:
    """Return a hash of what a turn says: speaker, words, parts and calls, whatever its id, time, format or hints.

    Hints to a prompt cache move from request to request, so they are no part of it.
    """
    parts = [(part.kind, part.text, part.url, _lasting(part)) for part in turn.content]
    calls = [(call.id, call.name, call.arguments) for call in turn.tool_calls]
    whole = json.dumps([turn.role, turn.name, turn.tool_call_id, parts, calls], ensure_ascii=False, sort_keys=True)
    return hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _lasting(part: Part) -> dict[str, Any] | None:
    """Return what only the provider's own part says, for parts that are neither text nor image."""
    if part.kind != "other":
        return None
    return {key: value for key, value in (part.raw or {}).items() if key != "cache_control"}
