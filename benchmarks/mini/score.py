"""Scoring pages as read: characters, identifiers, what is silently wrong, and whether certainty tells the truth."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

import bpe_openai
import numpy as np
import numpy.typing as npt

from benchmarks.mini.pages import Case
from benchmarks.mini.text import layouts
from optical_memory.errors import GridNotFoundError
from optical_memory.model.mini import confidence
from optical_memory.model.mini.model import MiniModel
from optical_memory.model.mini.reading import Sheet, certainty
from optical_memory.readers.fidelity import compare, precision
from optical_memory.readers.mini import mark
from optical_memory.renderers import ChromiumRenderer, DenseRenderer
from optical_memory.renderers.base import Layout, Raster
from optical_memory.renderers.layout import text_of

O200K = bpe_openai.get_encoding("o200k_base")
DIGITS = 12
"""Hexadecimal digits of an identifier."""
LOOP = 40
"""Characters that, repeated three times on end where the page has none of it, are a loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; ``compression`` is text tokens (o200k) over vision tokens, ``lost`` pages without grid."""

    group: str
    page: str
    text: str
    characters: int
    tokens: int
    compression: float
    precision: float
    shown: float
    identifiers: float | None
    silent: float | None
    calibration_error: float
    seconds: float
    lost: int
    loops: int

    def __str__(self) -> str:
        """One line."""
        extra = "" if self.identifiers is None else f"  exact {self.identifiers:.4f}  silent {self.silent:.5f}"
        lost = (f"  {self.lost} without grid" if self.lost else "") + (f"  {self.loops} loops" if self.loops else "")
        return (
            f"{self.page:26} {self.text:8} {self.characters:5d} chars {self.tokens:4d} tokens {self.compression:5.1f}x"
            f"  right {self.precision:.5f}  marked {self.shown:.5f}  {self.seconds:.2f} s{extra}{lost}"
        )


@dataclass(slots=True, kw_only=True)
class Judged:
    """Certainties (n,) of inked cells, and whether each was right; and of identifiers, with their page's doubt."""

    certainty: list[npt.NDArray[np.float64]] = field(default_factory=list)
    right: list[npt.NDArray[np.bool_]] = field(default_factory=list)
    doubt: list[float] = field(default_factory=list)
    drawn: list[bool] = field(default_factory=list)
    least: list[npt.NDArray[np.float64]] = field(default_factory=list)
    exact: list[npt.NDArray[np.bool_]] = field(default_factory=list)

    def add(self, layout: Layout, sheet: Sheet, kind: str) -> None:
        """Take a page in, where it was read on its own grid."""
        if sheet.cells.shape != layout.cells.shape:
            return
        sure, right = certainty(sheet), sheet.cells == np.where(layout.cells == 0, 32, layout.cells)
        self.certainty.append(sure[sheet.inked])
        self.right.append(right[sheet.inked])
        if kind == "hex":
            text = layout.cells.ravel()
            whole = len(text) // (DIGITS + 1) * (DIGITS + 1)
            sure = np.where(confidence.cut(sheet), 0.0, sure)  # never shown
            self.doubt.append(confidence.doubt(sheet))
            self.drawn.append(sheet.drawn)
            self.least.append(sure.ravel()[:whole].reshape(-1, DIGITS + 1)[:, :DIGITS].min(1))
            self.exact.append(right.ravel()[:whole].reshape(-1, DIGITS + 1)[:, :DIGITS].all(1))

    def calibration_error(self, bins: int = 15) -> float:
        """Return the expected calibration error over bins of as many characters each."""
        if not self.certainty:
            return float("nan")
        sure, right = np.concatenate(self.certainty), np.concatenate(self.right)
        parts = np.array_split(np.argsort(sure), bins)
        return float(
            sum(abs(sure[part].mean() - right[part].mean()) * len(part) for part in parts if len(part)) / len(sure)
        )


class Bench:
    """Draws, reads and scores; ``judged`` gathers what all rows say of certainty."""

    def __init__(self, model: MiniModel, pages: int) -> None:
        """Take the model and the pages of a row; renderers start when they are first needed."""
        self.model, self.pages = model, pages
        self.dense = DenseRenderer()
        self.browser: ChromiumRenderer | None = None
        self.judged = Judged()

    def close(self) -> None:
        """Close the browser."""
        if self.browser is not None:
            self.browser.close()

    def drawn(self, case: Case, kind: str, seed: int = 1) -> tuple[list[Layout], list[bytes]]:
        """Return pages of a case and their images; twice as many of identifiers, whose errors are rare."""
        pages = self.pages * (2 if kind == "hex" else 1)
        size = (case.side, case.side)
        rasters: list[Raster]
        if case.chromium:
            self.browser = self.browser or ChromiumRenderer()
            sheets = layouts(kind, case.grid, pages, seed, self.browser.repertoire)
            rasters = self.browser.draw(sheets, size=size)
        else:
            sheets = layouts(kind, case.grid, pages, seed)
            rasters = [case.draw(one, case.side) for one in sheets] if case.draw else self.dense.draw(sheets, size=size)
        return sheets, [case.damage(raster) for raster in rasters]

    def row(self, case: Case, kind: str) -> Row:
        """Read the pages of a case from their images alone and compare them with their layouts."""
        sheets, images = self.drawn(case, kind)
        rights, shown, seconds, own = [], [], [], Judged()
        found = exact = silent = lost = repeats = 0
        for layout, image in zip(sheets, images, strict=True):
            try:
                started = time.perf_counter()
                sheet = self.model.read(image)
                marked = mark(sheet)[0]
                seconds.append(time.perf_counter() - started)
                best = text_of(sheet.cells)
                for judged in (own, self.judged):
                    judged.add(layout, sheet, kind)
            except GridNotFoundError:
                marked = best = "\ufffd" * len(layout.text)  # refused aloud, not silently wrong
                lost += 1
            text = layout.text.rstrip(" ")  # blanks at the page's very end are on no image
            rights.append(precision(text, best.rstrip(" ")))
            shown.append(precision(text, marked.rstrip(" ")))
            repeats += loops(best) and not loops(layout.text)
            if kind == "hex":
                names = tuple(word for word in dict.fromkeys(layout.text.split()) if len(word) == DIGITS)
                exact += compare(layout.text, best, names).exact
                against = compare(layout.text, marked, names)
                found, silent = found + against.identifiers, silent + against.silently_wrong
        tokens = (case.side // 64) ** 2
        return Row(
            group=case.group,
            page=case.name,
            text=kind,
            characters=int(statistics.mean(len(layout.text) for layout in sheets)),
            tokens=tokens,
            compression=statistics.mean(len(O200K.encode(layout.text)) for layout in sheets) / tokens,
            precision=statistics.mean(rights),
            shown=statistics.mean(shown),
            identifiers=exact / found if found else None,
            silent=silent / found if found else None,
            calibration_error=own.calibration_error(),
            seconds=statistics.median(seconds) if seconds else 0.0,
            lost=lost,
            loops=repeats,
        )


def loops(text: str) -> bool:
    """Return whether some stretch of 40 characters of more than one kind stands three times on end."""
    for start in range(0, len(text) - 3 * LOOP, 7):
        piece = text[start : start + LOOP]
        if text.startswith(piece * 3, start) and len(set(piece)) > 2:
            return True
    return False
