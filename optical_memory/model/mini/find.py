"""Finding words on pages by likelihood: where the network says they may stand, not where they were read.

The score of a place is the sum, over the characters of the words, of the log-probability that the head gives each in
its cell; a character that was read wrong but thought possible is still found. Both cases of a letter count as one,
and a blank stands for any blank, newline or tab. Cells are taken in reading order, across the ends of rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from optical_memory.model.mini import reading, readout
from optical_memory.model.mini.network import MiniNetwork
from optical_memory.model.mini.reading import Sheet
from optical_memory.renderers import base
from optical_memory.renderers.base import Page
from optical_memory.renderers.visible import FILLER_MARK, HEADER_MARK, NEWLINE_MARK, TAB_MARK, plain, visible

LOWEST = -12.0
"""Log-probability below which all are alike: a character that the network rules out ends a place, and one only."""
LENIENCE, LENIENCE_PER_CHARACTER = 4.0, 0.12
"""A place holds the words if its score is at least -(``LENIENCE`` + ``LENIENCE_PER_CHARACTER`` · characters)."""
MOST_CHARACTERS = 200
"""Longer words to find are cut."""
LONGEST_LINE = 1000
"""Most characters of a line that are given on each side of the words."""
_BLANKS = (" ", NEWLINE_MARK, TAB_MARK)
_ENDS = tuple(map(ord, (NEWLINE_MARK, TAB_MARK, FILLER_MARK)))
_BREAK = -1
Source = Page | bytes | str
_LEAD = re.compile(f"{HEADER_MARK}. (?:[^:]{{0,23}}:|.{{24}}){NEWLINE_MARK}")
"""The row before a turn's text on its second and further pages: "▮… " and the start of its header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Words on a page: the character of the :class:`Run` they begin at, their score, and whether they stand alone."""

    index: int
    score: float
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """The characters of a page in reading order, as read; ``cells`` is the cell of each, -1 for a header's newline.

    ``blanks`` is how many blanks stand between it and a page that it goes on with. ``full``: its last row has text.
    """

    text: str
    cells: npt.NDArray[np.int64]
    wide: npt.NDArray[np.bool_]
    blanks: int
    full: bool

    def line(self, index: int, length: int, before: Run | None = None, after: Run | None = None) -> str:
        """Return the line about ``length`` characters at ``index``, without its newline.

        ``before`` and ``after`` are the pages that stand before and behind this one; the line may run over from and to
        them.
        """
        text = self.text + (" " * self.blanks + after.head if after is not None and self.goes_on else "")
        if before is not None and self.is_first_line(index):
            text = before.tail + text[self._lead :]
            index += len(before.tail) - self._lead
        start = max(text.rfind(NEWLINE_MARK, 0, index + 1) + 1, index - LONGEST_LINE)
        if start > index:  # the words begin at a newline
            start = index
        end = text.find(NEWLINE_MARK, index + length)
        end = min(len(text) if end < 0 else end, index + length + LONGEST_LINE)
        return plain(text[start:end]).strip("\n")

    @property
    def goes_on(self) -> bool:
        """Whether the page is full to its last row, so that its last line may go on on the next one."""
        return self.full and not self.text.endswith(NEWLINE_MARK)

    @property
    def head(self) -> str:
        """What the page goes on with from the one before, up to its first newline; nothing where a turn begins."""
        if self._lead == 0 and self.text.startswith(HEADER_MARK):
            return ""
        return self.text[self._lead : self.text.find(NEWLINE_MARK, self._lead) + 1 or None]

    @property
    def tail(self) -> str:
        """The last line, where it may go on on the next page."""
        return self.text[self.text.rfind(NEWLINE_MARK) + 1 :] + " " * self.blanks if self.goes_on else ""

    def is_first_line(self, index: int) -> bool:
        """Return whether a place is on the line that goes on from the page before."""
        return self._lead <= index < self._lead + len(self.head)

    @property
    def _lead(self) -> int:
        """Characters of the repeated header with which a turn goes on on a page."""
        lead = _LEAD.match(self.text)
        return 0 if lead is None else lead.end()


