"""How sure a character must be to be shown.

At the sizes of Small and Tiny, on pages as a renderer drew them, the network is less sure than it is right, and it
confuses few pairs: ``0`` and ``B``, ``m`` and ``w``, ``,`` and ``.``. So each character's log-odds are mended by what
was seen of it and its runner-up, and what identifiers are held to goes by the size of the cells.

On all other pages the threshold goes by the page's own doubt, the mean of what is missing to certainty over its inked
cells: a character that the network gives 0.95 is nearly always right on a sharp page, and often wrong on one with noise
or with cells too small, where it is wrong with confidence as well; no tier or damage has to be known. An image that is
not as a renderer drew it is held to more: the same doubt means more there. Only identifiers are held to all this: they
are what must be exact, and what looks right when it is not. A character of an identifier that the page's edge cuts is
never shown: the left half of a ``0`` is that of a ``c``, and the network is sure of it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from optical_memory.model.mini.cells import Floats
from optical_memory.model.mini.reading import Sheet, certainty

PROSE = 0.9
"""Least certainty of a character outside of identifiers."""
_CUT = 0.1
"""Share of a cell beyond the page's edge from which on its character is cut."""
_NARROWEST = 4.9
"""Width of the cells, px, from which on pages have tables of their own: those of Tiny."""
_CLEAR = 0.03
"""Mean doubt about a row up to which the table of its size holds; letters that the network does not know have more."""
_LARGE, _LEAST = 7.0, 0.92
"""In cells wider than this, px, a character of an identifier must be so certain: errors are too rare to count."""
_NEVER = 1.1
"""A certainty that nothing reaches."""
_MAY = 0.01
"""Probability from which a cell may hold a character."""
_DIGITS, _JOINERS, _STRONG = (
    np.array([chr(code) in kind for code in range(128)]) for kind in ("0123456789", "._/@:\\-,+~=&?#%", "._/@:\\")
)
"""ASCII characters that are digits, that join words, and whose words must be exact without a digit as well."""
_LETTERS = np.array([chr(code).isalpha() for code in range(128)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What is known of the renderers' pages at one size: cells up to ``widest`` px, and log-odds.

    Identifiers are held to ``least``, once ``usual``, or what ``pairs`` of a character and its runner-up say, is added.
    """

    widest: float
    least: float
    usual: float
    pairs: Mapping[tuple[int, int], float]


@cache
def owns() -> tuple[Own, ...]:
    """Return the tables of sizes, narrowest first (confidence.toml)."""
    return tuple(
        Own(**{**entry, "pairs": {(ord(pair[0]), ord(pair[1])): offset for pair, offset in entry["pairs"].items()}})
        for entry in _table().get("own", ())
    )


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
    inside, own, known = identifiers(sheet)[1], threshold(sheet), _own(sheet)
    strict, prose = np.full(inside.shape, own), np.full(inside.shape, min(own, PROSE))
    if known is not None:
        clear = (_about(sheet) <= _CLEAR)[:, None]
        moved = offsets(sheet, known.usual, known.pairs)
        mended = [1 / (1 + np.exp(moved - wanted)) for wanted in (known.least, np.log(PROSE / (1 - PROSE)))]
        if sheet.grid.width > _LARGE:
            mended[0] = np.maximum(mended[0], _LEAST)
        strict, prose = (np.where(clear, new, old) for new, old in zip(mended, (strict, prose), strict=True))
    return np.where(inside, np.where(cut(sheet) | _stray(sheet), _NEVER, strict), prose)


def _stray(sheet: Sheet) -> npt.NDArray[np.bool_]:
    """Return which cells (rows, columns) hold a comma that a letter follows: small cells have points look like it."""
    following = np.concatenate((sheet.codes[..., 0].ravel()[1:], [ord(" ")])).reshape(sheet.inked.shape)
    stray: npt.NDArray[np.bool_] = (sheet.codes[..., 0] == ord(",")) & _LETTERS[np.minimum(following, 127)]
    return stray & (following < 128)


def _about(sheet: Sheet) -> Floats:
    """Return the mean doubt about each row (rows,): of its inked cells and those of the rows above and below."""
    doubts = np.where(sheet.inked, 1 - certainty(sheet), 0.0).sum(1)
    sums = [np.convolve(values, np.ones(3), "same") for values in (doubts, sheet.inked.sum(1))]
    found: Floats = sums[0] / np.maximum(sums[1], 1)
    return found


def _own(sheet: Sheet) -> Own | None:
    """Return the table for a page's size, where it is as a renderer drew it; else None."""
    if not sheet.drawn or sheet.grid.width < _NARROWEST:
        return None
    return next((own for own in owns() if sheet.grid.width <= own.widest), None)


def log_odds(sheet: Sheet) -> Floats:
    """Return the log-odds (rows, columns) that the network gives each cell's character."""
    sure = np.clip(certainty(sheet), 1e-12, 1 - 1e-12)
    found: Floats = np.log(sure / (1 - sure))
    return found


def offsets(sheet: Sheet, usual: float, pairs: Mapping[tuple[int, int], float]) -> Floats:
    """Return what to add to the log-odds (rows, columns) by the pair of each cell's character and its runner-up."""
    keys = sheet.codes[..., 0] * 0x10000 + sheet.codes[..., 1]
    known = np.array(sorted((a * 0x10000 + b, offset) for (a, b), offset in pairs.items())).reshape(-1, 2)
    if not len(known):
        return np.full(keys.shape, usual)
    place = np.searchsorted(known[:, 0], keys).clip(max=len(known) - 1)
    found: Floats = np.where(known[place, 0] == keys, known[place, 1], usual)
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
    letters = (_of_words()[sheet.codes] & may).any(-1).ravel()
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
def _of_words() -> npt.NDArray[np.bool_]:
    """Return which code points of the Basic Multilingual Plane are letters or digits."""
    return np.array([chr(code).isalnum() for code in range(0x10000)])
