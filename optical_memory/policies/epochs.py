"""Epochs: how long the border between the text tail and the pages of the past stays where it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from optical_memory.budget import Price
from optical_memory.errors import InputError

LEAST_TURNS = 24
"""Turns of growth that the watermarks leave room for where the budget allows it, whatever the cache prices."""

TAIL_SHARE = 0.5
"""Share of the budget that the past leaves to the text tail where nothing asks for more."""
LONG_TURNS, LONG_SHARE, LEAST_GISTS = 22, 0.75, 4
"""Where turns are long, the tail gets room for this many of them, at most this share of the budget, as long as the past
keeps room for this many gists."""
CHEAP_GIST, CHEAP_TURNS, LEAST_CHEAP_GISTS = 200, 16, 18
"""A gist that costs at most this, in tokens, is worth more than a long tail, which then gets room for this many turns,
as long as the past keeps room for this many gists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermarks:
    """The text tail, in tokens: past ``high`` an epoch seals its oldest turns until it is at most ``low``."""

    high: int
    low: int

    def __post_init__(self) -> None:
        """Refuse marks that are out of order."""
        if not 0 <= self.low < self.high:
            raise InputError(f"watermarks need 0 <= low < high, not low {self.low!r}, high {self.high!r}")


def best_turns(price: Price, *, growth: float, rewritten: float) -> float:
    """Return the epoch length, in turns, that costs least; infinite where reading the cache is free.

    A turn adds ``growth`` tokens. With c dollars for a token read from the cache and w for one written to it, an epoch
    of n turns costs, for each turn, these two sums and what does not depend on n:

        c · growth · n / 2             the tail grows from low to high, and all of it is read at every turn;
        (w - c) · rewritten / n        once an epoch the past and the low tail are written instead of read.

    The sum is least where both are equal: n = √(2 (w - c) · rewritten / (c · growth)).
    """
    write = max(price.written, price.fresh)
    if price.cached <= 0 or growth <= 0:
        return math.inf
    return max(1.0, math.sqrt(2 * max(write - price.cached, 0.0) * rewritten / (price.cached * growth)))


def choose_watermarks(
    budget: int,
    price: Price,
    growth: float,
    past: int | None = None,
    *,
    low: int | None = None,
    least_turns: int = LEAST_TURNS,
) -> Watermarks:
    """Choose the watermarks of the text tail.

    ``budget`` is what the past and the tail may cost together, in tokens; ``growth`` the tokens that a turn adds on
    average, as it is shown; ``past`` what the pages cost (default: half of the budget); ``low`` what stays as
    text at an epoch (default: three turns, between a sixteenth and an eighth of the budget).

    The epoch is as long as :func:`best_turns` says, but at least ``least_turns``, and as long as the budget has
    room: the past gives way down to a fifth of the budget. Raises InputError for a budget or growth below 1.
    """
    if budget < 2 or growth <= 0:
        raise InputError(f"a budget of 2 tokens and some growth are needed, not {budget!r} and {growth!r}")
    if past is None:
        past = budget // 2
    if low is None:
        low = int(min(max(3 * growth, budget / 16), budget / 8))
    low = min(low, budget - 1)
    wanted = best_turns(price, growth=growth, rewritten=past + low) * growth
    room = max(budget - low - past, 1)
    floor = max(budget - low - min(past, budget // 5), 1)
    span = min(max(min(wanted, room), least_turns * growth), floor)
    return Watermarks(high=low + max(int(span), 1), low=low)


def tail_room(marks: Watermarks, budget: int, *, growth: float, gist_tokens: int) -> int:
    """Return the tokens that the past leaves to the tail when it is planned.

    The tail grows until the budget is full, so this, more than the high mark, decides how long an epoch lasts. But room
    for the tail is room that the pages lose. They keep half of the budget, unless ``LONG_TURNS`` turns of ``growth``
    (``CHEAP_TURNS`` where gists are cheap) need more than the other half, and enough is left for pages to be of use.
    """
    dear = gist_tokens > CHEAP_GIST
    turns, gists = (LONG_TURNS, LEAST_GISTS) if dear else (CHEAP_TURNS, LEAST_CHEAP_GISTS)
    most = min(budget * LONG_SHARE, budget - gists * gist_tokens)
    room = max(budget * TAIL_SHARE, min(marks.low + turns * growth, most))
    return min(marks.high, int(room))
