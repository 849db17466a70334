"""The text tail: turns since the past was sealed, shown as they are. Grows at its end only, so the prefix stays warm.

A turn that is larger than its limit is shown as page images from the moment it arrives, or cut short. The choice is
made once, from the turn and sums over all turns before it, wherever an epoch began: so it does not change until the
turn is sealed, and a process that reads the session anew makes the same. A user's turn keeps its request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from optical_memory import wording
from optical_memory.budget import Profile, count_message, count_tokens, with_detail
from optical_memory.context.base import Piece
from optical_memory.context.epoch import NOTHING, Totals
from optical_memory.context.plan import Limits
from optical_memory.context.sealing import Sealer, run_of
from optical_memory.context.shapes import bounded
from optical_memory.formats import get_format
from optical_memory.formats.repair import repaired
from optical_memory.renderers.base import Layout, Page, Tier
from optical_memory.turns import Turn, groups, open_calls, place_of, transcript

EXCERPTED = 400_000
"""Most characters of a result from which an excerpt is made: its beginning and its end."""
MENDING = ("openai", "anthropic")
"""Formats in which most is added: results right after their calls, ids that no other call has."""
CHARACTERS = 3
"""Characters of an excerpt for each token that it may cost."""
WORTH = 0.75
"""Pages of a large turn cost at most this much of its text: what they save less than that is worth more as text."""

MakePage = Callable[[Layout, Tier], Page]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Turns that stay together, and the pieces that show them.

    Pages of large results come after the last result, as providers demand: while a call is ``open`` they are not
    among the pieces yet. ``images`` counts them in any case. ``text_tokens`` is the cost of the exact text,
    ``system_tokens`` what instructions have of it.
    """

    turns: tuple[Turn, ...]
    pieces: tuple[Piece, ...]
    text_tokens: int
    system_tokens: int
    images: int
    open: bool

    @property
    def tokens(self) -> int:
        """What the pieces cost."""
        return sum(piece.tokens for piece in self.pieces)

    @property
    def totals(self) -> Totals:
        """The sums over its turns."""
        costs = {"text_tokens": self.text_tokens, "system_tokens": self.system_tokens, "shown_tokens": self.tokens}
        return Totals(turns=len(self.turns), **costs)