def run_of(sheet: Sheet) -> Run:
    """Return the characters of a sheet; a header begins a line, blanks before it fall away.

    What blanks at the end of a row stand for is in renderers/wrap.py.
    """
    columns = sheet.cells.shape[1]
    codes: list[int] = []
    places: list[int] = []
    for number, row in enumerate(sheet.cells.tolist()):
        if row[0] == ord(HEADER_MARK) and codes:
            _strip(codes, places)
            codes.append(ord(NEWLINE_MARK))
            places.append(_BREAK)
        kept = _kept(row)
        for column, code in enumerate(row[:kept]):
            if code not in (base.WIDE, ord(FILLER_MARK)):
                codes.append(code or ord(" "))
                places.append(number * columns + column)
    blanks = _strip(codes, places)
    cells = np.array(places, np.int64)
    following = np.append(sheet.cells.ravel()[1:], 0)
    wide = (following[cells] == base.WIDE) & (cells != _BREAK)
    full = bool((sheet.cells[-1] > ord(" ")).any())
    return Run(text="".join(map(chr, codes)), cells=cells, wide=wide, blanks=blanks, full=full)


def _kept(row: list[int]) -> int:
    """Return how many cells of a row count: one blank of those at its end, none behind a mark."""
    kept = len(row)
    while kept and row[kept - 1] in (0, ord(" ")):
        kept -= 1
    return min(kept + (kept == 0 or row[kept - 1] not in _ENDS), len(row))


def _strip(codes: list[int], places: list[int]) -> int:
    """Take the blanks off the end; return how many."""
    length = len(codes)
    while codes and codes[-1] == ord(" "):
        codes.pop()
        places.pop()
    return length - len(codes)


@torch.inference_mode()
def places(network: MiniNetwork, slots: Tensor, sheet: Sheet, run: Run, words: str) -> list[Place]:
    """Return where words stand on a page whose slots are (lattice points, slot), in reading order."""
    wanted = normalised(words)
    last = len(run.text) - len(wanted)
    if not wanted or last < 0:
        return []
    alphabet = sorted({form for character in wanted for form in _forms(character)})
    logs = _logs(network, slots, sheet, run, alphabet)  # (characters of the page, alphabet)
    columns = [[alphabet.index(form) for form in _forms(character)] for character in wanted]
    score = np.zeros(last + 1)
    for offset, forms in enumerate(columns):
        score += logs[offset : offset + last + 1, forms].max(1)
    least = -(LENIENCE + LENIENCE_PER_CHARACTER * len(wanted))
    return [
        Place(index=index, score=float(score[index]), whole=stands_alone(run.text, index, len(wanted)))
        for index in np.flatnonzero(score >= least).tolist()
    ]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Searched:
    """A page that words can be found on: the head's ``slots`` for it, the page as read, and its characters."""

    network: MiniNetwork
    slots: Tensor
    sheet: Sheet
    run: Run

    def place(self, words: str) -> Place | None:
        """Return where words stand; None if they do not.

        Where in several places, those that stand alone go before parts of longer words, then the last goes first.
        """
        found = places(self.network, self.slots, self.sheet, self.run, words)
        return max(found, key=lambda place: (place.whole, place.index), default=None)

    def line(self, words: str) -> tuple[str, bool] | None:
        """Return the line of the page that holds words, and whether they stand alone there; None if no line does."""
        best = self.place(words)
        return None if best is None else (self.run.line(best.index, len(normalised(words))), best.whole)


