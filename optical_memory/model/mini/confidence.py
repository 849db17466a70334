"""How sure a character must be to be shown.

On pages as Chromium draws a memory, known by their colours, at the sizes of Base, Small and Tiny, certainty tells the
truth cell by cell, whatever else stands on the page: an identifier as a whole, by the product of what its characters
are given, is held to one certainty for each size, as measured.

On all other pages the threshold goes by the page's own doubt, the mean of what is missing to certainty over its inked
cells: a character that the network gives 0.95 is nearly always right on a sharp page, and often wrong on one with noise
or with cells too small, where it is wrong with confidence as well; no tier or damage has to be known. An image that is
not as a renderer drew it is held to more: the same doubt means more there. Only identifiers are held to all this: they
are what must be exact, and what looks right when it is not. A character of an identifier that the page's edge cuts is
never shown: the left half of a ``0`` is that of a ``c``, and the network is sure of it.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from optical_memory.model.mini import fine
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
_DIGITS, _JOINERS, _STRONG = (
    np.array([chr(code) in kind for code in range(128)]) for kind in ("0123456789", "._/@:\\-,+~=&?#%", "._/@:\\")
)
"""ASCII characters that are digits, that join words, and whose words must be exact without a digit as well."""
_INNER = np.array([chr(code).isalpha() or chr(code) in "._/\\" for code in range(128)])
"""ASCII characters before which a comma stands in no word."""


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files("optical_memory.model.mini").joinpath("confidence.toml").read_text("utf-8"))


@cache
def steps(drawn: bool) -> tuple[tuple[float, float], ...]:
    """Return pairs of a page's largest doubt and the least certainty shown there, as measured (confidence.toml).

    For images as a renderer ``drawn`` them, or for all others.
    """
    found = _table()["drawn" if drawn else "others"]
    return tuple((float(doubt), float(threshold)) for doubt, threshold in found)


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
    own, strict = threshold(sheet), by_size(sheet)
    words, inside = identifiers(sheet)
    least = np.full(inside.shape, own) if strict is None else _of_words(sheet, words, inside, strict)
    least = np.where(inside, np.where(cut(sheet), _NEVER, least), min(own, PROSE))
    return np.where(stray(sheet), _NEVER, least)


def _of_words(sheet: Sheet, words: npt.NDArray[np.int64], inside: npt.NDArray[np.bool_], strict: float) -> Floats:
    """Return thresholds (rows, columns) by which each word that is less sure as a whole than ``strict`` has a mark."""
    sure, number = certainty(sheet), words[inside]
    whole, weakest = word_certainty(sheet, words, inside), np.ones(int(words.max(initial=0)) + 1)
    np.minimum.at(weakest, number, sure[inside])
    least = np.where(whole < strict, np.maximum(strict, np.nextafter(weakest, 2.0)), strict)
    found: Floats = least[words]
    return found


def word_certainty(sheet: Sheet, words: npt.NDArray[np.int64], inside: npt.NDArray[np.bool_]) -> Floats:
    """Return how sure each word (n,) of :func:`identifiers` is to be right as a whole: the product over its cells."""
    logs = np.zeros(int(words.max(initial=0)) + 1)
    np.add.at(logs, words[inside], np.log(np.maximum(certainty(sheet)[inside], _MAY)))
    return np.exp(logs)


def by_size(sheet: Sheet) -> float | None:
    """Return what identifiers are held to on a memory's pages of this size, None where no size tells.

    Pages that are read with more doubt than Chromium's are not of its letters.
    """
    grid = sheet.grid
    if not sheet.coloured or grid.left or grid.top or doubt(sheet) > fine.CLEAR:
        return None
    return sizes().get((grid.width, grid.height))


@cache
def sizes() -> dict[tuple[float, float], float]:
    """Return the least certainty by the size of a cell, px, as measured (confidence.toml)."""
    return {(float(width), float(height)): float(least) for width, height, least in _table()["sizes"]}


def stray(sheet: Sheet) -> npt.NDArray[np.bool_]:
    """Return which cells (rows, columns) hold a comma within a word, in small cells: they are never shown.

    A point looks like a comma there, and names of files hold points.
    """
    if not sheet.coloured or not fine.fits(sheet.grid):
        return np.zeros(sheet.inked.shape, np.bool_)
    codes = sheet.codes[..., 0]
    behind = np.minimum(np.pad(codes[:, 1:], ((0, 0), (0, 1)), constant_values=ord(" ")), 127)
    found: npt.NDArray[np.bool_] = (codes == ord(",")) & _INNER[behind]
    return found


def cut(sheet: Sheet) -> npt.NDArray[np.bool_]:
    """Return which cells (rows, columns) the page's edge cuts, as it does where a full page has been moved."""
    x, y = sheet.grid.centres()
    across, down = (
        np.maximum(size / 2 - places, places + size / 2 - sheet.side) > _CUT * size
        for places, size in ((x, sheet.grid.width), (y, sheet.grid.height))
    )
    beyond: npt.NDArray[np.bool_] = across | down[:, None]
    return beyond


def identifiers(sheet: Sheet) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the number of each cell's word, and which cells belong to one that must be exact.

    That are words with what is or may be a digit, and words that a sign joins, as in paths, names of files and
    addresses; the sign is part of them. Words run across the ends of rows.
    """
    may = sheet.probabilities > _MAY
    within = np.minimum(sheet.codes, 127)
    letters = (_in_words()[sheet.codes] & may).any(-1).ravel()
    digit, joiner, strong = (
        (kind[within] & (sheet.codes < 128) & may).any(-1).ravel() for kind in (_DIGITS, _JOINERS, _STRONG)
    )
    before, behind = np.concatenate(([False], letters[:-1])), np.concatenate((letters[1:], [False]))
    joined = joiner & before & behind & ~letters
    parts = letters | joined
    word: npt.NDArray[np.int64] = np.cumsum(parts & ~np.concatenate(([False], parts[:-1])))
    has = np.zeros(int(word.max(initial=0)) + 1, bool)
    has[word[(letters & digit) | (joined & strong)]] = True
    inside: npt.NDArray[np.bool_] = has[word] & parts
    return np.reshape(word, sheet.inked.shape), np.reshape(inside, sheet.inked.shape)


@cache
def _in_words() -> npt.NDArray[np.bool_]:
    """Return which code points of the Basic Multilingual Plane are letters or digits."""
    return np.array([chr(code).isalnum() for code in range(0x10000)])
