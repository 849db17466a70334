"""The arithmetic of a view: what fits, what is sealed, what room the past has. Pure: numbers in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from optical_memory.budget import Profile
from optical_memory.context.epoch import Totals
from optical_memory.policies.epochs import LONG_SHARE, Watermarks, choose_watermarks, tail_room


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How a budget and a request's limits are divided. Fractions of the budget, of the images, of the bytes."""

    inline: float = 1 / 16
    """A result that costs more is shown as page images when it arrives,"""
    file: float = 1 / 8
    """one with the text of a file, which is edited from it, where it costs more than this."""
    paced: int = 18
    """Where the tail has room for so many of the session's turns as plain text, each result is text that costs"""
    worth: int = 4
    """at most so many of them; where it has room for fewer, that limit shrinks by the cube, down to the two above."""
    begun: float = 1.5
    """A session begins as if ``paced`` turns had come before, this much longer than fit."""
    said: float = 1 / 4
    """A user's turn that costs more is shown as its request, with the rest folded."""
    group: float = 1 / 4
    """All pages of one group of turns cost at most this much of the budget, and are at most so many of the images."""
    label: float = 1 / 200
    """Exact values beside a page of a large result in the tail cost at most this much,"""
    label_least: int = 40
    """or this many tokens where that is more."""
    past_least: float = 1 / 8
    """The past gets this much where the tail leaves it."""
    words: float = 1 / 8
    """The user's own words in the past are text up to this share of the budget,"""
    words_least: int = 600
    """or this many tokens where that is more,"""
    words_of_past: float = 1 / 2
    """and up to this share of what the past has."""
    values: float = 1 / 24
    """Exact values of the past stand as text up to this share of the budget,"""
    values_of_past: float = 1 / 3
    """and up to this share of what the user's words leave to the past."""
    text_gist: float = 1 / 4
    """Where no page fits, the gist of what is archived is text up to this share of the budget."""
    past_images: float = 1 / 2
    """Images, and bytes, that the past may take; the tail has the rest."""
    lead: int = 2
    """The next epoch is planned so many turns before what is free is at the low watermark."""
    sketches: tuple[int, ...] = (8, 2)
    """So many turns before that it is sketched: the first is done in time, the last is most like what comes."""
    far_over: int = 4
    """While a long history is read in, the tail is sealed whenever it is this many budgets long."""


SHARES = Shares()
LOW_AT_MOST = 8
"""The low watermark is at most the budget by this (:func:`optical_memory.policies.epochs.choose_watermarks`)."""
LEAST_TOKENS = 64
"""Least that the limits of one group are set to, in tokens, however small the budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one group of turns: tokens that a turn may cost as text, tokens and images of all its pages.

    ``label_tokens`` is what the exact values beside one page may cost.
    """

    inline_tokens: int
    file_tokens: int
    said_tokens: int
    group_tokens: int
    group_images: int
    label_tokens: int
    budget: int
    shares: Shares = SHARES

    @classmethod
    def of(cls, budget: int, profile: Profile, shares: Shares = SHARES) -> Limits:
        """Return the limits of a budget."""
        return cls(
            inline_tokens=max(int(budget * shares.inline), LEAST_TOKENS),
            file_tokens=max(int(budget * shares.file), LEAST_TOKENS),
            said_tokens=max(int(budget * shares.said), LEAST_TOKENS),
            group_tokens=max(int(budget * shares.group), LEAST_TOKENS),
            group_images=int(profile.max_images * shares.group),
            label_tokens=max(int(budget * shares.label), shares.label_least),
            budget=budget,
            shares=shares,
        )

    def as_text(self, before: Totals) -> int:
        """Return the tokens that a result may cost as text after turns with these sums, if more than its share.

        The shorter the session's turns are, the longer an epoch lasts, and the more of the tail may be text. What
        counts is the exact text of all turns so far, so that the limit is the same wherever an epoch began.
        """
        room = max(LONG_SHARE * (self.budget - before.system_tokens), 1.0)
        said = max(before.text_tokens - before.system_tokens, 0)
        pace = (self.shares.begun * room + said) / (self.shares.paced + before.turns)
        held = min(room / (self.shares.paced * pace), 1.0)
        return int(self.shares.worth * pace * held * held * held)


