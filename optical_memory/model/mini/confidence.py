"""How sure a character must be to be shown: more so on a page that the network reads with doubt as a whole.

A character that the network gives 0.95 is nearly always right on a sharp page, and often wrong on one with noise or
with cells too small, where it is wrong with confidence as well. So the threshold goes by the page's own doubt, the
mean of what is missing to certainty over its inked cells; no tier, size or damage has to be known. An image that is not
as a renderer drew it is held to more: the same doubt means more there. Only identifiers are held to all this: they are
what must be exact, and what looks right when it is not. A character of an identifier that the
page's edge cuts is never shown: the left half of a ``0`` is that of a ``c``, and the network is sure of it.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from optical_memory.model.mini.cells import Floats
from optical_memory.model.mini.reading import Sheet, certainty

PROSE = 0.9
"""Least certainty of a character outside of identifiers."""
_CUT = 0.1
"""Share of a cell beyond the page's edge from which on its character is cut."""
_NEVER = 1.1
"""A certainty that nothing reaches."""
_MAY = 0.01
"""Probability from which a cell may hold a character."""
_DIGITS = np.array([chr(code).isdigit() for code in range(128)])


@cache
def steps(drawn: bool) -> tuple[tuple[float, float], ...]:
    """Return pairs of a page's largest doubt and the least certainty shown there, as measured (confidence.toml).

    For images as a renderer ``drawn`` them, or for all others.
    """
    data = tomllib.loads(files("optical_memory.model.mini").joinpath("confidence.toml").read_text("utf-8"))
    return tuple((float(doubt), float(threshold)) for doubt, threshold in data["drawn" if drawn else "others"])


def doubt(sheet: Sheet) -> float:
    """Return the mean doubt, 0 to 1, over the inked cells of a page; 0 for a blank one."""
    return float((1 - certainty(sheet))[sheet.inked].mean()) if sheet.inked.any() else 0.0


def threshold(sheet: Sheet) -> float:
    """Return the certainty below which a character of an identifier on this page is marked."""
    own, known = doubt(sheet), steps(sheet.drawn)
    return next((least for most, least in known if own <= most), known[-1][1])


def thresholds(sheet: Sheet) -> Floats:
    """Return the certainty below which the character of each cell (rows, columns) is marked.

    A word with a digit may be an identifier, which is plausible when it is wrong; other words are held to ``PROSE``.
    """
    own = threshold(sheet)
    return np.where(_in_identifiers(sheet), np.where(cut(sheet), _NEVER, own), min(own, PROSE))


def cut(sheet: Sheet) -> npt.NDArray[np.bool_]:
    """Return which cells (rows, columns) the page's edge cuts, as it does where a full page has been moved."""
    x, y = sheet.grid.centres()
    across, down = (
        np.maximum(size / 2 - places, places + size / 2 - sheet.side) > _CUT * size
        for places, size in ((x, sheet.grid.width), (y, sheet.grid.height))
    )
    beyond: npt.NDArray[np.bool_] = across | down[:, None]
    return beyond


def _in_identifiers(sheet: Sheet) -> npt.NDArray[np.bool_]:
    """Return which cells belong to a word, as it runs across the ends of rows, that holds or may hold a digit."""
    may = sheet.probabilities > _MAY
    letters = (_of_words()[sheet.codes] & may).any(-1).ravel()
    digit = (_DIGITS[np.minimum(sheet.codes, 127)] & (sheet.codes < 128) & may).any(-1).ravel()
    starts = letters & ~np.concatenate(([False], letters[:-1]))
    word = np.cumsum(starts)  # the number of the word that a cell belongs to
    has = np.zeros(int(word.max(initial=0)) + 1, bool)
    has[word[letters & digit]] = True
    inside: npt.NDArray[np.bool_] = (has[word] & letters).reshape(sheet.inked.shape)
    return inside


@cache
def _of_words() -> npt.NDArray[np.bool_]:
    """Return which code points of the Basic Multilingual Plane are letters or digits."""
    return np.array([chr(code).isalnum() for code in range(0x10000)])
