"""The decoder's vocabulary: pieces of text, and any character of the Basic Multilingual Plane as two bytes.

A token stands for cells of a page: a piece of 2 to 16 ASCII characters, a single character or mark of the page, or
the high or the low byte of a code point; a high byte moves on by no cell, its low byte by one or, for a wide
character, two. Text is cut greedily, the longest piece first, so the next token depends on what comes next alone.
The pieces are the first ASCII tokens of the cl100k_base ranks (OpenAI's tiktoken, MIT; in the package bpe-openai).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from optical_memory.renderers import visible

START, HIGH, LOW, SINGLE = 0, 1, 257, 513
"""Ids: the start of a text, the 256 high bytes, the 256 low bytes, the single characters; pieces follow."""
LONGEST = 16
"""Most characters of a piece."""

Ids = npt.NDArray[np.uint16]
Advances = npt.NDArray[np.uint8]

_MARKS = visible.NEWLINE_MARK + visible.TAB_MARK + visible.FILLER_MARK + visible.HEADER_MARK


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens by id. ``codes`` (V, 16) are the code points of each token, 0 behind them; ``lengths`` (V,) how many."""

    pieces: tuple[str, ...]
    codes: npt.NDArray[np.uint16]
    lengths: npt.NDArray[np.uint8]
    by_text: dict[str, int]

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.lengths)

    def encode(self, cells: npt.NDArray[np.uint16]) -> tuple[Ids, Advances]:
        """Cut cells, a wide character twice in a row, into tokens; also return how many cells each moves on."""
        wide = visible.bmp_classes()[cells] == visible.WIDE
        text = cells.astype("<u2").tobytes().decode("utf-16-le", "surrogatepass")
        ids: list[int] = []
        advances: list[int] = []
        place = 0
        while place < len(text):
            token, size = self._longest(text, place)
            if token is not None:
                ids.append(token)
                advances.append(size)
            else:
                code, size = int(cells[place]), 2 if wide[place] else 1
                ids += [HIGH + (code >> 8), LOW + (code & 255)]
                advances += [0, size]
            place += size
        return np.array(ids, np.uint16), np.array(advances, np.uint8)

    def _longest(self, text: str, place: int) -> tuple[int | None, int]:
        for size in range(min(LONGEST, len(text) - place), 0, -1):
            token = self.by_text.get(text[place : place + size])
            if token is not None:
                return token, size
        return None, 1


@cache
def load() -> Vocabulary:
    """Return the vocabulary of the bundled decoder."""
    source = files("optical_memory.model.mini").joinpath("vocabulary.json").read_text(encoding="utf-8")
    pieces = tuple([*map(chr, range(32, 127)), *_MARKS, *json.loads(source)])
    codes = np.zeros((SINGLE + len(pieces), LONGEST), np.uint16)
    lengths = np.zeros(len(codes), np.uint8)
    for token, piece in enumerate(pieces, SINGLE):
        codes[token, : len(piece)] = [ord(character) for character in piece]
        lengths[token] = len(piece)
    return Vocabulary(pieces, codes, lengths, {piece: token for token, piece in enumerate(pieces, SINGLE)})
