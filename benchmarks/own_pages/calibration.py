"""Calibrating certainty at Small and Tiny: the least at which nearly no word that must be exact is wrong unmarked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from optical_memory.model.mini import confidence
from optical_memory.model.mini.reading import Sheet
from optical_memory.renderers.base import Layout

WRONG = {(5.0, 8.0): 0.0007, (6.25, 10.0): 0.0006}
"""Share of words that may be wrong without a mark, by the size of a cell in px, as an upper bound of 95 %.

0.001 is promised. At Small there is room for more certainty.
"""
LEAST = 0.95
"""What identifiers are held to at any size, more than prose: where errors are too rare to count, as at Base."""
_DEVIATIONS = 1.645
"""Standard deviations of a one-sided bound of 95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Words of a page that must be exact, as read: how sure (n,) each is, and whether a character of it is wrong."""

    sure: npt.NDArray[np.float64]
    wrong: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, layout: Layout, sheet: Sheet) -> Judged:
        """Compare a sheet with its layout. A word with a character that is never shown has certainty 0."""
        words, inside = confidence.identifiers(sheet)
        sure, wrong = confidence.word_certainty(sheet, words, inside), np.zeros(words.max(initial=0) + 1, np.bool_)
        sure[words[inside & (confidence.cut(sheet) | confidence.stray(sheet))]] = 0.0
        bad = sheet.cells != np.where(layout.cells == 0, 32, layout.cells)
        np.logical_or.at(wrong, words[inside], bad[inside])
        there = np.unique(words[inside])
        return cls(sure=sure[there], wrong=wrong[there])


def least(pages: Sequence[Judged], most: float) -> float:
    """Return the certainty from which on words may be shown, so that at most a share ``most`` of all is wrong."""
    sure, wrong = (np.concatenate(each) for each in zip(*((page.sure, page.wrong) for page in pages), strict=True))
    order = np.argsort(-sure)
    good = np.flatnonzero(upper(np.cumsum(wrong[order]), len(order)) <= most)
    return max(LEAST, float(sure[order][good[-1]])) if len(good) else 1.0


def upper(found: npt.NDArray[np.int64], of: int) -> npt.NDArray[np.float64]:
    """Return upper bounds of shares, ``found`` cases of so many (Wilson 1927, one-sided, 95 %)."""
    share, part = found / of, _DEVIATIONS**2 / of
    bound: npt.NDArray[np.float64] = share + part / 2 + np.sqrt(part * (share * (1 - share) + part / 4))
    return bound / (1 + part)


def write(sizes: Mapping[tuple[float, float], Sequence[Judged]], file: Path) -> None:
    """Put the certainties, by width and height of a cell in px, into the TOML file; other sizes stay as they are."""
    text = file.read_text("utf-8")
    known = {(width, height): shown for width, height, shown in tomllib.loads(text).get("sizes", ())}
    known |= {size: round(least(pages, WRONG.get(size, 0.001)), 4) for size, pages in sizes.items()}
    kept = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("sizes ="))
    file.write_text(f"{kept}sizes = {[[*size, known[size]] for size in sorted(known)]}\n", "utf-8")
    for size, pages in sorted(sizes.items()):
        print(f"cells of {size} px: shown from {known[size]}, {sum(len(page.sure) for page in pages):,} words")
