"""Following: make a session's visible path equal a list of messages. Adds, rewinds and branches; deletes nothing.

The list is walked down the tree of stored turns, by what was said, not by id. Where it leaves the tree, the rest is
appended. Where each message led is remembered, so that the next list costs what differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from optical_memory.context.lineage import within
from optical_memory.context.takeover import Begun, Journal
from optical_memory.context.tree import WINDOW, Tree, said
from optical_memory.context.view import ATTEMPTS, SessionView
from optical_memory.errors import ConflictError
from optical_memory.formats import turns_by_message
from optical_memory.stores.base import Head, Store
from optical_memory.stores.record import BATCH_TURNS, moved
from optical_memory.turns import Turn

MOST_REMEMBERED = 100_000
"""Most messages of a list that are remembered; a longer list is walked whole each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What following a list changed.

    ``added`` are the new turns as stored. ``superseded`` counts turns that left the visible path, ``returned`` those
    that came back to it from another branch, ``forgotten`` messages left out because their turns were forgotten.
    ``places`` are, for each message of the list, the places (``Turn.seq``) of its turns.
    """

    added: tuple[Turn, ...] = ()
    superseded: int = 0
    returned: int = 0
    forgotten: int = 0
    places: tuple[tuple[int, ...], ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the visible path is another one than before."""
        return bool(self.added or self.superseded or self.returned)


@dataclass(slots=True)
class _Walk:
    """A walk down the tree: the place of the last turn that the list led to, and what it met."""

    tip: int
    places: list[int] = field(default_factory=list)
    forgotten: int = 0


@dataclass(slots=True)
class _Course:
    """How one call goes: the head that the session must have at its beginning, and what was begun from there."""

    expected: Head | None
    journal: Journal | None
    begun: Begun | None = None

    def allows(self, head: Head) -> bool:
        """Whether nothing may be begun from another head than this."""
        return self.expected is None or replace(head, forgotten=self.expected.forgotten) == self.expected

    def begin(self, begun: Begun) -> None:
        """Remember what is about to change, in the journal too."""
        if self.journal is not None:
            self.journal.write(begun)
        self.begun = begun


