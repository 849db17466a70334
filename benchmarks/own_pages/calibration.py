"""Calibrating certainty at the sizes of Small and Tiny: how often a character is wrong, by it and its runner-up.

For each pair of a character and its runner-up, the errors that were seen are set against those that the probabilities
promise, drawn towards what all pairs say together. The log of that is added to a character's log-odds. The log-odds
that identifiers are held to are then the least at which nearly none is wrong, on pages whose pairs were not counted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from optical_memory.model.mini import confidence
from optical_memory.model.mini.reading import Sheet
from optical_memory.renderers.base import Layout

Pairs = dict[tuple[int, int], float]

_SURE = 0.9995
"""Probability from which on a pair says nothing."""
_DRAWN_TOGETHER = 6.0
"""Expected errors of a pair that weigh as much as all pairs together."""
_WRONG = 0.0035
"""Share of identifiers that may be wrong without a mark on the pages that thresholds are taken from."""
_FLOOR = 3.0
"""Log-odds that identifiers are held to at any size."""
_TOLD = 0.15
"""Pairs whose log differs by less from that of all are left out of the table."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Read:
    """A page as read: the sheet, and which of its cells (rows, columns) are wrong."""

    sheet: Sheet
    wrong: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, layout: Layout, sheet: Sheet) -> Read:
        """Compare a sheet with its layout."""
        return cls(sheet=sheet, wrong=sheet.cells != np.where(layout.cells == 0, 32, layout.cells))


def offsets(pages: Iterable[Read]) -> tuple[float, Pairs]:
    """Return what to add to log-odds: for pairs that were not seen, and for each that differs."""
    promised: Counter[tuple[int, int]] = Counter()
    seen: Counter[tuple[int, int]] = Counter()
    for page in pages:
        sheet = page.sheet
        asked = sheet.inked & (sheet.probabilities[..., 0] < _SURE)
        pairs = zip(*(sheet.codes[..., n][asked].tolist() for n in (0, 1)), strict=True)
        for pair, sure, wrong in zip(
            pairs, sheet.probabilities[..., 0][asked].tolist(), page.wrong[asked].tolist(), strict=True
        ):
            promised[pair] += 1 - sure  # type: ignore[assignment]
            seen[pair] += wrong
    letters = [pair for pair in promised if chr(pair[0]).isalnum()]  # what identifiers are made of; signs err otherwise
    share = (sum(seen[pair] for pair in letters) + 1) / (sum(promised[pair] for pair in letters) + 1)
    usual = -float(np.log(share))
    found = {
        pair: -float(np.log((seen[pair] + _DRAWN_TOGETHER * share) / (promised[pair] + _DRAWN_TOGETHER)))
        for pair in promised
    }
    return usual, {pair: offset for pair, offset in found.items() if abs(offset - usual) > _TOLD}


def least(pages: Sequence[Read]) -> float:
    """Return the log-odds that identifiers are held to, each half of the pages judged by the pairs of the other."""
    odds, wrong = [], []
    for half in (0, 1):
        usual, pairs = offsets(pages[1 - half :: 2])
        for page in pages[half::2]:
            sheet = page.sheet
            own = confidence.log_odds(sheet) + confidence.offsets(sheet, usual, pairs)
            words, inside = confidence.identifiers(sheet)
            lowest = np.full(int(words.max(initial=0)) + 1, np.inf)
            np.minimum.at(lowest, words[inside], own[inside])
            bad = np.zeros(len(lowest), np.bool_)
            np.logical_or.at(bad, words[inside], page.wrong[inside])
            odds += lowest[np.unique(words[inside])].tolist()
            wrong += bad[np.unique(words[inside])].tolist()
    order = np.argsort(odds)[::-1]
    errors = np.cumsum(np.array(wrong)[order])
    good = np.flatnonzero(errors <= _WRONG * len(order))
    return max(_FLOOR, float(np.array(odds)[order][good[-1]]))


def write(sizes: dict[float, list[Read]], file: Path) -> None:
    """Put the tables of sizes, by the widest cell of each in px, into the TOML file in place of those there."""
    kept = file.read_text("utf-8").partition("\n[[own]]")[0].rstrip()
    parts = [kept]
    for widest, pages in sorted(sizes.items()):
        usual, pairs = offsets(pages)
        rows = [f"{_quoted(chr(a) + chr(b))} = {round(offset, 2)}" for (a, b), offset in sorted(pairs.items())]
        parts.append(
            f"\n[[own]]  # {len(pages)} pages of Chromium's, {time.strftime('%F')}\n"
            f"widest = {widest}\nleast = {least(pages):.2f}\nusual = {usual:.2f}\n[own.pairs]\n" + "\n".join(rows)
        )
    file.write_text("\n".join(parts) + "\n", "utf-8")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