class Sized(Protocol):
    """What is needed of a group of turns."""

    @property
    def tokens(self) -> int:
        """What it costs."""

    @property
    def images(self) -> int:
        """Its page images."""

    @property
    def open(self) -> bool:
        """Whether a call still waits for its result."""

    @property
    def turns(self) -> Sequence[object]:
        """The turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What a view holds now, in tokens: instructions, the past with its header, and the groups of the tail.

    ``budget`` is what all of it may cost, what is reserved for tool schemas taken off.
    """

    budget: int
    profile: Profile
    system: int
    past: int
    tail: int
    groups: Sequence[Sized]
    totals: Totals
    tail_turns: int
    gist_tokens: int

    @property
    def tokens(self) -> int:
        """The whole context."""
        return self.system + self.past + self.tail

    @property
    def growth(self) -> float:
        """Tokens that a turn has added on average, as it was shown, in the whole session so far."""
        turns = self.totals.turns + self.tail_turns
        return max((self.totals.shown_tokens + self.tail) / max(turns, 1), 1.0)

    @property
    def images(self) -> int:
        """Page images in the tail."""
        return sum(group.images for group in self.groups)

    def watermarks(self) -> Watermarks:
        """Return the watermarks of the tail."""
        return choose_watermarks(max(self.budget - self.system, 2), self.profile.price, self.growth)

    def fits(self, shares: Shares = SHARES) -> bool:
        """Whether the prefix may stay: nothing is sealed before the budget is full, or the images are too many."""
        too_many = self.images > self.profile.max_images * shares.past_images and len(self.groups) > 1
        return self.tokens <= self.budget and not too_many

    def planned_at(self, shares: Shares = SHARES) -> int:
        """Return the tokens that are free when the next epoch is planned: the low watermark, and some turns."""
        low = self.watermarks().low
        return max(low, int(min(low + shares.lead * self.growth, (self.budget - self.system) / LOW_AT_MOST)))

    def sketches(self, shares: Shares = SHARES) -> int:
        """Count the sketches of the next epoch that should have been begun by now."""
        if not self.groups:
            return 0
        left = (self.budget - self.tokens - self.planned_at()) / self.growth
        return sum(left <= turns for turns in shares.sketches)

    def upto(self, count: int) -> Sizes:
        """Return the sizes as they were when the tail had only its first ``count`` groups."""
        groups = self.groups[:count]
        tail, turns = sum(group.tokens for group in groups), sum(len(group.turns) for group in groups)
        return replace(self, groups=groups, tail=tail, tail_turns=turns)

    def basis(self) -> tuple[int, int] | None:
        """Return how many of the groups the next epoch is planned from, and the tokens that were free after them.

        An epoch is planned from the tail as it stood when what was free first came down to :meth:`planned_at`. What
        comes until the budget is full stays text. So an epoch can be prepared before it is due, and it follows from
        the turns alone whether it was or not. None: the tail is not that long yet, or more came at once than an
        epoch so planned has room for.
        """
        free = self.budget - self.system - self.past
        for count, group in enumerate(self.groups, 1):
            free -= group.tokens
            if group.open or free < 0:
                return None
            if free > self.budget // LOW_AT_MOST:
                continue
            before = self.upto(count)
            if free <= before.planned_at():
                sealed = sum(group.tokens for group in before.groups[: before.groups_to_seal(free)])
                return (count, free) if sealed and self.tail - sealed <= before.kept(self.system) else None
        return None

    def groups_to_seal(self, free: int = 0, shares: Shares = SHARES) -> int:
        """Count the oldest groups to seal so that the rest is at the low watermark; never what is newest.

        More than ``free`` tokens will come before the epoch begins, and stay.
        """
        low, most = max(self.watermarks().low - free, 0), int(self.profile.max_images * shares.group)
        left, images, count = self.tail, self.images, 0
        for group in self.groups if free else self.groups[:-1]:
            if (left <= low and images <= most) or group.open:
                break
            left -= group.tokens
            images -= group.images
            count += 1
        return count

    def kept(self, system: int) -> int:
        """Return the tokens that the past leaves to the tail, beside ``system`` tokens."""
        free = max(self.budget - system, 2)
        marks = choose_watermarks(free, self.profile.price, self.growth)
        return tail_room(marks, free, growth=self.growth, gist_tokens=self.gist_tokens)

    def room_for_past(self, system: int, tail: int, shares: Shares = SHARES) -> int:
        """Return the tokens for the past, its header included, beside ``system`` and ``tail`` tokens that stay."""
        room = self.budget - system - max(tail, self.kept(system))
        return max(room, min(self.budget - system - tail, int(self.budget * shares.past_least)))