class Follower:
    """Follows lists for one view; remembers the last one (a copy) with the place that each message led to."""

    def __init__(self, view: SessionView) -> None:
        self.view = view
        self._life: tuple[str, int] = ("", 0)
        self._messages: list[Any] = []
        self._tips: list[int] = []
        self._places: list[tuple[int, ...]] = []
        self._hidden: set[bytes] = set()

    def follow(
        self,
        messages: Sequence[Any],
        format: str | None,
        now: float,
        *,
        expected: Head | None = None,
        journal: Journal | None = None,
    ) -> Followed:
        """Make the visible path equal ``messages``. ``now`` stamps what is new, in seconds since 1970.

        Where ``expected`` is given and the session has another birth, length or version, ConflictError at once; but
        not where the ``journal`` tells that an earlier try began from there and led to where the session is now.

        Errors: those of :func:`optical_memory.formats.to_turns`, DuplicateTurnError for an id given to two messages
        with other content, ConflictError where other processes were faster each time, the store's.
        """
        course = _Course(expected, journal, journal.read() if journal is not None else None)
        for _ in range(ATTEMPTS):
            self.view.refresh()
            if course.begun is None and not course.allows(self._stood()):
                raise moved(self.view.session)
            try:
                followed = self._follow(messages, format, now, course)
            except ConflictError:
                self._messages, self._tips = [], []
                continue
            if followed is None:
                raise moved(self.view.session)
            return followed
        raise ConflictError(f"session {self.view.session!r} changed {ATTEMPTS} times while a list was followed")

    def hide(self, turns: Iterable[Turn]) -> None:
        """Remember, in this process only, what was forgotten: a list that still holds it must not bring it back."""
        self._hidden.update(said(turn) for turn in turns)

    def _follow(self, messages: Sequence[Any], format: str | None, now: float, course: _Course) -> Followed | None:
        """Follow the list once; None where the session is not as it must be. Raises ConflictError."""
        view, messages = self.view, list(messages)
        known = self._known(messages) if course.begun is None else 0
        tip = self._tips[known - 1] if known else -1
        if course.begun is None and known == len(messages) and tip == _end(view):
            return Followed(places=tuple(self._places))
        before = Before(view.store, view.session, tip)
        groups = turns_by_message(messages[known:], format, before=before, created_at=now)
        turns = [turn for group in groups for turn in group]
        tree = Tree(view)
        walk = self._walk(turns, tip, tree)
        fresh, added = turns[len(walk.places) :], list[Turn]()
        begun = course.begun
        if begun is not None and begun.led_to(view.head, tree.path, walk.tip, whole=not fresh):
            earlier = view.store.turns(view.session, after=begun.head.length - 1, before=walk.tip + 1)
            added += [turn for turn in earlier if turn.seq in walk.places]
        elif course.allows(self._stood()):
            begun = self._about_to_change(tree, walk)
            if fresh or walk.tip != _end(view):
                course.begin(begun)
                self._lead_to(walk.tip)
        else:
            return None
        made = self._store(fresh)
        places = self._remember(messages, known, groups, [*walk.places, *(turn.seq for turn in made)], tip)
        figures = {"superseded": begun.superseded, "returned": begun.returned, "forgotten": begun.forgotten}
        return Followed(added=(*added, *made), places=places, **figures)

    def _stood(self) -> Head:
        """Return the head of the session with the version of the state that was read."""
        return replace(self.view.head, version=self.view.state.version)

    def _about_to_change(self, tree: Tree, walk: _Walk) -> Begun:
        returned = sum(place >= 0 and not within(tree.path, place) for place in set(walk.places))
        superseded = _count(tree.path, walk.tip)
        return Begun(head=self._stood(), superseded=superseded, returned=returned, forgotten=walk.forgotten)

    # -- what is known of the list -------------------------------------------------------------------------------

    def _known(self, messages: Sequence[Any]) -> int:
        """Count the messages at the start of the list that led somewhere before and still do."""
        if self._life != (self.view.head.birth, self.view.head.forgotten):
            self._messages, self._tips = [], []
        count = min(len(messages), len(self._messages))
        if messages[:count] == self._messages[:count]:
            return count
        return next(place for place in range(count) if messages[place] != self._messages[place])

    def _remember(
        self, messages: Sequence[Any], known: int, groups: Sequence[Sequence[Turn]], places: Sequence[int], tip: int
    ) -> tuple[tuple[int, ...], ...]:
        """Keep the list with where it led, and return the places of each message's turns."""
        tips, kept, done = self._tips[:known], self._places[:known], 0
        for group in groups:
            kept.append(tuple(places[done : done + len(group)]))
            done += len(group)
            tip = places[done - 1] if done else tip
            tips.append(tip)
        self._messages = [*self._messages[:known], *map(deepcopy, messages[known:])]
        self._tips, self._places = tips, kept
        self._life = (self.view.head.birth, self.view.head.forgotten)
        if len(messages) > MOST_REMEMBERED:
            self._messages, self._tips, self._places = [], [], []
        return tuple(kept)

    # -- down the tree -------------------------------------------------------------------------------------------

    def _walk(self, turns: Sequence[Turn], tip: int, tree: Tree) -> _Walk:
        """Follow the turns as far as the tree knows them."""
        walk = _Walk(tip)
        while len(walk.places) < len(turns):
            turn = turns[len(walk.places)]
            place = tree.child(walk.tip, said(turn))
            if place is None:
                gone = self._forgotten_ahead(turns, walk, tree)
                if gone is None:
                    break
                walk.tip, count = gone
                walk.places += [walk.tip] * count
                walk.forgotten += count
            else:
                walk.tip = place
                walk.places.append(place)
        return walk

    def _forgotten_ahead(self, turns: Sequence[Turn], walk: _Walk, tree: Tree) -> tuple[int, int] | None:
        """Return the place behind the forgotten turns that come next, and how many of the list's turns they are.

        A list may still hold them, or not. They are known by their id, by what this process forgot, or because what
        comes after them in the list is what comes after them in the store. None where the list leaves the tree here.
        """
        holes = tree.holes(walk.tip)
        ahead = turns[len(walk.places) :]
        if holes:
            last = holes[-1]
            for count in range(len(holes) + 1):
                if count < len(ahead) and tree.child(last, said(ahead[count])) is not None:
                    return last, count
        gone = set(tree.forgotten_ids().values())
        count = 0
        while count < len(ahead) and (ahead[count].id in gone or said(ahead[count]) in self._hidden):
            count += 1
        return (walk.tip, count) if count else None

    # -- what is new ---------------------------------------------------------------------------------------------

    def _lead_to(self, tip: int) -> None:
        """Have the visible path end at a place. Raises ConflictError."""
        view = self.view
        if tip != _end(view):
            view.commit(replace(view.state, lineage=view.state.lineage.forked(view.head.length, tip)))

    def _store(self, turns: Sequence[Turn]) -> list[Turn]:
        """Append turns behind the end of the path. Raises ConflictError."""
        view, expected = self.view, self._stood()
        out: list[Turn] = []
        for start in range(0, len(turns), BATCH_TURNS):
            batch = self._named(turns[start : start + BATCH_TURNS], expected.length)
            out += view.store.append(view.session, batch, expected=expected)
            view.refresh()
            if (view.head.length, view.head.version) != (expected.length + len(batch), expected.version):
                raise ConflictError(f"session {view.session!r} changed while a list was followed")
            expected = view.head
        return out

    def _named(self, turns: Sequence[Turn], length: int) -> list[Turn]:
        """Return turns under ids that are free; one that another place has already gets a suffix."""
        taken = {turn.id for turn in self.view.store.get(self.view.session, [turn.id for turn in turns])}
        words: dict[str, bytes] = {}
        out = []
        for place, turn in enumerate(turns, length):
            if turn.id in taken or words.get(turn.id) == said(turn):
                turn = replace(turn, id=f"{turn.id}~{place}")
            words.setdefault(turn.id, said(turn))
            out.append(turn)
        return out


@dataclass(frozen=True, slots=True)
class Before:
    """The turns up to a place, read only when a result does not name its call."""

    store: Store
    session: str
    tip: int

    def __iter__(self) -> Iterator[Turn]:
        if self.tip < 0:
            return iter(())
        return iter(self.store.turns(self.session, after=max(self.tip - WINDOW, -1), before=self.tip + 1))


def _end(view: SessionView) -> int:
    """Return the last place of the visible path (-1: it is empty)."""
    path = view.path()
    return path[-1][1] if path else -1


def _count(path: Iterable[tuple[int, int]], after: int) -> int:
    """Count the places of a path behind ``after``."""
    return sum(max(last - max(first, after + 1) + 1, 0) for first, last in path)
