"""How sure a character must be to be shown: more so on a page that the network reads with doubt as a whole.

A character that the network gives 0.95 is nearly always right on a sharp page, and often wrong on one with noise or
with cells too small, where it is wrong with confidence as well. So the threshold goes by the page's own doubt, the
mean of what is missing to certainty over its inked cells; no tier, size or damage has to be known.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

from optical_memory.model.mini.reading import Sheet, certainty


@cache
def steps() -> tuple[tuple[float, float], ...]:
    """Return pairs of a page's largest doubt and the least certainty shown there, as measured (confidence.toml)."""
    data = tomllib.loads(files("optical_memory.model.mini").joinpath("confidence.toml").read_text("utf-8"))
    return tuple((float(doubt), float(threshold)) for doubt, threshold in data["steps"])


def doubt(sheet: Sheet) -> float:
    """Return the mean doubt, 0 to 1, over the inked cells of a page; 0 for a blank one."""
    return float((1 - certainty(sheet))[sheet.inked].mean()) if sheet.inked.any() else 0.0


def threshold(sheet: Sheet) -> float:
    """Return the certainty below which a character of this page is marked."""
    own = doubt(sheet)
    return next((least for most, least in steps() if own <= most), steps()[-1][1])
