"""Calibrating certainty at Small and Tiny: the least at which nearly no identifier is wrong without a mark."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from optical_memory.model.mini import confidence
from optical_memory.model.mini.reading import Sheet, certainty
from optical_memory.renderers.base import Layout

WRONG = 0.0005
"""Share of identifiers that may be wrong without a mark, half of what is promised: other pages may be harder."""
LEAST = 0.95
"""What identifiers are held to at any size, more than prose: where errors are too rare to count, as at Base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Identifiers of a page as read: the least certainty (n,) of each, and whether any of its characters is wrong."""

    least: npt.NDArray[np.float64]
    wrong: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, layout: Layout, sheet: Sheet) -> Judged:
        """Compare a sheet with its layout. A character that is never shown has certainty 0."""
        bad = sheet.cells != np.where(layout.cells == 0, 32, layout.cells)
        sure = np.where(confidence.never(sheet), 0.0, certainty(sheet))
        words, inside = confidence.identifiers(sheet)
        least, wrong = np.ones(words.max(initial=0) + 1), np.zeros(words.max(initial=0) + 1, np.bool_)
        np.minimum.at(least, words[inside], sure[inside])
        np.logical_or.at(wrong, words[inside], bad[inside])
        there = np.unique(words[inside])
        return cls(least=least[there], wrong=wrong[there])


def least(pages: Sequence[Judged]) -> float:
    """Return the certainty from which on an identifier may be shown."""
    sure = np.concatenate([page.least for page in pages])
    wrong = np.concatenate([page.wrong for page in pages])
    order = np.argsort(-sure)
    good = np.flatnonzero(np.cumsum(wrong[order]) <= WRONG * len(order))
    return max(LEAST, float(sure[order][good[-1]]))


def write(sizes: Mapping[tuple[float, float], Sequence[Judged]], file: Path) -> None:
    """Put the certainties, by width and height of a cell in px, into the TOML file; other sizes stay as they are."""
    text = file.read_text("utf-8")
    known = {(width, height): shown for width, height, shown in tomllib.loads(text).get("sizes", ())}
    known |= {size: round(least(pages), 5) for size, pages in sizes.items()}
    kept = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("sizes ="))
    file.write_text(f"{kept}sizes = {[[*size, known[size]] for size in sorted(known)]}\n", "utf-8")
    for size, pages in sorted(sizes.items()):
        print(f"cells of {size} px: shown from {known[size]}, {sum(len(page.least) for page in pages):,} identifiers")
