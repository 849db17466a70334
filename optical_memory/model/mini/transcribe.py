"""Reading by the decoder: token by token, each at its place on the page.

The rows of a page are read in a few stretches side by side, which is one batch. Every token moves its stretch on,
by at least one cell in two steps, so reading ends, whatever the decoder says: it can err, and it cannot loop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from optical_memory.model.cache import KeyValueCache
from optical_memory.model.mini import decoder, vocabulary
from optical_memory.model.mini.decoder import AHEAD, MiniDecoder, places
from optical_memory.model.mini.reading import Sheet
from optical_memory.model.mini.vocabulary import HIGH, LOW, SINGLE, START, Vocabulary
from optical_memory.renderers import base, visible

STRETCHES = 8
"""Stretches of rows that are read side by side."""
_WINDOW = 480
"""Steps after which a text starts anew where it is: training windows are 512 tokens long."""
_SPACE = 32


@dataclass(slots=True)
class _Pen:
    """Writes what one stretch of cells says: from ``place`` to ``end``."""

    place: int
    end: int
    high: int = -1
    sure: float = 1.0

    @property
    def is_writing(self) -> bool:
        """Whether the end is not reached."""
        return self.place < self.end

    def skip(self, following: list[int]) -> None:
        """Move over a stretch where nothing stands; ``following`` holds for each cell the next inked one."""
        if self.high < 0 and self.is_writing and following[self.place] - self.place > AHEAD:
            self.place = following[self.place] // 2 * 2

    def put(self, token: int, sure: float, sheet: _Written, words: Vocabulary) -> None:
        """Take the next token."""
        if HIGH <= token < LOW:
            self.high, self.sure = token - HIGH, sure
            return
        if LOW <= token < SINGLE:
            code = self.high << 8 | token - LOW
            wide = visible.bmp_classes()[code] == visible.WIDE and self.place % 2 == 0
            sheet.write(self.place, [code, base.WIDE] if wide else [code], min(sure, self.sure))
            self.place, self.high = self.place + 1 + wide, -1
            return
        size = max(1, int(words.lengths[token]))
        sheet.write(self.place, words.codes[token, :size].tolist(), sure)
        self.place += size


@dataclass(frozen=True, slots=True)
class _Written:
    cells: npt.NDArray[np.uint32]
    sure: npt.NDArray[np.float64]

    def write(self, place: int, codes: list[int], sure: float) -> None:
        codes = codes[: max(0, len(self.cells) - place)]
        self.cells[place : place + len(codes)] = codes
        self.sure[place : place + len(codes)] = sure


@torch.inference_mode()
def transcribe(model: MiniDecoder, tokens: Tensor, slots: Tensor, sheet: Sheet) -> tuple[Sheet, int]:
    """Read again, by the decoder, a page that the head has read; return what it says and the steps it took.

    ``tokens`` (h, w, width) are the page's vision tokens and ``slots`` (cells, slot) the head's slots under the
    middles of the sheet's cells, in reading order.
    """
    inked = sheet.inked.ravel()
    written = _Written(np.full(inked.size, _SPACE, np.uint32), np.ones(inked.size))
    pens = _pens(sheet.inked)
    seen = model.page(tokens[None])[0]  # (N, D)
    steps = _write(model, _Page(slots, sheet.cells.shape), seen, pens, _next_ink(inked), written) if pens else 0
    cells = np.where(inked, written.cells, np.uint32(_SPACE)).reshape(sheet.cells.shape)
    codes, shares = np.full_like(sheet.codes, _SPACE), np.zeros_like(sheet.probabilities)
    codes[:, :, 0] = np.where(cells == base.WIDE, np.roll(cells, 1, axis=1), cells)
    shares[:, :, 0] = np.where(sheet.inked, written.sure.reshape(cells.shape), 1.0)
    return replace(sheet, cells=cells, codes=codes, probabilities=shares), steps


def _pens(inked: npt.NDArray[np.bool_]) -> list[_Pen]:
    """Return the stretches: runs of whole rows, from the first ink of each to its last."""
    pens = []
    columns = inked.shape[1]
    for rows in np.array_split(np.flatnonzero(inked.any(1)), STRETCHES):
        if len(rows):
            first, end = int(rows[0]) * columns, (int(rows[-1]) + 1) * columns
            places = first + np.flatnonzero(inked.ravel()[first:end])
            pens.append(_Pen(int(places[0]) // 2 * 2, int(places[-1]) + 1))
    return pens


class _Page:
    """What the decoder sees of a page at any place: a glance and where it is."""

    def __init__(self, slots: Tensor, shape: tuple[int, int]) -> None:
        self._slots = F.pad(slots, (0, 0, 0, AHEAD))  # (cells + AHEAD, slot)
        self._shape = shape

    def at(self, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Return glances (B, 1, AHEAD·slot) and places (B, 1, 2) for offsets (B,)."""
        glance = self._slots[offsets[:, None] + torch.arange(AHEAD)].flatten(1)  # (B, AHEAD·slot)
        return glance[:, None], places(offsets, self._shape)[:, None]


def _write(
    model: MiniDecoder, page: _Page, seen: Tensor, pens: list[_Pen], following: list[int], written: _Written
) -> int:
    """Let the decoder write with all pens until they are done; ``seen`` (N, D) are the page's embeddings."""
    count, words = len(pens), vocabulary.load()
    cache = KeyValueCache(model.core.config, capacity=len(seen) + _WINDOW, batch=count, dtype=seen.dtype)
    model(seen.expand(count, -1, -1), positions=torch.arange(len(seen)), attend=cache.run(0, len(seen)))
    ids, number = torch.full((count,), START), 0
    while any(pen.is_writing for pen in pens):
        step = number % _WINDOW
        if step == 0:
            ids = torch.full((count,), START)
        for pen in pens:
            pen.skip(following)
        x = model.text(ids[:, None], *page.at(torch.tensor([min(pen.place, len(following) - 1) for pen in pens])))
        positions = torch.full((count, 1), decoder.TEXT_FROM + step)
        attend = cache.step(torch.full((count,), len(seen) + step), len(seen) + step + 1)
        hidden = model(x, positions=positions, attend=attend)  # (B, 1, D)
        ids, sure = _choose(model.core.head(hidden[:, 0]), torch.tensor([pen.high >= 0 for pen in pens]))
        for pen, token, share in zip(pens, ids.tolist(), sure.tolist(), strict=True):
            if pen.is_writing:
                pen.put(token, share, written, words)
        number += 1
    return number


def _choose(logits: Tensor, halfway: Tensor) -> tuple[Tensor, Tensor]:
    """Return the likeliest tokens (B,) and their probabilities; a low byte follows a high byte and nothing else."""
    low = torch.zeros(logits.shape[-1], dtype=torch.bool)
    low[LOW:SINGLE] = True
    allowed = halfway[:, None] == low  # (B, V)
    allowed[:, START] = False
    best, ids = logits.float().masked_fill(~allowed, -torch.inf).softmax(-1).max(-1)
    return ids, best


def _next_ink(inked: npt.NDArray[np.bool_]) -> list[int]:
    """Return for each cell (n,) the first inked one from there on; n where there is none."""
    places = np.where(inked, np.arange(len(inked)), len(inked))
    return [*np.minimum.accumulate(places[::-1])[::-1].tolist(), len(inked)]
