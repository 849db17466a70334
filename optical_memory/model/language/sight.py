"""A page as the language model sees it: vectors by its tier, and keys of its lines, each computed once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from optical_memory.errors import InputError
from optical_memory.model.language.adapter import RATIOS, Adapter
from optical_memory.model.mini import reading
from optical_memory.model.mini.cells import Cells
from optical_memory.model.mini.encoder import TOKEN
from optical_memory.model.mini.head import Lattice
from optical_memory.model.mini.model import MiniModel
from optical_memory.model.vision_cache import VisionCache, vision_key
from optical_memory.renderers.base import WIDE, Page
from optical_memory.renderers.layout import row_text
from optical_memory.renderers.visible import FILLER_MARK, HEADER_MARK, NEWLINE_MARK, TAB_MARK

TIERS = {"large": 9, "base": 9, "small": 6, "tiny": 3, "gist": 3, "micro": 1, "nano": 1}
"""Vectors a row by a page's tier: the older, the fewer."""
ROWS, COLUMNS = 64, 102
"""Cells of the mini's pages, which the adapter was trained on."""
_KEY_CELLS = 6
ACROSS = COLUMNS // _KEY_CELLS
"""Keys of a row."""
_SHEETS = 128
"""Pages whose rows are kept as read."""
_SAID = str.maketrans({HEADER_MARK: "\n", NEWLINE_MARK: "\n", TAB_MARK: " "})


class Sight:
    """Looks at pages with the mini's encoder and the adapter; keeps vectors and keys by page, tier and ratio."""

    def __init__(self, mini: MiniModel, lattice: Lattice, adapter: Adapter, name: str) -> None:
        """``name`` tells the weights from others in a cache."""
        self.mini, self.lattice, self.adapter, self.name = mini, lattice, adapter, name
        self.tiers: Mapping[str, int] = TIERS
        self.cache = VisionCache(max_bytes=256 << 20)
        self._rows: OrderedDict[tuple[str, str], list[str]] = OrderedDict()
        self._lock = threading.Lock()

    def key(self, page: Page, ratio: int) -> str:
        """Return the name (hex) of a page's vectors at a ratio."""
        return vision_key(f"{self.name}-{ratio}", page.id, page.tier)

    def ratio(self, page: Page) -> int:
        """Return how many vectors a row a page gets by its tier."""
        return self.tiers["gist"] if page.kind == "gist" else self.tiers.get(page.tier, RATIOS[0])

    def count(self, page: Page, ratio: int) -> int:
        """Return how many vectors a page has: ``ratio`` a row that is used."""
        return ratio * used_rows(page)

    def vectors(self, page: Page, ratio: int) -> Tensor:
        """Return a page's vectors (N, (1 + levels)·D) at a ratio. Errors: InputError, ImageError."""
        key, wide = self.key(page, ratio), (1 + self.adapter.config.levels) * self.adapter.config.hidden_size
        found = self.cache.get(key, self.adapter.length.device)
        if found is None or found.shape != (self.count(page, ratio), wide):  # a kept file may be any
            self._look(page, ratio)
            found = self.cache.get(key, self.adapter.length.device)
            assert found is not None
        return found

    def keys(self, page: Page) -> Tensor:
        """Return the keys (rows·across, key) of a page's lines. Errors: InputError, ImageError."""
        key = vision_key(f"{self.name}-keys", page.id, page.tier)
        found = self.cache.get(key, self.adapter.length.device)
        if found is None or found.shape != (ROWS * ACROSS, self.adapter.config.key):
            self._look(page, self.ratio(page))
            found = self.cache.get(key, self.adapter.length.device)
            assert found is not None
        return found

    def rows(self, page: Page) -> list[str]:
        """Return what the mini reads on each row of a page; characters more likely wrong than right as U+FFFD."""
        with self._lock:
            found = self._rows.get((page.id, page.tier))
        if found is None:
            found = rows_of(self.mini.search(page).sheet.cells)
            with self._lock:
                self._rows[page.id, page.tier] = found
                while len(self._rows) > _SHEETS:
                    self._rows.popitem(last=False)
        return found

    @torch.inference_mode()
    def _look(self, page: Page, ratio: int) -> None:
        check(page)
        side = page.size[0]
        tokens = self.mini.encode(page)
        down = side // TOKEN
        if tokens.shape[0] != down * down:
            raise InputError(f"page {page.id!r} has {tokens.shape[0]} vision tokens and says {page.size} px")
        kind = next(self.lattice.parameters())
        slots = self.lattice.slots(tokens.to(kind).view(1, down, down, -1))[0]  # (lattice points, slot)
        cells = Cells(width=12.5 * side / 1280, height=20 * side / 1280, columns=COLUMNS, rows=ROWS)
        own = reading.cell_slots(slots, cells, side, np.ones((ROWS, COLUMNS), np.bool_))  # (cells, slot)
        seen = self.adapter.see(own.view(1, ROWS, COLUMNS, -1))
        pooled = self.adapter.tokens(seen)
        rows = used_rows(page)
        part = tuple(each[:, : rows * COLUMNS] for each in pooled)
        vectors, _ = self.adapter(seen.features[:, :rows], type(pooled)(*part), ratio)
        self.cache.put(self.key(page, ratio), vectors[0])
        self.cache.put(
            vision_key(f"{self.name}-keys", page.id, page.tier), self.adapter.keys(seen.features)[0].flatten(0, 1)
        )


def rows_of(cells: npt.NDArray[np.uint32]) -> list[str]:
    """Return the text of each row of cells; a header and a newline mark begin a line, blanks before a header go."""
    heads = cells[:, 0] == ord(HEADER_MARK)
    out = []
    for number, row in enumerate(cells):
        kept = row[row != WIDE]
        text = row_text("".join(map(chr, np.where(kept == 0, 32, kept).tolist())))
        text = text.replace(FILLER_MARK, "").translate(_SAID)
        ends = number + 1 == len(cells) or heads[number + 1] or not (cells[number + 1] > 32).any()
        out.append(text.rstrip(" ") if ends else text)
    return out


def check(page: Page) -> None:
    """Refuse a page of another profile. Errors: InputError."""
    grid = page.layout.grid
    if (grid.rows, grid.columns) != (ROWS, COLUMNS) or page.size[0] != page.size[1]:
        raise InputError(
            f"page {page.id!r} has {grid.rows} rows of {grid.columns} cells; the language model reads pages of the"
            f" mini's profile, {ROWS} rows of {COLUMNS}: use profile='mini'"
        )


def used_rows(page: Page) -> int:
    """Return the rows up to the last one that says something; at least 1."""
    inked = np.flatnonzero(((page.layout.cells != 0) & (page.layout.cells != 32)).any(1))
    return int(inked[-1]) + 1 if len(inked) else 1
