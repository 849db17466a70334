"""Print each rule for the price of an image against what others measured.

Run: python -m benchmarks.image_tokens

The measurements are those of huggingface.co/datasets/JOHNISKING/image-token-cost (CC BY 4.0), as read on 2026-11-28.
Its figures for Claude hold the prompt too: 77 tokens on Claude 5.5 and 65 on 4.5, the same at every size, which are
taken off. So do Gemini's, by an amount that cannot be told.
"""

from __future__ import annotations

import csv
from pathlib import Path

from optical_memory.budget import get_profile

DATA = Path(__file__).parent / "measured" / "image_tokens.csv"
COLUMNS = (  # column, heading, model, setting, tokens of the prompt
    ("gpt6_auto", "GPT-6, no setting", "gpt-6-astra", None, 0),
    ("gpt6_high", "GPT-6, high", "gpt-6-astra", "high", 0),
    ("gpt55_auto", "GPT-5.5, no setting", "gpt-5.5", None, 0),
    ("claude55", "Claude 5.5", "claude-opus-5-5", None, 77),
    ("claude45", "Claude 4.5", "claude-haiku-4-5", None, 65),
    ("gemini", "Gemini 3", "gemini-3.8-flash", None, 0),
)


def main() -> None:
    """Print a Markdown table: measured, and what is counted where that differs."""
    lines = [line for line in DATA.read_text("utf-8").splitlines() if not line.startswith("#")]
    print(f"| image | {' | '.join(heading for _, heading, *_ in COLUMNS)} |")
    print("|" + "---|" * (len(COLUMNS) + 1))
    for row in csv.DictReader(lines):
        width, height = int(row["width"]), int(row["height"])
        cells = []
        for column, _, model, setting, prompt in COLUMNS:
            billed = int(row[column]) - prompt
            counted = get_profile(model).image_tokens(width, height, setting)
            cells.append(f"{billed:,}" if counted == billed else f"{billed:,} (counted {counted:,})")
        print(f"| {width}×{height} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
