"""Where rows end: between words, at a blank where that costs little, and never inside a word that fits in a row.

A reader can tell what stood at the end of a row. A row that is full goes on with the next one. One blank or more at its
end, cells without text included, are one space, unless a mark stands before them: a newline or a tab, or a filler,
which says that there was no space. So a row that would end in more than one space, or in a space behind a newline,
gets a filler at its end too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from optical_memory.renderers.visible import COMBINING, HEADER_MARK, NARROW, WIDE, Classes

SHORT = 8
"""A row ends at a blank where that leaves at most one cell in so many empty; else between any two words."""
CONTEXT = 10
"""Characters before a row that say how it may end: the longest escape has ten."""
MAX_WINDOW = 6
"""Most characters of a row for each of its cells, combining marks and what follows the row included."""
_SPACE, _NEWLINE, _TAB, _COMMA, _BACKSLASH = map(ord, " \n\t,\\")
_LETTERS_END = 0x2000
"""Code points from U+00C0 to here are taken for letters, as far as they are narrow."""

Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.uint32]
Places = npt.NDArray[np.int64]


def _table(characters: str) -> Mask:
    table = np.zeros(_LETTERS_END, np.bool_)
    table[[ord(character) for character in characters]] = True
    return table


_IN_WORDS = _table("".join(chr(code) for code in range(128) if chr(code).isalnum()) + "_-./:@#$%&+=?~'\\\xa3\xa5")
_IN_WORDS[0xC0:] = True
_CLOSING = _table(",;.:!?)]}>\"'")
_DIGITS = _table("0123456789")


class Row(NamedTuple):
    """A row: characters ``first`` to ``end`` (exclusive), and whether a filler stands behind them."""

    first: int
    end: int
    filled: bool


class Wrap:
    """Finds the rows of characters that are known; ``must`` says behind which a row has to end.

    Several texts may stand behind one another, each with a newline behind it that is not of it: at the places ``ends``.
    """

    def __init__(self, codes: Codes, classes: Classes, must: Mask, columns: int, ends: Places | None = None) -> None:
        self._codes, self._columns = codes, columns
        self._is_wide, self._is_mark = classes == WIDE, classes == COMBINING
        self._odd = _sums(classes != NARROW)  # characters that do not take one cell, up to each place
        self._must = np.flatnonzero(must) + 1
        self._soft, between = _boundaries(codes, classes, ends)
        places = np.arange(len(codes) + 1, dtype=np.int32)
        self._last_soft = np.maximum.accumulate(np.where(self._soft, places, 0))
        self._last = np.maximum.accumulate(np.where(between, places, 0))
        self._next = np.minimum.accumulate(np.where(between, places, len(codes))[::-1])[::-1]

    def rows(self, first: int, size: int, *, is_whole: bool) -> list[Row]:
        """Return rows of the text from ``first`` to ``size``; where that is not its end, as far as nothing can change.

        ``is_whole`` says that it is.
        """
        reach = (MAX_WINDOW + 1) * self._columns + CONTEXT
        breaks, at = [*self._must[np.searchsorted(self._must, first, "right") :].tolist(), size + 1], 0
        out: list[Row] = []
        while first < size and (is_whole or size - first >= reach):
            while breaks[at] <= first:
                at += 1
            end, used = self._fit(first, size)
            if breaks[at] <= end:
                row = Row(first, breaks[at], False)
            elif end == size:
                row = Row(first, end, False)
            else:
                row = self._row(first, end, used)
            out.append(row)
            first = row.end
        return out

    def places(self, rows: Sequence[Row]) -> tuple[Places, Places]:
        """Return the cell of each character of rows, and the cells with fillers."""
        if not rows:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        firsts, ends, is_filled = np.array(rows, np.int64).T
        starts, lengths = np.arange(len(rows)) * self._columns, ends - firsts
        through = np.cumsum(lengths)
        before = through - lengths
        places = np.repeat(starts - before, lengths) + np.arange(through[-1])
        used, fillers = starts + lengths, [np.zeros(0, np.int64)]
        odd = self._odd[ends] > self._odd[firsts]
        for number in np.flatnonzero(odd).tolist():
            first, end, _ = rows[number]
            own, is_behind = self._in_row(first, end)
            places[before[number] : through[number]] = own + starts[number]
            used[number] = starts[number] + self._ends(first, end)[0][-1]
            fillers.append(own[is_behind] + starts[number] - 1)
        return places, np.concatenate([*fillers, used[is_filled.astype(np.bool_)]])

    def _in_row(self, first: int, end: int) -> tuple[Places, Mask]:
        """Return the cell of each character of a row, and before which of them a filler stands."""
        ends, is_filled = self._ends(first, end)
        places = ends - 1 - self._is_wide[first:end]
        is_mark = self._is_mark[first:end]
        if is_mark.any():  # a mark has no width: it lies in the cell of its base
            places = np.maximum.accumulate(np.where(is_mark, 0, places))
        return places, is_filled

    def _fit(self, first: int, size: int) -> tuple[int, int]:
        """Return the end of what fits in a row from ``first`` on, and the cells that it takes."""
        end = min(first + self._columns, size)
        is_narrow = self._odd.item(end) == self._odd.item(first)
        if is_narrow and (end == size or not self._is_mark.item(end)):
            return end, end - first
        ends, _ = self._ends(first, min(first + (MAX_WINDOW - 1) * self._columns, size))
        count = int(np.searchsorted(ends, self._columns, "right"))
        return first + count, int(ends[count - 1])

    def _ends(self, first: int, end: int) -> tuple[Places, Mask]:
        """Return for each character the cell after its last one, and before which a filler stands.

        A row begins in an even column, and a wide character ends before one. So a wide character needs a filler where
        the number of narrow ones since then is odd.
        """
        is_wide, is_mark = self._is_wide[first:end], self._is_mark[first:end]
        stops = np.flatnonzero(is_wide)
        gaps = np.diff(stops, prepend=-1) - 1
        if is_mark.any():
            gaps -= np.diff(np.cumsum(is_mark, dtype=np.int32)[stops], prepend=0)
        is_filled = np.zeros(len(is_wide), np.bool_)
        is_filled[stops] = gaps % 2 == 1
        widths = 1 + is_wide.view(np.int8) + is_filled.view(np.int8) - is_mark.view(np.int8)
        return np.cumsum(widths, dtype=np.int64), is_filled

    def _row(self, first: int, end: int, used: int) -> Row:
        """Return the row that is cut where the text goes on; ``end`` is the most that fits, in ``used`` cells."""
        is_full = used == self._columns
        if self._last.item(end) == end and not (is_full and self._misleads(end)):
            return Row(first, end, not (is_full or self._soft.item(end)))
        blank, word = self._last_soft.item(end), self._last.item(end - 1)
        blank = blank if blank > first + 1 else 0  # a row of one space could not be told from a blank one
        start = max(blank, word)
        if start <= first or self._next.item(end) - start > self._columns:  # longer than a row
            return Row(first, end - 1, True) if self._misleads(end) else Row(first, end, not is_full)
        if blank == start or (blank and end - blank <= self._columns // SHORT):
            return Row(first, blank, False)
        return Row(first, word, True)

    def _misleads(self, end: int) -> bool:
        """Whether a full row that ends here has blanks at its end that are not one space."""
        return bool(self._codes.item(end - 1) == _SPACE and not self._soft.item(end))


def _sums(flags: Mask) -> npt.NDArray[np.int32]:
    """Return how many flags are set before each place."""
    out = np.zeros(len(flags) + 1, np.int32)
    np.cumsum(flags, out=out[1:])
    return out


def _boundaries(codes: Codes, classes: Classes, ends: Places | None) -> tuple[Mask, Mask]:
    """Return for each place before a character, and at the end, whether blanks may follow, and whether words part.

    Blanks may follow behind one space, a newline and a tab. What stands in one text says nothing about another.
    """
    size = len(codes)
    soft, between = np.zeros(size + 1, np.bool_), np.ones(size + 1, np.bool_)
    is_space, is_break = codes == _SPACE, (codes == _NEWLINE) | (codes == _TAB)
    is_blank = is_space | is_break
    soft[1:] = is_break
    soft[2:-1] |= is_space[1:-1] & ~is_space[2:] & ~is_blank[:-2]
    if ends is not None:
        soft[ends] = is_break[ends - 1]
        soft[ends + 1] = False
    low = np.minimum(codes, 0x7F)
    in_word = np.where(codes < _LETTERS_END, _IN_WORDS[np.minimum(codes, _LETTERS_END - 1)], False)
    in_word |= (codes == 0x20AC) | (codes == ord(HEADER_MARK)) | (classes == COMBINING)
    in_word &= classes != WIDE
    between[1:-1] = ~(in_word[:-1] & in_word[1:])
    between[1:-1] &= is_blank[:-1] | ~_CLOSING[low][1:] | (codes[1:] >= 0x80)
    between[1:-1] &= classes[1:] != COMBINING
    digits = _DIGITS[low] & (codes < 0x80)
    between[2:-1] &= ~(digits[:-2] & (codes[1:-1] == _COMMA) & digits[2:])  # 1,234
    begins = np.flatnonzero((codes[:-2] == _BACKSLASH) & (codes[1:-1] == ord("u")) & (codes[2:] == ord("{")))
    inside = begins
    for offset in range(1, CONTEXT):  # an escape is one word
        inside = inside[inside + offset < size]
        between[inside + offset] = False
        inside = inside[codes[inside + offset] != ord("}")]
    between[1:] |= soft[1:]
    between[-1] = True
    if ends is not None:
        between[ends] = between[ends + 1] = True
    return soft, between
