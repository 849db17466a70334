"""What a session costs: its replayed requests billed with an ideal prompt cache, beside full text and truncation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from optical_memory.budget import Profile
from optical_memory.budget.advice import Bill, bill_full_text, bill_truncation, recommend, request_dollars
from optical_memory.service.dashboard.figures import Figures

POINTS = 240
"""Most points of a curve."""


def costs_data(figures: Figures, profile: Profile, budget: int) -> dict[str, Any]:
    """Return the bills of the requests so far, the way to take, and the curves of money.

    As in :func:`optical_memory.budget.advice.advise` each turn counts as one request, but not instructions, which the
    next request holds, nor a turn after which the context is over the budget: there nothing was asked. The memory's
    bill is of the requests themselves: what stood so in the request before is read from the cache, the rest is
    written to it.
    """
    price = profile.price
    kinds = list(zip(figures.turn, figures.system, figures.over, strict=True))
    system = sum(tokens for tokens, kind, _ in kinds if kind == 1)
    full = bill_full_text(_between([(tokens, over) for tokens, kind, over in kinds if kind != 1]), system, price)
    spoken = _between([(tokens if not kind else 0, over) for tokens, kind, over in kinds if kind != 1])
    short = bill_truncation(spoken, system, price, max(budget - system, 1))
    asked = [place for place, (_, kind, over) in enumerate(kinds) if kind != 1 and not over]
    read = [figures.kept[place] if number else 0 for number, place in enumerate(asked)]
    sent = [figures.tokens[place] for place in asked]
    text = [figures.text[place] for place in asked]
    steps = [request_dollars(price, read=kept, written=tokens - kept) for kept, tokens in zip(read, sent, strict=True)]
    whole = [
        request_dollars(price, read=before, written=tokens - before)
        for before, tokens in zip([0, *text[:-1]], text, strict=False)
    ]
    memory = Bill(name="memory", dollars=sum(steps), requests=len(steps), most=max(sent, default=0))
    name, reason = recommend(full, memory, profile)
    return {
        "requests": len(steps),
        "bills": [asdict(bill) for bill in (full, short, memory)],
        "recommended": name,
        "reason": reason,
        "price": asdict(price),
        "window": profile.context_tokens,
        "read": sum(read),
        "sent": sum(sent),
        "sent_text": sum(text),
        "curves": {
            "turn": _sampled(range(1, len(steps) + 1)),
            "memory": _sampled(_running(steps)),
            "full_text": _sampled(_running(whole)),
        },
    }


def _between(turns: Sequence[tuple[int, int]]) -> list[int]:
    """Return the tokens that each request adds, of turns and whether nothing was asked after them."""
    out, more = [], 0
    for tokens, over in turns:
        more += tokens
        if not over:
            out.append(more)
            more = 0
    return out


def _running(steps: Sequence[float]) -> list[float]:
    total, out = 0.0, []
    for step in steps:
        total += step
        out.append(total)
    return out


def _sampled(values: Sequence[float]) -> list[float]:
    """Return at most :data:`POINTS` of the values, the last among them."""
    if len(values) <= POINTS:
        return list(values)
    places = [round(number * (len(values) - 1) / (POINTS - 1)) for number in range(POINTS)]
    return [values[place] for place in places]
