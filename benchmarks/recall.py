"""How often search finds the turn that answers a question.

    python -m benchmarks.recall [--json] [--top 5] [--data ../shared/data/bfcl_memory]

155 questions over five long conversations (BFCL v4 memory, Apache-2.0). A conversation is one session of a store
in memory; the question as it stands is the query. A turn answers it when it holds the passage that the data names
as the answer's source (compared letter by letter, without punctuation; passages are quoted loosely, so the
best-matching turn counts). Found: the turn is among the first `top`. Rank: mean reciprocal rank, 0 where not found.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

from rapidfuzz import fuzz
from rich.console import Console
from rich.table import Table

from benchmarks import DATA
from optical_memory.stores import MemoryStore
from optical_memory.turns import Turn

FOLDER = DATA / "bfcl_memory"


def measure(data: Path, top: int) -> dict[str, dict[str, Any]]:
    """Return, for each conversation and for all: questions, share found, mean reciprocal rank, missed, ms a query."""
    sources = {row["id"]: row["source"] for row in _rows(data / "answers.jsonl")}
    questions = _rows(data / "questions.jsonl")
    store = MemoryStore()
    report: dict[str, dict[str, Any]] = {}
    for scenario in sorted({row["scenario"] for row in questions}):
        turns = store.append(scenario, _conversation(data / f"conversation_{scenario}.jsonl"))
        ranks: dict[str, int | None] = {}
        seconds = 0.0
        for row in (row for row in questions if row["scenario"] == scenario):
            query, source = row["question"][0][0]["content"], sources[row["id"]]
            started = time.perf_counter()
            found = [turn.seq for turn in store.search(scenario, query, top)]
            seconds += time.perf_counter() - started
            places = [found.index(seq) for seq in _answers(turns, source) if seq in found]
            ranks[f"{query} <- {source}"] = min(places, default=None)
        report[scenario] = _summary(ranks, seconds)
    store.close()
    total = sum(row["questions"] for row in report.values())
    report["all"] = {
        "questions": total,
        "found": sum(row["found"] * row["questions"] for row in report.values()) / total,
        "rank": sum(row["rank"] * row["questions"] for row in report.values()) / total,
        "ms": sum(row["ms"] * row["questions"] for row in report.values()) / total,
        "missed": [question for row in report.values() for question in row["missed"]],
    }
    return report


def _summary(ranks: dict[str, int | None], seconds: float) -> dict[str, Any]:
    return {
        "questions": len(ranks),
        "found": sum(rank is not None for rank in ranks.values()) / len(ranks),
        "rank": sum(1 / (rank + 1) for rank in ranks.values() if rank is not None) / len(ranks),
        "ms": 1000 * seconds / len(ranks),
        "missed": [question for question, rank in ranks.items() if rank is None],
    }


def _conversation(path: Path) -> list[Turn]:
    contents = [message["content"] for row in _rows(path) for group in row["question"] for message in group]
    return [Turn(id=str(number), role="user", text=text) for number, text in enumerate(contents)]


def _answers(turns: list[Turn], source: str) -> set[int]:
    scores = {turn.seq: fuzz.partial_ratio(_letters(source), _letters(turn.text)) for turn in turns}
    return {seq for seq, score in scores.items() if score >= max(scores.values()) - 0.01}


def _letters(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=FOLDER)
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args()
    report = measure(options.data, options.top)
    if options.json:
        print(json.dumps(report))
        return
    table = Table("conversation", "questions", f"found in top {options.top}", "reciprocal rank", "ms")
    for name, row in report.items():
        table.add_row(name, str(row["questions"]), f"{row['found']:.1%}", f"{row['rank']:.3f}", f"{row['ms']:.1f}")
    console = Console()
    console.print(table)
    for question in report["all"]["missed"]:
        console.print("missed:", question, markup=False)


if __name__ == "__main__":
    main()
