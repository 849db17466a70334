"""Whether the bundled model finds the right line for words, and says so where none has them."""

from __future__ import annotations

import random

from benchmarks.mini.pages import MINI, cell
from benchmarks.mini.text import listing
from optical_memory.model.mini.model import MiniModel
from optical_memory.renderers import DenseRenderer, png
from optical_memory.renderers.base import Grid
from optical_memory.renderers.layout import Run, lay_out


def finding(model: MiniModel, pages: int, seed: int = 7) -> list[dict[str, object]]:
    """Return how often the right line is found at 10x and at Tiny, and how often ``none`` is right."""
    rows: list[dict[str, object]] = []
    for name, grid in (("find 8x12", cell(8, 12)), ("find tiny", MINI)):
        chance = random.Random(seed)
        right = same = asked = refused = absent = 0
        for _ in range(pages):
            entries, strangers = _full_page(chance, grid), listing(chance, 60)
            text = "\n".join(line for _, line in entries)
            layout = lay_out([Run(turn_id="t", role="user", text=text)], grid, renderer_key="bench")[0]
            searched = model.search(png.encode(DenseRenderer().draw([layout], size=(512, 512))[0]))
            for words, line in chance.sample(entries, 20):
                found = searched.line(words)
                asked += 1
                right += found is not None and _alike(found[0], line)
                same += found is not None and found[0] == line
            for words, _ in chance.sample([entry for entry in strangers if entry[0] not in text], 20):
                absent += 1
                refused += searched.line(words) is None
        rows.append(
            {"page": name, "asked": asked, "line": right / asked, "exact": same / asked, "none": refused / absent}
        )
        print(f"{name:26} right line {right / asked:.4f} (every character {same / asked:.4f}) of {asked}, "
              f"none right {refused / absent:.4f} of {absent}", flush=True)  # fmt: skip
    return rows


def _full_page(chance: random.Random, grid: Grid) -> list[tuple[str, str]]:
    """Return entries whose words are each on one line only, as many as fill a page."""
    entries, length = [], 0
    for words, line in listing(chance, grid.rows * 3):
        if length + len(line) + 1 > grid.capacity - 2:
            break
        entries.append((words, line))
        length += len(line) + 1
    text = "\n".join(line for _, line in entries).lower()
    return [entry for entry in entries if text.count(entry[0].lower()) == 1]


def _alike(found: str, line: str) -> bool:
    """Return whether a line is the one meant: nine characters of ten are the same, in place."""
    same = sum(one == other for one, other in zip(found, line, strict=False))
    return same >= 0.9 * max(len(found), len(line))
