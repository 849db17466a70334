"""From which certainty on an identifier is shown, measured on pages of every kind and written to a file."""

from __future__ import annotations

import datetime
import platform
from contextlib import suppress
from pathlib import Path

from rich.progress import track

from benchmarks.mini.pages import calibrated
from benchmarks.mini.score import Bench, Judged
from optical_memory.errors import GridNotFoundError, OpticalMemoryError

EDGES = (0.0003, 0.0006, 0.001, 0.002, 0.004, 0.008, 0.016, 0.03, 0.06, 1.0)
"""Largest doubt of a page at each step of the calibration."""
THRESHOLDS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99999)
PROMISED = 0.001
"""Share of identifiers that may be silently wrong on pages of any kind; a fifth of it on all pages of a step."""


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
    comment, _, rest = file.read_text("utf-8").partition("source =")
    own = "".join(line for line in rest.splitlines(keepends=True) if line.startswith("sizes ="))
    pages, total = (sum(sum(sizes) for sizes in each) for each in zip(*map(_sizes, kinds), strict=True))
    file.write_text(
        f'{comment}source = "{total:,} identifiers on {pages} pages, {platform.machine()} CPU, float32"\n'
        f'date = "{datetime.date.today()}"\ndrawn = {drawn}\nothers = {others}\n{own}',
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
