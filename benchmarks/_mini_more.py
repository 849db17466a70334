"""What the table of pages does not show: finding words, seconds on two cores, and the calibration of the mark."""

from __future__ import annotations

import datetime
import platform
import random
import statistics
import time
from contextlib import suppress
from pathlib import Path

from _mini_pages import MINI, calibrated, cell
from _mini_score import Bench, Judged
from _mini_text import layouts, listing
from rich.progress import track

from optical_memory.errors import GridNotFoundError, OpticalMemoryError
from optical_memory.model.mini.model import MiniModel
from optical_memory.readers.mini import MiniReader
from optical_memory.renderers import DenseRenderer, png
from optical_memory.renderers.base import Grid
from optical_memory.renderers.layout import Run, lay_out

EDGES = (0.0003, 0.0006, 0.001, 0.002, 0.004, 0.008, 0.016, 0.03, 0.06, 1.0)
"""Largest doubt of a page at each step of the calibration."""
THRESHOLDS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99999)
PROMISED = 0.001
"""Share of identifiers that may be silently wrong on pages of any kind; a fifth of it on all pages of a step."""


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


def seconds(reader: MiniReader, pages: int = 40) -> dict[str, float]:
    """Return seconds of one Tiny page of 6,528 characters, and of a memory of 40 read one after the other."""
    sheets = layouts("natural", MINI, pages)
    images = [png.encode(raster) for raster in DenseRenderer().draw(sheets, size=(512, 512))]
    single = []
    for image in images[:10]:
        started = time.perf_counter()
        reader.read(image)
        single.append(time.perf_counter() - started)
    started = time.perf_counter()
    for _ in track(reader.read_all(images), description=f"{pages} Tiny pages", total=pages):
        continue
    whole = time.perf_counter() - started
    print(f"a Tiny page {statistics.median(single):.3f} s (least {min(single):.3f}), {pages} pages {whole:.1f} s")
    return {"page": statistics.median(single), "least": min(single), "pages": float(pages), "all": whole}


def calibrate(bench: Bench, file: Path, fonts: list[Path]) -> None:
    """Write the least certainty shown for each step of a page's doubt, from identifiers on pages of every kind.

    For pages as a renderer drew them, and for all others.
    """
    kinds = []
    for case in track(list(calibrated(fonts)), description="identifiers"):
        judged = Judged()
        try:
            drawn = zip(*bench.drawn(case, "hex", seed=2), strict=True)
        except OpticalMemoryError as error:
            print(f"{case.name} left out: {error}", flush=True)
            continue
        for layout, image in drawn:
            with suppress(GridNotFoundError):
                judged.add(layout, bench.model.read(image), "hex")
        kinds.append(judged)
    drawn, others = (_steps(kinds, drawn) for drawn in (True, False))
    comment = file.read_text("utf-8").split("source =")[0]
    pages, total = (sum(sum(sizes) for sizes in each) for each in zip(*map(_sizes, kinds), strict=True))
    file.write_text(
        f'{comment}source = "{total:,} identifiers on {pages} pages, {platform.machine()} CPU, float32"\n'
        f'date = "{datetime.date.today()}"\ndrawn = {drawn}\nothers = {others}\n',
        "utf-8",
    )


def _steps(kinds: list[Judged], drawn: bool) -> list[list[float]]:
    """Return pairs of a page's largest doubt and the least certainty shown there, which never falls."""
    steps, floor = [], THRESHOLDS[0]
    for low, high in zip((-1.0, *EDGES), EDGES, strict=False):
        floor = next((t for t in THRESHOLDS if t >= floor and _is_safe(kinds, drawn, low, high, t)), THRESHOLDS[-1])
        steps.append([high, floor])
        print(f"{'as drawn' if drawn else 'others'}, doubt up to {high}: shown from {floor}")
    return steps


def _sizes(judged: Judged) -> tuple[list[int], list[int]]:
    return [1] * len(judged.least), [len(least) for least in judged.least]


def _is_safe(kinds: list[Judged], drawn: bool, low: float, high: float, threshold: float) -> bool:
    """Return whether few enough identifiers are silently wrong on pages of some doubt: of all, and of each kind.

    One is let pass for a kind and a step, whatever its number: it says nothing of the share.
    """
    silent = total = 0
    for judged in kinds:
        pages = [n for n, doubt in enumerate(judged.doubt) if low < doubt <= high and judged.drawn[n] == drawn]
        wrong = sum(int((~judged.exact[n] & (judged.least[n] >= threshold)).sum()) for n in pages)
        count = sum(len(judged.exact[n]) for n in pages)
        if wrong > max(1.0, PROMISED * count):
            return False
        silent, total = silent + wrong, total + count
    return silent <= max(1.0, PROMISED / 5 * total)
