"""What full text, truncation and this memory cost on recorded sessions, by what reading the cache costs.

Run: python -m benchmarks.advice [--profile claude-opus-5-5]

The bills are those of ``optical_memory.budget.advice``: input alone, an ideal prompt cache, each turn one request, and
the price of writing to the cache 125 % of fresh input. Chat is all airline conversations in a row.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks import DATA
from optical_memory.budget import Price, Profile, count_message, get_profile
from optical_memory.budget.advice import Shape, bill_full_text, bill_memory, bill_truncation, page_rate
from optical_memory.formats import to_turns
from optical_memory.policies import choose_watermarks, legible_tiers

READS = (0.10, 0.05, 0.025)
BUDGETS = (16_000, 32_000)


def sessions(file: Path, profile: Profile) -> Iterator[list[int]]:
    """Yield the tokens of the turns of each session."""
    for line in file.read_text("utf-8").splitlines():
        yield [count_message(turn, profile) for turn in to_turns(json.loads(line)["messages"], "openai")]


def shape(turns: list[int], profile: Profile, budget: int) -> Shape:
    """Return how the memory lays a session out: the watermarks that its policy chooses."""
    marks = choose_watermarks(budget, profile.price, sum(turns) / len(turns))
    trusted = [tier.name for tier in legible_tiers(profile)]
    return Shape(budget=budget, high=marks.high, low=marks.low, rate=page_rate(profile, TEXT_RATE, trusted))


TEXT_RATE = 0.3
"""Tokens for each character."""


def priced(profile: Profile, read: float) -> Profile:
    """Return the profile with a price of 1 fresh, ``read`` from the cache and 1.25 to it."""
    return replace(profile, price=Price(fresh=1.0, cached=read, written=1.25))


def pays_from(turns: list[int], profile: Profile, budget: int) -> str:
    """Return from how many tokens of history on the memory costs less than full text has until then."""
    for end in range(10, len(turns), 5):
        so_far = turns[:end]
        plan = shape(so_far, profile, budget)
        if bill_memory(so_far, 0, profile.price, plan).dollars < bill_full_text(so_far, 0, profile.price).dollars:
            return f"{sum(so_far):,}"
    return "never"


def main() -> None:
    """Print the share of full text's cost, and from where on the memory pays on chat."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="claude-opus-5-5")
    base = get_profile(parser.parse_args().profile)
    coding = list(sessions(DATA / "coding_agent/sessions.jsonl", base))
    chat = [tokens for session in sessions(DATA / "tau_bench/airline.jsonl", base) for tokens in session][:3_000]
    print(f"{base.name}: {len(coding)} coding sessions, {sum(map(len, coding)):,} turns\n")
    heads = ("budget", "cache read", "memory / full text", "truncation / full text", "chat: pays from")
    print(f"| {' | '.join(heads)} |")
    print("|" + "---|" * len(heads))
    for budget in BUDGETS:
        for read in READS:
            profile = priced(base, read)
            full = sum(bill_full_text(turns, 0, profile.price).dollars for turns in coding)
            short = sum(bill_truncation(turns, 0, profile.price, budget).dollars for turns in coding)
            ours = sum(bill_memory(t, 0, profile.price, shape(t, profile, budget)).dollars for t in coding)
            cells = (f"{budget:,}", f"{read:.1%}", f"{ours / full:.0%}", f"{short / full:.0%}")
            print(f"| {' | '.join(cells)} | {pays_from(chat, profile, budget)} |", flush=True)


if __name__ == "__main__":
    main()
