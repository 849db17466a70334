"""Taking in: turns and messages of any provider into the store, and a whole list followed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from optical_memory.budget import Profile
from optical_memory.context.view import SessionView
from optical_memory.errors import OpticalMemoryError
from optical_memory.formats import to_turns
from optical_memory.formats.keywords import When, turn_of
from optical_memory.stores.base import Head, Store
from optical_memory.stores.record import BATCH_TURNS
from optical_memory.turns import Role, ToolCall, Turn

if TYPE_CHECKING:
    from optical_memory.context.following import Followed, Follower
    from optical_memory.context.takeover import Journal


class Intake:
    """The part of :class:`optical_memory.OpticalMemory` that takes in: it stores, and shows nothing."""

    session: str
    store: Store
    profile: Profile
    _clock: Callable[[], float]
    _view: SessionView
    _lock: threading.RLock
    _following: Follower | None = None

    def add(
        self,
        role: Role,
        content: str | Sequence[Mapping[str, Any]] | None = "",
        *,
        id: str | None = None,
        name: str | None = None,
        pin: bool | str = False,
        importance: float | None = None,
        tool_calls: Sequence[Mapping[str, Any] | ToolCall] = (),
        tool_call_id: str | None = None,
        created_at: When | None = None,
    ) -> Turn:
        """Store one turn and return it; when this returns, it is durable.

        Args:
            role: "system", "developer", "user", "assistant" or "tool".
            content: text, or OpenAI-style parts (text and images).
            id: the turn's id, unique in the session. The same id with the same content is stored once.
            name: who speaks, or which tool answers.
            pin: True keeps the turn as text for ever; a tier's name never lets it fall below that tier.
            importance: 0 to 1; more important pages stay sharp for longer. Default: by role.
            tool_calls: OpenAI-style dicts or ToolCall objects.
            tool_call_id: for a tool's result, the id of its call.
            created_at: a datetime or seconds since 1970. Default: now.

        Errors: UnknownRoleError, InputError, DuplicateTurnError, LimitError, StoreError. Then nothing is stored.

        """
        if isinstance(pin, str):
            self.profile.tier(pin)
        turn = turn_of(
            role,
            content,
            id=id,
            name=name,
            pin=pin,
            importance=importance,
            tool_calls=tool_calls,
            tool_call_id=tool_call_id,
            created_at=self._clock() if created_at is None else created_at,
        )
        return self.store.append(self.session, [turn])[0]

    def extend(self, messages: Iterable[Mapping[str, Any]], *, format: str | None = None) -> list[Turn]:
        """Store messages of any provider's shape and return their turns.

        ``format``: "openai", "responses", "anthropic", "gemini", "huggingface"; None tells by looking. Messages that
        carry an id are stored once. Up to 10,000 turns are stored all or none; of more, whole batches of 10,000, and
        a note on the error says how many turns were stored before it. Errors as for :meth:`add`.
        """
        return self.add_turns(to_turns(messages, format, before=self._newest(), created_at=self._clock()))

    def _newest(self) -> Iterator[Turn]:
        """Yield the newest turns; nothing is read before a result asks that does not name its call."""
        from optical_memory.context.following import Before

        yield from Before(self.store, self.session, self.store.head(self.session).length - 1)

    def add_turns(self, turns: Iterable[Turn]) -> list[Turn]:
        """Store turns as :meth:`extend` does; one without a time is stamped now. Errors as for :meth:`add`."""
        now = self._clock()
        stamped = [turn if turn.created_at else replace(turn, created_at=now) for turn in turns]
        out: list[Turn] = []
        for start in range(0, len(stamped), BATCH_TURNS):
            try:
                out += self.store.append(self.session, stamped[start : start + BATCH_TURNS])
            except OpticalMemoryError as error:
                if start:
                    error.add_note(f"of {len(stamped):,} turns the first {start:,} are stored, the others are not")
                raise
        return out

    def follow(
        self,
        messages: Iterable[Any],
        *,
        format: str | None = None,
        expected: Head | None = None,
        journal: Journal | None = None,
    ) -> Followed:
        """Make the visible history equal ``messages``: add what is new, leave what was edited or rewound.

        For callers that keep their own list and hand it over each time, in any provider's format. Turns that are not
        in the list leave the context and recall, and are kept as superseded; a branch that comes back is found again.
        Nothing is deleted. Messages are compared by what they say; ids are not needed. A message whose turn was
        forgotten does not come back. ``expected``: only where the session still has this head, else ConflictError.
        ``journal`` lets another process finish what this one began (:mod:`optical_memory.context.takeover`).

        Errors: as for :meth:`extend`, ConflictError where other processes changed the session each time.
        """
        with self._lock:
            return self._follower().follow(list(messages), format, self._clock(), expected=expected, journal=journal)

    def _follower(self) -> Follower:
        from optical_memory.context.following import Follower  # seldom needed

        if self._following is None:
            self._following = Follower(self._view)
        return self._following
