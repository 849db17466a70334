"""What the prompt costs under different epoch lengths, on real sessions at published cache prices.

Run: python -m benchmarks.epochs [--sessions FILE] [--budget 16000]

Each turn sends the whole context. What stands as it stood in the request before is read from the prompt cache, the
rest is written to it. The past is planned by the default policy, so that the prefix breaks at the first page that
changed; turns of over 1,000 tokens are page images from their arrival.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks import DATA
from optical_memory.budget import Profile, count_message, get_profile
from optical_memory.policies import BudgetedPolicy, PageInfo, Watermarks, choose_watermarks, legible_tiers
from optical_memory.policies.epochs import tail_room
from optical_memory.policies.ladder import tier_costs
from optical_memory.turns import ToolCall, Turn

SESSIONS = DATA / "coding_agent/sessions.jsonl"
BESIDE = 40
"""Tokens of text (label, facts) beside a page."""
LARGE = 1_000
"""Turns of more tokens are page images from their arrival."""


@dataclass(slots=True)
class Bill:
    """What a strategy cost: dollars, and sums over turns."""

    dollars: float = 0.0
    turns: int = 0
    epochs: int = 0
    tokens: int = 0
    past: int = 0
    most: int = 0

    def request(self, profile: Profile, *, read: int, written: int) -> None:
        """Add one request."""
        price = profile.price
        self.dollars += (read * price.cached + written * max(price.written, price.fresh)) / 1e6
        self.turns += 1
        self.tokens += read + written
        self.most = max(self.most, read + written)


@dataclass(slots=True)
class Session:
    """One session as its target model is billed for it: tokens of the prompt, and (tokens, characters) of turns."""

    system: int
    turns: list[tuple[int, int]] = field(default_factory=list)


def load(path: Path, profile: Profile) -> list[Session]:
    """Read sessions in OpenAI format."""
    out = []
    for line in path.open():
        session = Session(system=0)
        for message in json.loads(line)["messages"]:
            turn = as_turn(message)
            tokens = count_message(turn, profile)
            if turn.role in ("system", "developer"):
                session.system += tokens
            else:
                session.turns.append((tokens, len(turn.text) + sum(len(call.arguments) for call in turn.tool_calls)))
        out.append(session)
    return out


def as_turn(message: dict[str, Any]) -> Turn:
    """Return a message as a turn; only what is billed matters here."""
    calls = [
        ToolCall(id=call["id"], name=call["function"]["name"], arguments=call["function"]["arguments"])
        for call in message.get("tool_calls") or ()
    ]
    return Turn(id="x", role=message["role"], text=str(message.get("content") or ""), tool_calls=tuple(calls))


def shown(tokens: int, characters: int, profile: Profile) -> int:
    """Return what a turn costs as it is shown on arrival."""
    if tokens <= LARGE:
        return tokens
    pages = -(-characters // profile.grid.capacity)
    return min([tokens, *(pages * (tier.tokens + BESIDE) for tier in legible_tiers(profile))])


def full_text(session: Session, profile: Profile, bill: Bill) -> None:
    """Send all turns as text, always."""
    prefix, fresh = 0, session.system
    for tokens, _ in session.turns:
        bill.request(profile, read=prefix, written=fresh + tokens)
        prefix, fresh = prefix + fresh + tokens, 0


def with_pages(session: Session, profile: Profile, budget: int, turns: int | None, bill: Bill) -> None:
    """Send the past as pages, and a tail of text. Epochs last ``turns`` turns (None: as the watermarks say)."""
    past: list[PageInfo] = []
    tail: list[tuple[int, int, int]] = []  # (shown, tokens, characters)
    sent = [session.system]
    cached = False
    for tokens, characters in session.turns:
        tail.append((shown(tokens, characters, profile), tokens, characters))
        growth = max(sum(cost for cost, _, _ in tail) / len(tail), 1.0)
        marks = choose_watermarks(budget - session.system, profile.price, growth)
        if turns is not None:
            marks = Watermarks(high=marks.low + int(turns * growth), low=marks.low)
        used = session.system + sum(p.costs[p.tier or ""] for p in past) + sum(cost for cost, _, _ in tail)
        moved = len(tail) > 1 and (sum(cost for cost, _, _ in tail) > marks.high or used > budget)
        if moved:
            gist = profile.gist.tokens + BESIDE
            room = tail_room(marks, budget, growth=growth, gist_tokens=gist) if not turns else marks.high
            past, kept = epoch(past, tail, marks.low, profile, budget - session.system, room, bill.turns)
            tail = tail[kept:]
            bill.epochs += 1
        now = [session.system, *(hash((p.id, p.tier)) for p in past)]
        same = next((i for i, pair in enumerate(zip(sent, now, strict=False)) if pair[0] != pair[1]), len(now))
        pages = [p.costs[p.tier or ""] for p in past]
        total = session.system + sum(pages) + sum(cost for cost, _, _ in tail)
        read = session.system + sum(pages[: same - 1]) if moved else total - tail[-1][0]
        bill.request(profile, read=read if cached else 0, written=total - (read if cached else 0))
        bill.past += sum(pages)
        sent, cached = now, True


def epoch(
    past: Sequence[PageInfo],
    tail: Sequence[tuple[int, int, int]],
    low: int,
    profile: Profile,
    budget: int,
    room: int,
    stamp: int,
) -> tuple[list[PageInfo], int]:
    """Seal the oldest turns of the tail down to ``low`` and plan the past, which leaves ``room`` to the tail.

    Return it and how many turns were sealed.
    """
    left, count = sum(cost for cost, _, _ in tail), 0
    while left > low and count < len(tail) - 1:
        left -= tail[count][0]
        count += 1
    characters = sum(size for _, _, size in tail[:count])
    tokens = sum(size for _, size, _ in tail[:count])
    capacity = profile.grid.capacity
    sizes = [min(capacity, characters - start) for start in range(0, characters, capacity)]
    pages = list(past)
    for number, size in enumerate(sizes):
        text = max(tokens * size // characters, 1)
        costs = tier_costs(legible_tiers(profile), text, BESIDE) or {"text": text}
        pages.append(PageInfo(id=f"{stamp}.{number}", level=0, costs=costs, text_tokens=text))
    gist = profile.gist.tokens + BESIDE
    plan = BudgetedPolicy().plan(pages, now=0.0, budget=max(budget - max(left, room), 0), gist_tokens=gist)
    first, gone = {run[0] for run in plan.merges}, {page for run in plan.merges for page in run} | set(plan.archived)
    out = []
    for page in pages:
        if page.id in first:
            out.append(PageInfo(id=f"g{page.id}", level=page.level + 1, costs={"gist": gist}, tier="gist"))
        elif page.id not in gone:
            out.append(replace(page, tier=plan.tiers[page.id]))
    return out, count


def main() -> None:
    """Print one table for each target model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=Path, default=SESSIONS)
    parser.add_argument("--budget", type=int, default=16_000)
    parser.add_argument("--profiles", nargs="+", default=["claude", "claude-4.7", "gpt-5", "gemini-3"])
    arguments = parser.parse_args()
    for name in arguments.profiles:
        profile = get_profile(name)
        sessions = load(arguments.sessions, profile)
        bills: dict[str, Bill] = {"full text": Bill()}
        for session in sessions:
            full_text(session, profile, bills["full text"])
        for label, turns in [("chosen", None), *((f"{n} turns", n) for n in (1, 5, 10, 20, 40, 80))]:
            bills[label] = Bill()
            for session in sessions:
                with_pages(session, profile, arguments.budget, turns, bills[label])
        report(profile, arguments.budget, bills)


def report(profile: Profile, budget: int, bills: dict[str, Bill]) -> None:
    """Print what each strategy cost."""
    price = profile.price
    print(f"\n{profile.name}: budget {budget:,} tokens; $ {price.fresh}/{price.cached}/{price.written} for a million")
    print("tokens fresh/read/written. Means over turns, in tokens.\n")
    heads = ("border moves", "$/1,000 turns", "of full text", "turns/epoch", "context", "of it pages", "most")
    print(" ".join(f"{head:>13}" for head in heads))
    base = bills["full text"].dollars
    for label, bill in bills.items():
        cells = (
            label,
            f"{bill.dollars / bill.turns * 1000:.2f}",
            f"{bill.dollars / base:.0%}" if base else "-",
            f"{bill.turns / bill.epochs:.1f}" if bill.epochs else "-",
            f"{bill.tokens / bill.turns:,.0f}",
            f"{bill.past / bill.turns:,.0f}",
            f"{bill.most:,}",
        )
        print(" ".join(f"{cell:>13}" for cell in cells))


if __name__ == "__main__":
    main()
