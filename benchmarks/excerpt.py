"""How many questions can still be answered from an excerpt of memory conversations, at 8:1 and 32:1; and the time.

    python -m benchmarks.excerpt [FOLDER of bfcl_memory]

A question counts where one of its answers stands in the conversation's text; it survives where one stands in the
excerpt. Compared at the same number of cells: random lines (mean of five draws), the first lines of each turn, the
newest lines.
"""

from __future__ import annotations

import json
import random
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import DATA
from optical_memory.excerpt import MARK, cells, excerpt, lines_of
from optical_memory.formats import to_turns
from optical_memory.renderers.layout import Run
from optical_memory.turns import transcript

FOLDER = DATA / "bfcl_memory"
RATIOS = (8, 32)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    answers = [json.loads(line) for line in (folder / "answers.jsonl").open() if line.strip()]
    totals: dict[tuple[str, int], float] = {}
    questions = 0
    for file in sorted(folder.glob("conversation_*.jsonl")):
        scenario = file.stem.removeprefix("conversation_")
        runs = [run for line in file.open() if line.strip() for run in runs_of(json.loads(line))]
        whole = plain(" ".join(run.text for run in runs))
        asked = [[plain(a) for a in row["ground_truth"]] for row in answers if f"-{scenario}-" in row["id"]]
        asked = [row for row in asked if any(holds(whole, answer) for answer in row)]
        questions += len(asked)
        size = sum(cells(run.text) + cells(run.header) + 3 for run in runs)
        for ratio in RATIOS:
            for name, method in METHODS.items():
                texts = [plain(text) for text in method(runs, size // ratio)]
                kept = [sum(any(holds(text, a) for a in row) for row in asked) for text in texts]
                totals[name, ratio] = totals.get((name, ratio), 0) + sum(kept) / len(kept)
    print(f"{questions} questions whose answer stands in the text")
    print(f"{'':14}" + "".join(f"{ratio:>7}:1" for ratio in RATIOS))
    for name in METHODS:
        print(f"{name:14}" + "".join(f"{totals[name, ratio] / questions:9.1%}" for ratio in RATIOS))
    pages(folder)


def runs_of(conversation: dict[str, list[list[dict[str, str]]]]) -> list[Run]:
    turns = to_turns([message for round_ in conversation["question"] for message in round_])
    return [Run(turn_id=t.id, role=t.role, header=transcript(t)[0], text=transcript(t)[1]) for t in turns]


def plain(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def holds(text: str, answer: str) -> bool:
    return f" {answer} " in f" {text} "


def excerpts(runs: list[Run], capacity: int) -> list[str]:
    return [" ".join(run.text for run in excerpt(runs, capacity))]


def stepwise(runs: list[Run], capacity: int) -> list[str]:
    """Excerpts of excerpts, each half as long as what it is made of, as pages merge with age."""
    while sum(cells(run.text) + cells(run.header) + 3 for run in runs) > capacity:
        runs = excerpt(runs, max(capacity, sum(cells(run.text) + cells(run.header) + 3 for run in runs) // 2))
    return [" ".join(run.text for run in runs)]


def lines_in_order(order: Callable[[list[tuple[int, int]]], list[tuple[int, int]]]) -> Callable[..., list[str]]:
    def method(runs: list[Run], capacity: int) -> list[str]:
        lines = [[line.text for line in lines_of(place, run.text)] for place, run in enumerate(runs)]
        out, room, headed = [], capacity, set()
        for run, line in order([(run, line) for run, texts in enumerate(lines) for line in range(len(texts))]):
            cost = cells(lines[run][line]) + len(MARK) + 2
            cost += 0 if run in headed else cells(runs[run].header) + 3 + len(MARK) + 1
            if cost <= room:
                room -= cost
                headed.add(run)
                out.append(lines[run][line])
        return [" ".join(out)]

    return method


def at_random(runs: list[Run], capacity: int) -> list[str]:
    texts = []
    for seed in range(5):
        draw = random.Random(seed)
        texts += lines_in_order(lambda places, draw=draw: draw.sample(places, len(places)))(runs, capacity)
    return texts


METHODS: dict[str, Callable[[list[Run], int], list[str]]] = {
    "excerpt": excerpts,
    "step by step": stepwise,
    "random lines": at_random,
    "first lines": lines_in_order(lambda places: sorted(places, key=lambda place: (place[1], place[0]))),
    "newest lines": lines_in_order(lambda places: places[::-1]),
}


def pages(folder: Path) -> None:
    """Time the excerpt of eight pages of 6,500 characters."""
    runs = [
        run
        for line in (folder / "conversation_student.jsonl").open()
        if line.strip()
        for run in runs_of(json.loads(line))
    ]
    kept, room = [], 8 * 6500
    for run in runs:
        if room > 0:
            kept.append(run)
            room -= len(run.text)
    seconds = []
    for _ in range(7):
        start = time.process_time()
        excerpt(kept, 6500)
        seconds.append(time.process_time() - start)
    characters = sum(len(run.text) for run in kept)
    print(f"{characters:,} characters in {1e3 * sorted(seconds)[3]:.1f} ms of CPU time (median of 7)")


if __name__ == "__main__":
    main()
