"""From an encoded page image to what the network takes: ink, 0 paper to 1, on a square of whole vision tokens."""

from __future__ import annotations

import io
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from optical_memory.errors import ImageError
from optical_memory.model.mini.encoder import TOKEN
from optical_memory.renderers.markup import LINK_COLOUR, ROLE_COLOURS, ramp
from optical_memory.renderers.raster import GREY_LEVELS

MOST_SIDE = 4096
"""Largest side that is read, px."""

_BARE = 0.1
"""Distance between the middle level and the commonest, 0 to 1, below which half of a page and more is bare."""
_NEAR = 8
"""Levels to both sides that count as one: noise and JPEG spread the paper's."""

_GROUND = 238
"""Level, of 0 black to 255 white, of the ground on which Chromium's pages show code."""
_WHITE, _BETWEEN = 0.1, 0.02
"""Share of a page that is white at least, and of levels between white and that ground at most, to white px."""

_DRAWN = 32
"""Levels that an image has at most as a renderer drew it in grey: 16, and with grounds up to 31."""

_OTHERS = 0.02
"""Share of the inked px of a renderer's page in colour that may be of other levels than its colours."""

Ink = npt.NDArray[np.float32]


def ink_of(png: bytes) -> Ink:
    """Ink (S, S) of an encoded image. Light on dark is inverted; other shapes are padded with paper.

    Errors: ImageError for what is not an image, is damaged, or is larger than 4,096 px.
    """
    try:
        with Image.open(io.BytesIO(png)) as image:
            if max(image.size) > MOST_SIDE or min(image.size) < 1:
                raise ImageError(
                    f"an image of {image.width} × {image.height} px; sides of 1 to {MOST_SIDE} px are read"
                )
            grey = np.asarray(image if image.mode == "L" else image.convert("RGB").convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"not a readable image: {error}") from error
    return squared(inverted(grey))


def inverted(levels: npt.NDArray[np.uint8]) -> Ink:
    """Ink of a grey image, 0 black to 255 white: the paper's level is none, and what differs from it is ink.

    The level in the middle is paper, but where dense Chinese leaves less than half of a page bare: there paper is the
    commonest level of the middle's side. Where the ground of code takes most of a page, paper is white.
    """
    counts = np.bincount(levels.ravel(), minlength=256)
    ranks = counts.cumsum()  # how many px are of a level or darker
    middle = float(np.searchsorted(ranks, [(levels.size - 1) // 2, levels.size // 2], side="right").mean()) / 255
    grey = np.arange(256, dtype=np.float32) / np.float32(255)  # of each level
    commonest = _commonest(counts, range(128, 256) if middle >= 0.5 else range(128)) / 255
    paper = middle if abs(middle - commonest) < _BARE else commonest
    paper = 1.0 if round(paper * 255) == _GROUND and _is_on_white(counts) else paper
    ink = (paper - grey) / paper if middle >= 0.5 else (grey - paper) / (1 - paper)
    found: Ink = np.clip(ink, 0, 1)[levels]
    return found


def _is_on_white(counts: npt.NDArray[np.int64]) -> bool:
    """Return whether an image of so many px at each level has much white, and nearly nothing between it and grounds.

    Noise, JPEG and paper that is grey leave other levels there.
    """
    white, between = int(counts[255]), int(counts[_GROUND + 1 : 255].sum())
    return white > _WHITE * counts.sum() and between < _BETWEEN * white


def _commonest(counts: npt.NDArray[np.int64], side: range) -> float:
    """Return the commonest level of a side, 0 to 255: the median of the 17 levels that together are the most."""
    padded = np.pad(counts[side.start : side.stop], _NEAR)
    sums = np.convolve(padded, np.ones(2 * _NEAR + 1, np.int64), "valid")  # (128,)
    first = int(sums.argmax())
    window = padded[first : first + 2 * _NEAR + 1].cumsum()
    return float(side.start + first - _NEAR + np.searchsorted(window, window[-1] / 2))


class Origin(NamedTuple):
    """Where an image seems to come from: ``drawn`` by a renderer, and ``coloured`` as Chromium draws a memory."""

    drawn: bool
    coloured: bool


def origin_of(ink: Ink) -> Origin:
    """Tell by its levels where an image comes from.

    As a renderer drew it, it has few, or those of Chromium's labels and links beside the greys. Noise, JPEG and other
    programs' letters leave more, and others.
    """
    counts = _counts(ink)
    others = counts[~_of_colours()].sum()  # a few where there are emoji
    of_labels = counts[_of_colours()].sum() - counts[:: 255 // (GREY_LEVELS - 1)].sum()
    coloured = bool(of_labels > 0 and others < _OTHERS * counts[1:].sum())
    return Origin(drawn=coloured or int(np.count_nonzero(counts)) <= _DRAWN, coloured=coloured)


def _counts(ink: Ink) -> npt.NDArray[np.int64]:
    return np.bincount((ink * 255 + 0.5).astype(np.uint8).ravel(), minlength=256)


@cache
def _of_colours() -> npt.NDArray[np.bool_]:
    """Return which of 256 levels of ink are a grey level, or one in a colour of the renderers."""
    found = np.zeros(256, np.bool_)
    for colour in ((0, 0, 0), LINK_COLOUR, *ROLE_COLOURS.values()):
        greys = Image.fromarray(ramp(colour)[None, :: 255 // (GREY_LEVELS - 1)]).convert("L")
        found[255 - np.asarray(greys)] = True
    return found


def squared(ink: Ink) -> Ink:
    """Return the same on the least square with a side that is a multiple of 64 px, paper at the right and below."""
    side = -(-max(ink.shape) // TOKEN) * TOKEN
    return np.pad(ink, ((0, side - ink.shape[0]), (0, side - ink.shape[1])))