class Shelf:
    """Sources that words are looked for in, each page looked at once; a line may run over from one to the next."""

    def __init__(self, search: Callable[[Page | bytes], Searched], sources: Sequence[Source]) -> None:
        """Take what looks at a page, and the sources, oldest first."""
        self._search, self._sources = search, sources
        self._looked: dict[int, Searched] = {}
        self._tokens = 0

    def cost(self) -> int:
        """Return the vision tokens looked at since this was last asked."""
        tokens, self._tokens = self._tokens, 0
        return tokens

    def line(self, index: int, words: str) -> tuple[str, bool] | None:
        """Return the best line of a source and whether words stand alone in it; sources are asked from the last on."""
        source = self._sources[index]
        if isinstance(source, str):
            return in_text(source, words)
        self._looked.pop(index + 2, None)
        searched = self._at(index)
        place = searched.place(words)
        if place is None:
            return None
        before = (
            self._at(index - 1).run if searched.run.is_first_line(place.index) and self._goes_on(index - 1) else None
        )
        after = self._at(index + 1).run if self._goes_on(index) else None
        return searched.run.line(place.index, len(normalised(words)), before, after), place.whole

    def _at(self, index: int) -> Searched:
        source = self._sources[index]
        assert not isinstance(source, str)
        if index not in self._looked:
            self._looked[index] = self._search(source)
            self._tokens += self._looked[index].sheet.tokens
        return self._looked[index]

    def _goes_on(self, index: int) -> bool:
        """Return whether a source and the next one are pages that may be of one text: one turn, where that is known."""
        if not 0 <= index < len(self._sources) - 1:
            return False
        first, second = self._sources[index : index + 2]
        if isinstance(first, Page) and isinstance(second, Page):
            return first.turn_ids[-1:] == second.turn_ids[:1]
        return isinstance(first, bytes) and isinstance(second, bytes)


def normalised(words: str) -> str:
    """Return words as they are looked for: in visible form, blanks as one space, bounded."""
    return " ".join(visible(words[: 2 * MOST_CHARACTERS]).split())[:MOST_CHARACTERS]


def _forms(character: str) -> tuple[str, ...]:
    if character == " ":
        return _BLANKS
    forms = {character, character.lower(), character.upper()}
    return tuple(form for form in forms if len(form) == 1 and ord(form) < 0x10000)


def _logs(network: MiniNetwork, slots: Tensor, sheet: Sheet, run: Run, alphabet: list[str]) -> npt.NDArray[np.float64]:
    """Return the log-probability of each letter of an alphabet at each character of a page."""
    codes = torch.tensor([ord(letter) for letter in alphabet], device=slots.device)
    blank = np.array([letter in _BLANKS for letter in alphabet])
    by_cell = np.full((sheet.cells.size, len(alphabet)), LOWEST)
    by_cell[:, [letter == " " for letter in alphabet]] = 0.0
    if sheet.inked.any():
        own = reading.cell_slots(slots, sheet.grid, sheet.side, sheet.inked)
        found = readout.likelihoods(network.head, own, codes)
        by_cell[sheet.inked.ravel()] = found.double().cpu().numpy()
    logs = by_cell[run.cells]
    right = by_cell[np.minimum(run.cells + 1, len(by_cell) - 1)]
    logs[run.wide] = (logs[run.wide] + right[run.wide]) / 2
    logs[run.cells == _BREAK] = np.where(blank, 0.0, LOWEST)
    clipped: npt.NDArray[np.float64] = np.clip(logs, LOWEST, 0.0)
    return clipped


def stands_alone(text: str, index: int, length: int) -> bool:
    """Return whether ``length`` characters at ``index`` are whole words: no letter or digit goes on at either end."""
    before, after = text[index - 1 : index], text[index + length : index + length + 1]
    first, last = text[index : index + 1], text[index + length - 1 : index + length]
    return not (before.isalnum() and first.isalnum()) and not (after.isalnum() and last.isalnum())


def in_text(text: str, words: str) -> tuple[str, bool] | None:
    """Return the last line of a text that holds words, and whether they stand alone there; None if none does."""
    wanted = " ".join(words.split()).casefold()
    found: tuple[str, bool] | None = None
    for line in text.splitlines():
        folded = " ".join(line.split()).casefold()
        index = folded.find(wanted)
        while index >= 0:
            whole = stands_alone(folded, index, len(wanted))
            if found is None or whole >= found[1]:
                found = (line, whole)
            index = folded.find(wanted, index + 1)
    return found
