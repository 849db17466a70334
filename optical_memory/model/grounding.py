"""Boxes in the model's output: ``<|ref|>label<|/ref|><|det|>[[x1, y1, x2, y2]]<|/det|>``, coordinates 0 to 999.

The output of a model is not trusted: nothing is evaluated, every scan is linear, and what is malformed is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest

COORDINATE_MAX = 999
"""The right and bottom edge of the image in the model's coordinates (README of deepseek-ai/DeepSeek-OCR, 2025-10)."""
MAX_BOXES = 10_000
"""Boxes taken from one output; what comes after is ignored."""

_TAGS = re.compile(r"<\|/?(?:ref|det)\|>")
_PART = re.compile(
    r"<\|ref\|>((?:(?!<\|/?ref\|>).){0,2000})<\|/ref\|>\s{0,8}<\|det\|>([^<]{0,100000})<\|/det\|>", re.DOTALL
)
_NUMBER = r" {0,4}(\d{1,3}) {0,4}"
_BOX = re.compile(rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle in px of the original image, left and top inclusive."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounded:
    """A label (or the words that were located) with its boxes, and the text that follows up to the next label."""

    label: str
    boxes: tuple[Box, ...]
    text: str


def parse(output: str, size: tuple[int, int]) -> list[Grounded]:
    """Return the grounded parts of ``output`` for an image of ``size`` (width, height in px), in order.

    A part without a readable box has an empty ``boxes``; boxes whose right or bottom edge lies before the left or
    top one are left out.
    """
    parts = list(_PART.finditer(output))
    found: list[Grounded] = []
    left = MAX_BOXES
    for part, following in zip_longest(parts, parts[1:]):
        boxes = tuple(islice(_boxes(part[2], size), left))
        left -= len(boxes)
        text = output[part.end() : following.start() if following else len(output)]
        found.append(Grounded(label=part[1].strip(), boxes=boxes, text=strip(text)))
    return found


def strip(output: str) -> str:
    """Return ``output`` without labels and boxes: the plain text or Markdown."""
    return _TAGS.sub("", _PART.sub("", output)).strip()


def _boxes(det: str, size: tuple[int, int]) -> Iterator[Box]:
    width, height = size
    for match in _BOX.finditer(det):
        x1, y1, x2, y2 = (int(value) for value in match.groups())
        if x1 <= x2 and y1 <= y2:
            yield Box(
                left=int(x1 / COORDINATE_MAX * width),
                top=int(y1 / COORDINATE_MAX * height),
                right=int(x2 / COORDINATE_MAX * width),
                bottom=int(y2 / COORDINATE_MAX * height),
            )
