"""What contexts keep, session after session, turn by turn: the user's words, exact values, and the room that is used.

Run: python -m benchmarks.keep [--profiles gpt-5 claude …] [--budgets 4000 8000 …] [--coding 2] [--save FILE]

Nothing is drawn. ``--against FILE`` shows the figures of an earlier run beside those of this one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import ROOT
from benchmarks.keep.replay import Kept, Measured, replay
from benchmarks.keep.sessions import Session, load

PROFILES = ("deepseek-ocr", "mini", "gpt-5", "claude-4.7", "gemini-3", "qwen3-vl")
BUDGETS = (4_000, 8_000, 16_000, 32_000)
HEADS = (
    "words text", "words seen", "worst", "asked text", "asked seen", "known text", "known seen", "end used",
    "used", "half empty", "blank", "archived", "raised", "user first", "newest text", "edits text", "ledger",
    "turns/epoch", "most",
)  # fmt: skip
"""Columns of the table. "seen": as text or as legible pixels. "worst": least share of the user's words ever seen.
"half empty": pages of the past that cost over twice what their rows would at the price of a full page. "blank": mean
share of their cells without text. "newest text": tool results that arrive as text. "edits text": replaced texts that
stood as text. "ledger": tokens.
"most": the turns that epochs could have on average if each sealed all but the newest turn and the past never cost more
than the least that it cost in this run (:func:`benchmarks.keep.replay.fewest_epochs`): no plan has longer ones."""


def shares(measured: Measured) -> dict[str, float | None]:
    """Return the figures of a row by their heads; None where there was nothing to measure."""
    words, asked, known = measured.words, measured.asked, measured.known
    values = (
        _part(words.text, words), _seen(words), measured.worst if measured.shown else None,
        _part(asked.text, asked), _seen(asked), _part(known.text, known), _seen(known),
        _share(measured.end, measured.ends), _share(measured.used, measured.shown),
        _share(measured.under_half, measured.pages), _share(measured.blank, measured.pages),
        measured.archived, measured.raised,
        _share(measured.user_first, measured.shown), _share(measured.newest_as_text, measured.newest),
        _share(measured.edits_as_text, measured.edits), _share(measured.listed, measured.shown),
        _share(measured.turns, measured.epochs), _share(measured.turns, measured.fewest),
    )  # fmt: skip
    rounded = (None if value is None else round(value, 3) for value in values)
    return dict(zip(HEADS, rounded, strict=True))


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _part(number: int, kept: Kept) -> float | None:
    return _share(number, kept.text + kept.pixels + kept.gone)


def _seen(kept: Kept) -> float | None:
    return _part(kept.text + kept.pixels, kept)


def cell(value: float | None, head: str) -> str:
    """Return a figure as it stands in the table."""
    if value is None:
        return "–"
    if head in ("archived", "raised", "ledger"):
        return f"{value:,.0f}"
    return f"{value:.1f}" if head in ("turns/epoch", "most") else f"{value:.2f}".removeprefix("0")


def measure(sessions: list[Session], profile: str, budget: int) -> dict[str, dict[str, float | None]]:
    """Return the figures of each kind of session."""
    out: dict[str, Measured] = {}
    for session in sessions:
        out.setdefault(session.kind, Measured()).add(replay(session, profile, budget))
    return {kind: shares(measured) for kind, measured in out.items()}


def report(rows: Mapping[str, Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a Markdown table; with figures of before, ``before → now``."""
    print(f"| profile, budget, sessions | {' | '.join(HEADS)} |\n|---|{'--:|' * len(HEADS)}")
    for name, kinds in rows.items():
        for kind, row in kinds.items():
            old = before.get(name, {}).get(kind)
            cells = []
            for head in HEADS:
                now = cell(row[head], head)
                was = cell(old[head], head) if old and head in old else now
                cells.append(now if was == now else f"{was} → {now}")
            print(f"| {name} {kind} | {' | '.join(cells)} |")


def _commit() -> str:
    named = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return named.stdout.strip()


def main() -> None:
    """Replay, print the table, and keep the figures where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profiles", nargs="+", default=PROFILES)
    parser.add_argument("--budgets", nargs="+", type=int, default=BUDGETS)
    parser.add_argument("--coding", type=int, default=2, help="sessions of the coding agent")
    parser.add_argument("--airline", type=int, default=4, help="customer-service conversations")
    parser.add_argument("--talks", type=int, default=1, help="long talks to remember")
    parser.add_argument("--save", type=Path, help="write the figures as JSON")
    parser.add_argument("--against", type=Path, help="figures of an earlier run to show beside these")
    options = parser.parse_args()
    sessions = load(options.coding, options.airline, options.talks)
    rows: dict[str, dict[str, Any]] = {}
    for profile in options.profiles:
        for budget in options.budgets:
            begin = time.perf_counter()
            rows[f"{profile} {budget:,}"] = measure(sessions, profile, budget)
            print(f"{profile} {budget:,}: {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
    before = json.loads(options.against.read_text("utf-8"))["rows"] if options.against else {}
    report(rows, before)
    if options.save:
        sizes = {"coding": options.coding, "airline": options.airline, "talks": options.talks}
        data = {"commit": _commit(), "sessions": sizes, "rows": rows}
        options.save.write_text(json.dumps(data).replace("}}, ", "}},\n") + "\n", "utf-8")


if __name__ == "__main__":
    main()
