"""Plots of the bundled model's benchmark: the forgetting curve, tiers, renderers, scripts, and reliability."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.mini.score import Judged, Row
from benchmarks.mini.text import LATIN

PUBLISHED = {10.5: 0.965, 15.1: 0.859, 19.7: 0.591}
"""DeepSeek-OCR at 64 vision tokens on Fox: compression -> precision (arXiv 2510.18234, table 2)."""
_FLOOR = 1e-4
"""Errors below this are drawn here, as none were seen on so few characters."""


def draw(rows: Sequence[Row], judged: Judged, folder: Path) -> None:
    """Write every plot that the rows are enough for."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    _figure(folder / "mini-forgetting.png", lambda axes: _forgetting(axes, rows))
    _figure(folder / "mini-tiers.png", lambda axes: _bars(axes, [r for r in rows if r.group in ("tier", "size")]))
    pages = [r for r in rows if r.page in ("cell 8x12", "tier tiny", "tier base") or r.group == "chromium"]
    scripts = [r for r in rows if r.text not in LATIN]  # of both renderers
    _figure(folder / "mini-renderers.png", lambda axes: _bars(axes, [r for r in pages if r.text in LATIN]))
    _figure(folder / "mini-scripts.png", lambda axes: _bars(axes, scripts))
    if judged.certainty:
        _figure(folder / "mini-reliability.png", lambda axes: _reliability(axes, judged))


def _figure(file: Path, paint: Callable[[Any], None]) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), dpi=90)
    paint(axes)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(file)
    pyplot.close(figure)


def _forgetting(axes: Any, rows: Sequence[Row]) -> None:
    axes.plot(list(PUBLISHED), list(PUBLISHED.values()), "s--", color="grey", label="DeepSeek-OCR, Fox, 64 tokens")
    for kind, mark in (("natural", "o-"), ("random", "^-")):
        sizes = (row for row in rows if row.group in ("tier", "size", "cell") and row.text == kind)
        points = sorted((row.compression, row.precision) for row in sizes)
        axes.plot(*zip(*points, strict=True) if points else ((), ()), mark, label=f"mini, {kind} text")
    axes.set_xscale("log", base=2)
    axes.set_xlabel("compression (text tokens, o200k, per vision token)")
    axes.set_ylabel("precision")
    axes.legend()


def _bars(axes: Any, rows: Sequence[Row]) -> None:
    """Draw the share of characters read wrong by page and kind of text, on a logarithmic scale."""
    names = list(dict.fromkeys(row.page for row in rows))
    kinds = list(dict.fromkeys(row.text for row in rows))
    if len(kinds) > 3:  # scripts: one bar a page, whatever its script
        kinds = [""]
    for number, kind in enumerate(kinds):
        found = {row.page: row for row in rows if kind in ("", row.text)}
        places = [
            n + (number - (len(kinds) - 1) / 2) * 0.8 / len(kinds) for n, name in enumerate(names) if name in found
        ]
        errors = [max(1 - found[name].precision, _FLOOR) for name in names if name in found]
        axes.barh(places, errors, 0.8 / len(kinds), label=kind or None)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(_FLOOR / 2, 1)
    axes.set_xlabel(f"share of characters wrong ({_FLOOR:g}: that or less)")
    if kinds != [""] and kinds:
        axes.legend(fontsize=7)


def _reliability(axes: Any, judged: Judged) -> None:
    """Draw how often characters of a certainty are right, certainty and share as distances from 1."""
    sure, right = np.concatenate(judged.certainty), np.concatenate(judged.right)
    parts = np.array_split(np.argsort(sure), 30)
    said = [max(1 - sure[part].mean(), 1e-5) for part in parts if len(part)]
    seen = [max(1 - right[part].mean(), 1e-5) for part in parts if len(part)]
    axes.plot(said, seen, "o-", label=f"{len(sure):,} characters of all rows")
    axes.plot([1e-5, 1], [1e-5, 1], "--", color="grey", label="as sure as right")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("doubt (1 - certainty)")
    axes.set_ylabel("share wrong")
    axes.legend()