class Tail:
    """The turns since the past, in whole groups; only the last group may still be open."""

    def __init__(self, sealer: Sealer, make_page: MakePage, limits: Limits, before: Totals = NOTHING) -> None:
        """Show turns over their limit as pages, within the limits of one group; ``before`` sums what is sealed."""
        self._sealer, self._make_page, self._limits = sealer, make_page, limits
        self._so_far = before
        self._counts: dict[str, int] = {}
        self.groups: list[Group] = []
        self.tokens = 0
        self.text_tokens = 0

    @property
    def profile(self) -> Profile:
        """The target model."""
        return self._sealer.profile

    @property
    def images(self) -> int:
        """Page images that stand for large results."""
        return sum(group.images for group in self.groups)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """All turns of the tail, in order."""
        return tuple(turn for group in self.groups for turn in group.turns)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All pieces of the tail, in order."""
        return tuple(piece for group in self.groups for piece in group.pieces)

    def append(self, turn: Turn) -> None:
        """Add the next turn, to the open group if there is one."""
        turns: tuple[Turn, ...] = (turn,)
        if self.groups and self.groups[-1].open:
            turns = self._drop_last().turns
            if self._gives_up(turns, turn):
                self._add(self._show(turns, is_open=False))
                turns = ()
            turns = (*turns, turn)
        *whole, last = groups(turns)
        for group in whole:
            self._add(self._show(group, is_open=False))
        self._add(self._show(last, is_open=bool(open_calls(last))))

    def drop_first(self, count: int) -> None:
        """Take the oldest ``count`` groups out, as they go into the past."""
        taken, self.groups = self.groups[:count], self.groups[count:]
        self.tokens -= sum(group.tokens for group in taken)
        self.text_tokens -= sum(group.text_tokens for group in taken)
        for group in taken:
            for turn in group.turns:
                self._counts.pop(turn.id, None)

    def _gives_up(self, turns: tuple[Turn, ...], turn: Turn) -> bool:
        """Tell whether the talk goes on without the results of an open group that takes much of the budget by now.

        What is in it stays as it was shown; a result that comes later stands alone.
        """
        goes_on = turn.role != "tool" and not turn.is_instruction and any(each.role == "user" for each in turns[1:])
        return goes_on and sum(map(self._count, turns)) > self._limits.group_tokens

    def _add(self, group: Group) -> None:
        self.groups.append(group)
        self.tokens += group.tokens
        self.text_tokens += group.text_tokens
        self._so_far = self._so_far.plus(group.totals)

    def _drop_last(self) -> Group:
        group = self.groups.pop()
        self.tokens -= group.tokens
        self.text_tokens -= group.text_tokens
        self._so_far = self._so_far.plus(group.totals, -1)
        return group

    def _count(self, turn: Turn) -> int:
        if turn.id not in self._counts:
            self._counts[turn.id] = count_message(turn, self.profile)
        return self._counts[turn.id]

    def _show(self, turns: tuple[Turn, ...], *, is_open: bool) -> Group:
        exact = [self._count(turn) for turn in turns]
        calls = max(1, sum(len(turn.tool_calls) for turn in turns))
        share = self._limits.group_tokens // calls
        most_images = max(self._limits.group_images // calls, 1)
        paced = self._limits.as_text(self._so_far)
        room = _Room(limit=min(max(self._limits.inline_tokens, paced), share), share=share, images=most_images)
        of_file = replace(room, limit=min(max(self._limits.file_tokens, paced), share))
        pieces: list[Piece] = []
        pages: list[tuple[Page, Turn]] = []
        looked_up = {call.id for turn in turns for call in turn.tool_calls if call.name == wording.RECALL}
        files = self._files_read(turns)
        for turn, cost in zip(turns, exact, strict=True):
            if turn.tool_call_id in looked_up and cost <= room.share:  # who asks for exact words gets words
                shown, images, tokens = turn, list[Page](), cost
            else:
                shown, images, tokens = self._shown(turn, cost, of_file if turn.tool_call_id in files else room)
            pieces.append(turn_piece(shown, tokens))
            pages += ((page, turn) for page in images)
        if added := self._added(turns, exact):
            pieces[0] = replace(pieces[0], tokens=pieces[0].tokens + added)
        if not is_open:
            pieces += self._page_pieces(f"pages-{place_of(turns[0])}", pages)
        system = sum(cost for turn, cost in zip(turns, exact, strict=True) if turn.is_instruction)
        costs = {"text_tokens": sum(exact), "system_tokens": system}
        return Group(turns=turns, pieces=tuple(pieces), images=len(pages), open=is_open, **costs)

    def _files_read(self, turns: tuple[Turn, ...]) -> frozenset[str]:
        if not any(turn.tool_calls for turn in turns):
            return frozenset()
        from optical_memory.context.actions import reading  # its expressions take long to compile: not before a call

        return reading(turns)

    def _added(self, turns: tuple[Turn, ...], exact: Sequence[int]) -> int:
        """Return the most that any format adds so that calls and results leave in pairs, with their images."""
        results = [turn for turn in turns if turn.role == "tool"]
        if not results and not any(turn.tool_calls for turn in turns):
            return 0
        known = {turn.id: (turn, cost) for turn, cost in zip(turns, exact, strict=True)}
        most = 0
        for name in MENDING:
            mended = repaired(turns, get_format(name))
            most = max(most, sum(self._mended_cost(turn, known) for turn in mended) - sum(exact))
        for turn in results:
            if labels := [part.label for part in turn.parts if part.kind == "image"]:
                words = "\n".join([wording.result_images(turn.tool_call_id), *labels])
                most += count_tokens(words, self.profile) + self.profile.message_tokens
        return most

    def _mended_cost(self, turn: Turn, known: Mapping[str, tuple[Turn, int]]) -> int:
        exact, cost = known.get(turn.id, (None, 0))
        same = exact is not None and (exact.role, exact.tool_call_id, exact.tool_calls) == (
            turn.role, turn.tool_call_id, turn.tool_calls
        )  # fmt: skip
        return cost if same else count_message(turn, self.profile)

    def _shown(self, turn: Turn, cost: int, room: _Room) -> tuple[Turn, list[Page], int]:
        """Return a turn as it is sent, its pages, and what it costs without them."""
        bounded_images = with_detail(turn, self.profile)
        if bounded_images is not turn:
            turn, cost = bounded_images, count_message(bounded_images, self.profile)
        if turn.pin is not False or turn.is_instruction:
            return turn, [], cost
        if turn.role == "user":
            most = self._limits.said_tokens
            return self._replaced(turn, cost, _Room(limit=most, share=most, images=room.images)) if cost > most else (
                turn, [], cost
            )  # fmt: skip
        own = room.times(max(len(turn.tool_calls), 1))
        return self._replaced(turn, cost, own) if cost > own.limit else (turn, [], cost)

    def _page_pieces(self, message: str, pages: list[tuple[Page, Turn]]) -> list[Piece]:
        out = []
        for number, (page, turn) in enumerate(pages):
            label = wording.page_label(page.id, excerpt=False, facts=page.facts)
            tokens = page.tokens + count_tokens(label, self.profile)
            out.append(
                Piece(
                    kind="page",
                    message=message,
                    text=label,
                    page=page,
                    turn_ids=(turn.id,),
                    tokens=tokens if number else tokens + self.profile.message_tokens,
                    detail=self.profile.detail.get(page.tier),
                )
            )
        return out

    def _replaced(self, turn: Turn, cost: int, room: _Room) -> tuple[Turn, list[Page], int]:
        """Show a long turn as pages; where they save too little and it is over its share, cut short.

        Return the turn to send, its pages, and what the turn costs without them.
        """
        arrival = self._sealer.arrival(turn, cost, room.limit, room.images, room.share)
        images = [self._make_page(layout, tier) for layout, tier in arrival]
        note = wording.pages_pointer(place_of(turn), cost, len(images))
        pointer = self._pointing(turn, note, room.limit if turn.role == "user" else 0)
        pointer_cost = count_message(pointer, self.profile)
        paged = pointer_cost + sum(piece.tokens for piece in self._page_pieces("", [(page, turn) for page in images]))
        if images and paged <= WORTH * cost:
            return pointer, images, pointer_cost
        if cost <= room.share:
            return turn, [], cost
        short = self._cut(turn, cost, room.limit)
        short_cost = count_message(short, self.profile)
        return (short, [], short_cost) if short_cost < cost else (turn, [], cost)

    def _pointing(self, turn: Turn, note: str, limit: int) -> Turn:
        """Return the turn with ``note`` where its text was; a user's keeps its request, in ``limit`` tokens."""
        if turn.role == "tool" and not turn.parts:
            return replace(turn, text=note, raw=None, raw_format=None)
        from optical_memory.context.folding import within  # seldom needed

        return within(turn, note, limit, CHARACTERS * limit, self.profile)

    def _cut(self, turn: Turn, cost: int, limit: int) -> Turn:
        """Return a turn in about ``limit`` tokens: the most telling lines of a result, both ends of other texts."""
        place = place_of(turn)
        if turn.role == "tool" and not turn.parts:
            from optical_memory.excerpt import excerpt

            kept = "".join(run.text for run in excerpt([bounded(run_of(turn), EXCERPTED)], CHARACTERS * limit))
            return self._pointing(turn, f"{wording.excerpt_pointer(place, cost)}\n{kept}", 0)
        return self._pointing(turn, wording.folded(place), limit)


@dataclass(frozen=True, slots=True)
class _Room:
    """What one turn may cost before it is shown otherwise, at most as text, and its pages."""

    limit: int
    share: int
    images: int

    def times(self, calls: int) -> _Room:
        """Return the room of a turn with so many calls."""
        return _Room(limit=self.limit * calls, share=self.share * calls, images=self.images)


def turn_piece(turn: Turn, tokens: int) -> Piece:
    """Return a turn that is sent as it is."""
    header, body = transcript(turn)
    return Piece(
        kind="instructions" if turn.is_instruction else "turn",
        message=turn.id,
        text=body if turn.is_instruction else f"{header}: {body}",
        tokens=tokens,
        role=turn.role,
        turn=turn,
        turn_ids=(turn.id,),
    )
