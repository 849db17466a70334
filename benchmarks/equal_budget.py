"""What is still in reach at the same token budget: optical memory against truncation, a summary and retrieval.

For each question of the BFCL memory set the answer's source sentence is looked for in what the model would be
sent: as text, or on a page shown at a tier that the profile trusts. Presence is an upper bound of what a model can
answer: it says what was kept, not what a model makes of it.

    python -m benchmarks.equal_budget [--budget 2000 4000] [--profile mini]
"""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

from benchmarks import DATA
from optical_memory import OpticalMemory
from optical_memory.budget import count_message, get_profile
from optical_memory.context.sealing import run_of
from optical_memory.excerpt import excerpt
from optical_memory.turns import Turn

FOLDER = DATA / "bfcl_memory"


def load() -> dict[str, tuple[list[dict[str, Any]], list[tuple[str, str]]]]:
    """Return for each scenario its messages and its (question, source sentence) pairs."""
    rows = {name: [json.loads(line) for line in (FOLDER / f"{name}.jsonl").open()] for name in ("questions", "answers")}
    sources = {row["id"]: row["source"] for row in rows["answers"]}
    out: dict[str, tuple[list[dict[str, Any]], list[tuple[str, str]]]] = {}
    for path in sorted(FOLDER.glob("conversation_*.jsonl")):
        scenario = path.stem.removeprefix("conversation_")
        messages = [m for line in path.open() for group in json.loads(line)["question"] for m in group]
        pairs = [
            (row["question"][0][0]["content"], sources[row["id"]])
            for row in rows["questions"]
            if row["scenario"] == scenario and row["id"] in sources
        ]
        out[scenario] = (messages, pairs)
    return out


def squeeze(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().lower()


def sentences(source: Any) -> list[str]:
    texts = source if isinstance(source, list) else [source]
    return [squeeze(part) for text in texts for part in re.split(r"\.\.\.|…", str(text)) if len(squeeze(part)) > 8]


def recent_only(turns: list[Turn], budget: int, profile: Any) -> str:
    kept, cost = [], 0
    for turn in reversed(turns):
        cost += count_message(turn, profile)
        if cost > budget:
            break
        kept.append(turn.text)
    return "\n".join(kept)


def summary(turns: list[Turn], budget: int, profile: Any) -> str:
    characters = sum(len(turn.text) for turn in turns)
    tokens = sum(count_message(turn, profile) for turn in turns)
    kept = excerpt([run_of(turn) for turn in turns], int(characters * min(1.0, budget / max(tokens, 1))))
    return "\n".join(run.text for run in kept)


def retrieval(memory: OpticalMemory, question: str, budget: int, profile: Any) -> str:
    kept, cost = [], 0
    for turn in memory.recall(question, k=20):
        cost += count_message(turn, profile)
        if cost > budget:
            break
        kept.append(turn.text)
    return "\n".join(kept)


def optical(memory: OpticalMemory) -> str:
    context = memory.context()
    texts = [
        piece.page.text if piece.page else piece.text for piece in context.pieces() if piece.kind in ("page", "record")
    ]
    return "\n".join([*texts, *context.facts, *(turn.text for turn in context.recent)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=int, nargs="+", default=[2_000, 4_000])
    parser.add_argument("--profile", default="mini")
    options = parser.parse_args()
    profile = get_profile(options.profile)
    print(
        f"profile {profile.name}; share of {sum(len(p) for _, p in load().values())} questions whose source is in reach"
    )
    for budget in options.budget:
        found = dict.fromkeys(
            ("optical memory", "recent only", "extractive summary", "retrieval", "optical + recall"), 0
        )
        total = text_tokens = 0
        for messages, pairs in load().values():
            with OpticalMemory(profile=profile, budget=budget, renderer="dense") as memory:
                for message in messages:
                    memory.extend([message])
                    memory.context()
                turns = memory.store.turns("main")
                text_tokens += memory.context().text_tokens
                fixed = {
                    "optical memory": squeeze(optical(memory)),
                    "recent only": squeeze(recent_only(turns, budget, profile)),
                    "extractive summary": squeeze(summary(turns, budget, profile)),
                }
                for question, source in pairs:
                    wanted = sentences(source)
                    if not wanted:
                        continue
                    total += 1
                    recalled = squeeze(retrieval(memory, question, budget, profile))
                    for name, text in fixed.items():
                        found[name] += all(part in text for part in wanted)
                    found["retrieval"] += all(part in recalled for part in wanted)
                    found["optical + recall"] += all(
                        part in fixed["optical memory"] or part in recalled for part in wanted
                    )
        print(f"budget {budget:,} of {text_tokens:,} text tokens in five histories:")
        for name, count in found.items():
            print(f"  {name:20} {count / total:6.1%}")


if __name__ == "__main__":
    main()
