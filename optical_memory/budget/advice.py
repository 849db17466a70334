"""Advice: what a session costs as full text, truncated, and with this memory, and which to take. Pure.

All three are billed for the same turns with an ideal prompt cache: what stands as it stood in the request before is
read from it, the rest is written to it. Output costs the same each way and is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from optical_memory.budget.profile import Price, Profile

BESIDE = 40
"""Tokens of text (label, facts) beside a page."""
CLEAR = 0.95
"""The memory is recommended for money alone where it costs less than this share of full text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a memory lays a session out, in tokens.

    ``budget`` is what a request may hold beside the system prompt. The text tail grows to ``high``; an epoch seals it
    down to ``low``, each token of text becoming ``rate`` tokens of page (1 and more: no page pays), and the past keeps
    to what the budget leaves.
    """

    budget: int
    high: int
    low: int
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What one way of sending a session costs: dollars of input, requests, tokens of the largest request."""

    name: str
    dollars: float
    requests: int
    most: int
    lost: int = 0
    """Tokens of history that no request holds any more, as text or as pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What to do with a session so far, what each way would have cost, and why."""

    recommended: str
    reason: str
    full_text: Bill
    truncation: Bill
    memory: Bill
    context_tokens: int
    """The model's window."""

    def explain(self) -> str:
        """Return a short table and the reason."""
        rows = [f"{'':<12}{'$ input':>10}{'largest request':>18}{'history lost':>14}"]
        for bill in (self.full_text, self.truncation, self.memory):
            rows.append(f"{bill.name:<12}{bill.dollars:>10.4f}{bill.most:>18,}{bill.lost:>14,}")
        return "\n".join([*rows, f"{self.recommended}: {self.reason}"])


def page_rate(profile: Profile, text_rate: float, trusted: Iterable[str]) -> float:
    """Return what a token of text costs as a page at the cheapest of the ``trusted`` tiers, text beside it included.

    ``text_rate`` is tokens for each character. 1 where no page is cheaper than its text.
    """
    text = text_rate * profile.grid.capacity
    costs = [(profile.tier(name).tokens + BESIDE) / max(text, 1) for name in trusted]
    return min([1.0, *costs])


def advise(turns: Sequence[int], *, system: int, profile: Profile, shape: Shape) -> Advice:
    """Return what each way would have cost for a session so far, and which to take from here.

    Args:
        turns: tokens of each turn as text, oldest first; each is taken to be one request.
        system: tokens of instructions and tools, which every request holds.
        profile: the target model, for its price and window.
        shape: how the memory lays the session out.

    """
    full = bill_full_text(turns, system, profile.price)
    short = bill_truncation(turns, system, profile.price, shape.budget)
    memory = bill_memory(turns, system, profile.price, shape)
    name, reason = recommend(full, memory, profile)
    return Advice(
        recommended=name,
        reason=reason,
        full_text=full,
        truncation=short,
        memory=memory,
        context_tokens=profile.context_tokens,
    )


def recommend(full: Bill, memory: Bill, profile: Profile) -> tuple[str, str]:
    """Return which of two ways to take with a target model, "memory" or "full text", and why."""
    if full.most > profile.context_tokens:
        return "memory", f"full text needs {full.most:,} tokens; the window holds {profile.context_tokens:,}"
    if not profile.price.fresh:
        return "memory", f"it costs no money; {memory.most:,} tokens are read faster than {full.most:,}"
    if memory.dollars < CLEAR * full.dollars:
        return "memory", f"it costs {memory.dollars / full.dollars:.0%} of full text"
    share = memory.dollars / max(full.dollars, 1e-12)
    return "full text", f"it fits, and the memory would cost {share:.0%} of it"


def bill_full_text(turns: Sequence[int], system: int, price: Price) -> Bill:
    """Return the bill of sending every turn as text, always."""
    dollars, total = 0.0, system
    for number, tokens in enumerate(turns):
        read = total if number else 0
        total += tokens
        dollars += request_dollars(price, read=read, written=total - read)
    return Bill(name="full text", dollars=dollars, requests=len(turns), most=total)


def bill_truncation(turns: Sequence[int], system: int, price: Price, budget: int) -> Bill:
    """Return the bill of keeping the newest turns: when the budget is full the older half of it is dropped."""
    dollars, kept, lost, most = 0.0, list[int](), 0, system
    for number, tokens in enumerate(turns):
        read = system + sum(kept) if number else 0
        kept.append(tokens)
        if sum(kept) > budget:
            while len(kept) > 1 and sum(kept) > budget / 2:
                lost += kept.pop(0)
            read = system if number else 0
        total = system + sum(kept)
        most = max(most, total)
        dollars += request_dollars(price, read=read, written=total - read)
    return Bill(name="truncation", dollars=dollars, requests=len(turns), most=most, lost=lost)


def bill_memory(turns: Sequence[int], system: int, price: Price, shape: Shape) -> Bill:
    """Return the bill of this memory: a tail of text, and pages that an epoch adds and draws smaller."""
    dollars, past, tail, most = 0.0, 0.0, list[int](), system
    for number, tokens in enumerate(turns):
        read = system + past + sum(tail) if number else 0.0
        tail.append(tokens)
        if len(tail) > 1 and (sum(tail) > shape.high or past + sum(tail) > shape.budget):
            sealed = 0
            while len(tail) > 1 and sum(tail) > shape.low:
                sealed += tail.pop(0)
            room = max(shape.budget - max(shape.high, sum(tail)), 0)
            past = min(past + sealed * shape.rate, room)  # older pages are drawn smaller, then merge
            read = system if number else 0.0
        total = system + past + sum(tail)
        most = max(most, math.ceil(total))
        dollars += request_dollars(price, read=read, written=total - read)
    return Bill(name="memory", dollars=dollars, requests=len(turns), most=most)


def payback(price: Price, *, sealed: int, pages: int, rest: int) -> float:
    """Return after how many further requests it pays to seal ``sealed`` tokens of text as ``pages`` tokens of pages.

    ``rest`` tokens of text follow them and must be written to the cache anew, instead of being read from it. From then
    on each request, the one that seals too, reads ``sealed - pages`` tokens less:

        (pages + rest) · (written - cached) / ((sealed - pages) · cached) - 1

    Infinite where pages save nothing, or where reading the cache is free but writing it is not; 0 where it pays at
    once.
    """
    saved = (sealed - pages) * price.cached
    cost = (pages + rest) * max(max(price.written, price.fresh) - price.cached, 0.0)
    if sealed <= pages:
        return math.inf
    if cost <= 0:
        return 0.0
    return max(cost / saved - 1, 0.0) if saved > 0 else math.inf


def seal_pays(
    price: Price, *, sealed: int, pages: int, rest: int, requests: int, tokens: int = 0, window: int | None = None
) -> bool:
    """Return whether to seal now: it pays within as many requests as there were, or the window demands it.

    ``requests`` is how many the session had so far, which is what is known of how many will come. ``tokens`` is what
    the next request holds unsealed and ``window`` the most it may hold; None where nothing demands it.
    """
    if window is not None and tokens > window:
        return True
    return payback(price, sealed=sealed, pages=pages, rest=rest) <= requests


def request_dollars(price: Price, *, read: float, written: float) -> float:
    """Return the dollars of one request's input: tokens ``read`` from the cache, and ``written`` to it."""
    at = price.at(math.ceil(read + written))
    return (read * at.cached + written * max(at.written, at.fresh)) / 1e6
