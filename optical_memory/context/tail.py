"""The text tail: turns since the archive, shown as they are. Grows at its end only, so the prefix stays warm.

A result that is larger than the inline limit is shown as page images from the moment it arrives: the choice is
made once, from the turn alone, and so does not change until the turn is sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from optical_memory.budget import Profile, count_message, count_tokens
from optical_memory.context.sealing import Sealer, bounded, run_of
from optical_memory.renderers.base import Layout, Page, Tier
from optical_memory.turns import Part, Turn, groups, open_calls, place_of

EXCERPTED = 400_000
"""Most characters of a result from which an excerpt is made: its beginning and its end."""
CHARACTERS = 3
"""Characters of an excerpt for each token that it may cost."""

MakePage = Callable[[Layout, Tier], Page]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Turns that stay together, and how they are shown.

    ``shown`` are the turns with large results replaced by a pointer, ``pages`` the images of those results, sent
    in a user turn after the last result. ``tokens`` is the cost as shown, ``text_tokens`` as exact text.
    """

    turns: tuple[Turn, ...]
    shown: tuple[Turn, ...]
    pages: tuple[Page, ...]
    tokens: int
    text_tokens: int
    open: bool

    def messages(self, url_of: Callable[[Page], str]) -> Iterator[Turn]:
        """Yield the turns to send; images go after the last result, as providers demand."""
        yield from self.shown
        if self.pages and not self.open:
            yield pages_turn(
                f"pages-{place_of(self.turns[0])}", [(page_label(page), page) for page in self.pages], url_of
            )


class Tail:
    """The turns since the archive, in whole groups; only the last group may still be open."""

    def __init__(
        self, sealer: Sealer, make_page: MakePage, inline_tokens: int, group_tokens: int, group_images: int
    ) -> None:
        """Results over ``inline_tokens`` become pages.

        All pages of one group cost at most ``group_tokens`` and are at most ``group_images``, one for each result.
        """
        self._sealer = sealer
        self._make_page = make_page
        self._inline_tokens = inline_tokens
        self._group_tokens = group_tokens
        self._group_images = group_images
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
        return sum(len(group.pages) for group in self.groups)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """All turns of the tail, in order."""
        return tuple(turn for group in self.groups for turn in group.turns)

    def append(self, turn: Turn) -> None:
        """Add the next turn, to the open group if there is one."""
        turns: tuple[Turn, ...] = (turn,)
        if self.groups and self.groups[-1].open:
            turns = (*self._drop_last().turns, turn)
        *whole, last = groups(turns)
        for group in whole:
            self._add(self._show(group, is_open=False))
        self._add(self._show(last, is_open=bool(open_calls(last))))

    def drop_first(self, count: int) -> list[Group]:
        """Take the oldest ``count`` groups out, as they go into the archive."""
        taken, self.groups = self.groups[:count], self.groups[count:]
        self.tokens -= sum(group.tokens for group in taken)
        self.text_tokens -= sum(group.text_tokens for group in taken)
        for group in taken:
            for turn in group.turns:
                self._counts.pop(turn.id, None)
        return taken

    def _add(self, group: Group) -> None:
        self.groups.append(group)
        self.tokens += group.tokens
        self.text_tokens += group.text_tokens

    def _drop_last(self) -> Group:
        group = self.groups.pop()
        self.tokens -= group.tokens
        self.text_tokens -= group.text_tokens
        return group

    def _count(self, turn: Turn) -> int:
        if turn.id not in self._counts:
            self._counts[turn.id] = count_message(turn, self.profile)
        return self._counts[turn.id]

    def _show(self, turns: tuple[Turn, ...], *, is_open: bool) -> Group:
        exact = [self._count(turn) for turn in turns]
        calls = max(1, sum(len(turn.tool_calls) for turn in turns))
        share, most = self._group_tokens // calls, max(self._group_images // calls, 1)
        limit = min(self._inline_tokens, share)
        shown: list[Turn] = []
        pages: list[Page] = []
        tokens = 0
        for turn, cost in zip(turns, exact, strict=True):
            stand_in, images = turn, list[Page]()
            if cost > limit and _may_be_replaced(turn):
                stand_in, images, cost = self._replaced(turn, cost, limit, share, most)
            shown.append(stand_in)
            pages += images
            tokens += cost
        if pages:
            tokens += self.profile.message_tokens
        return Group(
            turns=turns,
            shown=tuple(shown),
            pages=tuple(pages),
            tokens=tokens,
            text_tokens=sum(exact),
            open=is_open,
        )

    def _replaced(self, turn: Turn, cost: int, limit: int, share: int, most: int) -> tuple[Turn, list[Page], int]:
        """Show a large result as pages; where they are no cheaper and it is over its share, as an excerpt."""
        images = [self._make_page(layout, tier) for layout, tier in self._sealer.arrival(turn, limit, most)]
        pointer = replace(turn, text=_pointer(turn, cost, images), raw=None, raw_format=None)
        labels = sum(count_tokens(page_label(page), self.profile) for page in images)
        pointer_cost = count_message(pointer, self.profile) + sum(page.tokens for page in images) + labels
        if images and pointer_cost < cost:
            return pointer, images, pointer_cost
        if cost <= share:
            return turn, [], cost
        from optical_memory.excerpt import excerpt

        kept = "".join(run.text for run in excerpt([bounded(run_of(turn), EXCERPTED)], CHARACTERS * limit))
        short = replace(turn, text=f"{_gap(turn, cost)}\n{kept}", raw=None, raw_format=None)
        short_cost = count_message(short, self.profile)
        return (short, [], short_cost) if short_cost < cost else (turn, [], cost)


def _may_be_replaced(turn: Turn) -> bool:
    """Only results and answers; a user's words, tool calls and a turn's own images stay as they are."""
    return turn.role in ("tool", "assistant") and not turn.tool_calls and not turn.parts and turn.pin is False


def _gap(turn: Turn, tokens: int) -> str:
    return f"[the most telling lines of {tokens:,} tokens; exact words: {_call(turn)}]"


def _call(turn: Turn) -> str:
    """Write the call that gives the turn back. It names its place: an id may be random, and would change the prefix."""
    return f"recall(turn_id={place_of(turn)!r})"


def _pointer(turn: Turn, tokens: int, pages: list[Page]) -> str:
    count = "1 page image" if len(pages) == 1 else f"{len(pages)} page images"
    return f"[{tokens:,} tokens of text, shown as {count} in the next user message; exact words: {_call(turn)}]"


def page_label(page: Page) -> str:
    """Return the text beside a page: its id, what kind it is, and the facts on it."""
    kind = "excerpt" if page.kind == "gist" else "page"
    return f"[{kind} {page.id[:12]}]" + (f" {page.facts}" if page.facts else "")


def pages_turn(turn_id: str, pieces: list[tuple[str, Page | None]], url_of: Callable[[Page], str]) -> Turn:
    """Build the user turn that carries pages and records, each page behind its label."""
    parts: list[Part] = []
    for text, page in pieces:
        parts.append(Part(kind="text", text=text))
        if page is not None:
            width, height = page.size
            parts.append(Part(kind="image", url=url_of(page), width=width, height=height))
    return Turn(id=turn_id, role="user", text="\n".join(text for text, _ in pieces), parts=tuple(parts))
