"""RapidOCR: a public OCR model (PP-OCR, Apache-2.0) whose weights come inside its wheel, so it works offline.

It knows nothing of our pages, which makes it an independent witness of what is legible on them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from optical_memory.errors import InputError, MissingExtraError
from optical_memory.readers.base import Reading
from optical_memory.readers.images import open_page
from optical_memory.renderers.base import Page

MAX_SIDE_PX = 4096
"""Longest side handed to the model, after upscaling: detection's memory grows with the area."""
_CELL_PX = 26
"""Height of a row at which the recogniser reads best (its own input is 48 px high, with margins)."""
_MARKS = str.maketrans({"\u21b5": "\n", "\u21e5": "\t"})
"""Visible marks of a page that stand for what cannot be seen; the model's alphabet has both."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A piece of text with its box in px: left, right, and the vertical centre."""

    text: str
    left: float
    right: float
    middle: float
    height: float


class RapidOcrReader:
    """Reads with RapidOCR.

    ``upscale``: factor by which an image is enlarged before reading, or "auto": for a page, so much that a row is
    about 26 px high; for a bare image, not at all. ``flow``: "reflow" joins rows as our pages flow (a row that
    reaches the right edge goes on in the next), "lines" ends a line with each row, "auto" is "reflow" for a page
    and "lines" for a bare image. ``threads`` of the runtime.
    """

    name = "rapidocr"

    def __init__(
        self,
        *,
        upscale: float | Literal["auto"] = "auto",
        flow: Literal["auto", "reflow", "lines"] = "auto",
        threads: int = 2,
    ) -> None:
        """Load the model. Raises MissingExtraError without the package."""
        if upscale != "auto" and not 1 <= upscale <= 8:
            raise InputError(f"upscale must be 'auto' or between 1 and 8, not {upscale!r}")
        try:
            from rapidocr import RapidOCR
        except ImportError as error:
            raise MissingExtraError("rapidocr", "rapidocr") from error
        self.upscale = upscale
        self.flow = flow
        self._engine: Any = RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.use_cls": False,  # our rows are never upside down
                "Global.max_side_len": MAX_SIDE_PX,
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            }
        )

    def read(self, page: Page | bytes) -> Reading:
        """Read a page or an encoded image (PNG, JPEG, …). Raises ReaderError for data that is not an image."""
        start = time.perf_counter()
        image = open_page(page)
        factor = self._factor(page, image)
        if factor > 1:
            size = (round(image.width * factor), round(image.height * factor))
            image = image.resize(size, Image.Resampling.LANCZOS)
        result = self._engine(np.asarray(image)[:, :, ::-1])  # BGR, as OpenCV has it
        lines = _lines(result)
        reflow = self.flow == "reflow" or (self.flow == "auto" and isinstance(page, Page))
        return Reading(text=_join(lines, reflow=reflow), seconds=time.perf_counter() - start)

    def _factor(self, page: Page | bytes, image: Image.Image) -> float:
        most = MAX_SIDE_PX / max(image.size)
        if self.upscale != "auto":
            return min(float(self.upscale), most)
        if isinstance(page, bytes):
            return 1.0
        row = page.layout.grid.cell_height * page.size[1] / page.layout.grid.height  # px at this tier
        return min(max(1.0, _CELL_PX / row), most)


def _lines(result: Any) -> list[_Line]:
    if result.boxes is None or result.txts is None:
        return []
    lines = []
    for box, text in zip(np.asarray(result.boxes, dtype=float), result.txts, strict=True):
        left, right = box[:, 0].min(), box[:, 0].max()
        top, bottom = box[:, 1].min(), box[:, 1].max()
        lines.append(_Line(str(text), left, right, (top + bottom) / 2, bottom - top))
    return lines


def _rows(lines: list[_Line]) -> list[list[_Line]]:
    """Put pieces whose centres lie within half a height of each other into one row, left to right."""
    rows: list[list[_Line]] = []
    for line in sorted(lines, key=lambda line: line.middle):
        if rows:
            middle = sum(other.middle for other in rows[-1]) / len(rows[-1])
            if abs(line.middle - middle) < 0.5 * min(line.height, rows[-1][0].height):
                rows[-1].append(line)
                continue
        rows.append([line])
    return [sorted(row, key=lambda line: line.left) for row in rows]


def _join(lines: list[_Line], *, reflow: bool) -> str:
    if not lines:
        return ""
    widths = [(line.right - line.left) / len(line.text) for line in lines if line.text]
    cell = float(np.median(widths)) if widths else 1.0
    margin, edge = min(line.left for line in lines), max(line.right for line in lines)
    out: list[str] = []
    for row in _rows(lines):
        end = margin
        for line in row:
            out.append(" " * max(0, round((line.left - end) / cell)) + line.text)
            end = line.right
        goes_on = reflow and edge - end < 1.5 * cell
        if not goes_on and not out[-1].endswith("\u21b5"):
            out.append("\n")
    text = "".join(out).translate(_MARKS)
    return text.removesuffix("\n")
