"""At which probability of "not in the memory" that had better be the answer.

    python -m benchmarks.language.threshold ANSWERS.jsonl …

Reads what ``python -m benchmarks.language --answers`` wrote of answers with lines read; for each threshold, how many of
the questions on what is not there are refused, how many of the others, and how many of these are right, as far as the
file knows their answers: what was refused when it was written counts as wrong.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from optical_memory.model.language.model import ABSENT

THRESHOLDS = (1.0, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05)


def main(paths: list[str]) -> None:
    """Print a table of the answers in files."""
    lines = [json.loads(line) for path in paths for line in Path(path).read_text(encoding="utf-8").splitlines()]
    asked = [each for each in lines if each["absence"] is not None]
    missing = [each for each in asked if each["wanted"] == ABSENT]
    there = [each for each in asked if each["wanted"] != ABSENT]
    print("| above | not there, refused | there, refused | there, right |\n|---|---|---|---|")
    for least in THRESHOLDS:
        right = sum(each["right"] for each in there if each["absence"] <= least)
        shares = (f"{sum(each['absence'] > least for each in some)} of {len(some)}" for some in (missing, there))
        print(f"| {least} | {' | '.join(shares)} | {right} of {len(there)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
