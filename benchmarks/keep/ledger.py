"""How large the ledger of exact values should be: what it gives as text, against what it costs the pages.

Run: python -m benchmarks.keep.ledger [--profiles gpt-5 …] [--budget 16000] [--coding 4] [--shares 0.02 …]

For each share of the budget: the ledger's tokens in all and for each page of the past; of the values that the next turn
of the model uses and that came before it, those that stood as text, and as text or legible pixels; the same of all
values so far.
"""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager
from dataclasses import replace
from unittest.mock import patch

from benchmarks.keep.__main__ import cell, shares
from benchmarks.keep.replay import Measured, replay
from benchmarks.keep.sessions import Session, load
from optical_memory.context import plan, planning

SHARES = (0.0, 0.02, 0.04, 0.0625, 0.09, 0.125, 0.18, 0.25)
HEADS = ("asked text", "asked seen", "known text", "known seen", "turns/epoch")


def ledger_of(share: float) -> AbstractContextManager[plan.Shares]:
    """Let ledgers take this share of the budget, up to half of what the past has."""
    return patch.object(planning, "SHARES", replace(plan.SHARES, values=share, values_of_past=0.5))


def measure(sessions: list[Session], profile: str, budget: int, share: float) -> Measured:
    """Return the sums over all sessions with ledgers of this size."""
    measured = Measured()
    with ledger_of(share):
        for session in sessions:
            measured.add(replay(session, profile, budget))
    return measured


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profiles", nargs="+", default=["gpt-5", "claude-4.7"])
    parser.add_argument("--budget", type=int, default=16_000)
    parser.add_argument("--coding", type=int, default=4, help="sessions of the coding agent")
    parser.add_argument("--airline", type=int, default=0, help="customer-service conversations")
    parser.add_argument("--shares", nargs="+", type=float, default=SHARES)
    options = parser.parse_args()
    sessions = load(options.coding, options.airline, 0)
    print(f"| profile, share | tokens | a page | {' | '.join(HEADS)} |\n|---|{'--:|' * (len(HEADS) + 2)}", flush=True)
    for profile in options.profiles:
        for share in options.shares:
            measured = measure(sessions, profile, options.budget, share)
            figures = shares(measured)
            row = " | ".join(cell(figures[head], head) for head in HEADS)
            tokens, pages = measured.listed / max(measured.shown, 1), measured.pages / max(measured.shown, 1)
            print(f"| {profile} {share:.3g} | {tokens:,.0f} | {tokens / max(pages, 1):,.0f} | {row} |", flush=True)


if __name__ == "__main__":
    main()
