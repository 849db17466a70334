"""How much of the ledger of exact values is junk, by rules of the benchmark's own: none of the library's code decides.

Run: python -m benchmarks.keep.junk [--profiles gpt-5 …] [--budgets 8000 16000] [--coding 6] [--airline 20] [--talks 2]

Sessions are replayed, and each distinct entry that any ledger of a session shows is looked at once. It is junk where
one of these holds: it has the letters of an escape (a backslash and n, r, t, u or x); it is an option of a command
(a mark "-" in front); it is a number of up to four digits alone, or one behind "line", a colon or a file; it has marks
and no letter or digit; it is a placeholder ("placeholder", "example", "xxx", "foo", "TODO" and so on, alone or
with its marks); it is the name of an argument or field that nobody says outside of JSON; it stands in no turn.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from benchmarks.keep.sessions import Session, load
from benchmarks.keep.values import leaves, spoken
from optical_memory import OpticalMemory
from optical_memory.errors import BudgetError
from optical_memory.formats import to_turns
from optical_memory.wording import BETWEEN, REPLACED, VALUES

RULES = {
    "escape": re.compile(r".*\\(?:[nrt]|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}).*", re.DOTALL),
    "option": re.compile(r"--?[A-Za-z][\w-]*"),
    "line number": re.compile(r"(?:[Ll]ines?\W*|L|:)?\d{1,4}|.*\.[A-Za-z]{1,4}[:-]\d{1,6}(?:[:-].*)?"),
    "marks": re.compile(r"[\W_]+"),
    "placeholder": re.compile(
        r"\W*(?:placeholder|example|sample|x{3,}|foo|bar|baz|todo|fixme|none|null)\W*", re.IGNORECASE
    ),
}
"""Rules that look at an entry alone."""
HEADS = (*RULES, "name of an argument", "in no turn")


def entries(session: Session, profile: str, budget: int) -> set[str]:
    """Return the distinct values that the ledgers of a session show, without their keys and what they replaced."""
    found: set[str] = set()
    with OpticalMemory(session.id, profile=profile, budget=budget, renderer="dense", draw_ahead=False) as memory:
        for message in session.messages:
            memory.extend([message])
            try:
                context = memory.context()
            except BudgetError:
                continue
            for piece in context.past:
                if piece.text.startswith(VALUES):
                    found |= {*piece.text.partition("\n")[2].split(BETWEEN)}
    return {item.partition(f" ({REPLACED} ")[0] for item in found}


def rule_of(entry: str, said: str, exact: str, names: set[str]) -> str:
    """Return the rule by which an entry is junk; empty where it is a value.

    ``said`` is what turns say outside of JSON, ``exact`` all of it as it came, ``names`` those of arguments and fields.
    """
    forms = (entry, entry.partition(": ")[2])  # a value may stand behind the name that the user gave it
    if not any(form and (form in said or form in exact) for form in forms):
        return "in no turn"
    for name, rule in RULES.items():
        if rule.fullmatch(entry):
            return name
    return "name of an argument" if entry in names and entry not in said else ""


def _texts(session: Session) -> tuple[str, str, set[str]]:
    said, exact, names = [], [], set[str]()
    for message in session.messages:
        (turn,) = to_turns([message], "openai")
        exact.append(turn.text)
        parts = [turn.text, *(call.arguments for call in turn.tool_calls)]
        values = [value for value in map(_parsed, parts) if value is not None]
        for value in values:
            names |= {*_names(value)}
        said.append(spoken(turn) if _parsed(turn.text) is None else "\n".join(leaves(values)))
    return "\n".join(said), "\n".join(exact), names


def _parsed(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict | list) else None


def _names(value: Any) -> Iterator[str]:
    for key, inner in value.items() if isinstance(value, dict) else ((None, inner) for inner in value):
        if key is not None:
            yield key
        if isinstance(inner, dict | list):
            yield from _names(inner)


def main() -> None:
    """Print a Markdown table, and what is junk."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profiles", nargs="+", default=["gpt-5"])
    parser.add_argument("--budgets", nargs="+", type=int, default=[8_000, 16_000])
    parser.add_argument("--coding", type=int, default=6, help="sessions of the coding agent")
    parser.add_argument("--airline", type=int, default=20, help="customer-service conversations")
    parser.add_argument("--talks", type=int, default=2, help="long talks to remember")
    options = parser.parse_args()
    sessions = load(options.coding, options.airline, options.talks)
    texts = {session.id: _texts(session) for session in sessions}
    print(f"| profile, budget, sessions | entries | junk | {' | '.join(HEADS)} |\n|---|{'--:|' * (len(HEADS) + 2)}")
    shown: set[str] = set()
    for profile in options.profiles:
        for budget in options.budgets:
            for kind in dict.fromkeys(session.kind for session in sessions):
                counts: Counter[str] = Counter()
                for session in sessions:
                    for entry in entries(session, profile, budget) if session.kind == kind else ():
                        rule = rule_of(entry, *texts[session.id])
                        counts[rule] += 1
                        shown |= {f"{rule}: {entry}"} if rule else set()
                total, junk = sum(counts.values()), sum(counts.values()) - counts[""]
                cells = " | ".join(str(counts[head]) for head in HEADS)
                share = f"{junk} ({junk / max(total, 1):.1%})"
                print(f"| {profile} {budget:,} {kind} | {total:,} | {share} | {cells} |", flush=True)
    print("\n" + "\n".join(sorted(shown)))


if __name__ == "__main__":
    main()
