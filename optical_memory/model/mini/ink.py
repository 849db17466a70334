"""From an encoded page image to what the network takes: ink, 0 paper to 1, on a square of whole vision tokens."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from optical_memory.errors import ImageError
from optical_memory.model.mini.encoder import TOKEN

MOST_SIDE = 4096
"""Largest side that is read, px."""

_BARE = 0.1
"""Distance between the middle level and the commonest, 0 to 1, below which half of a page and more is bare."""
_NEAR = 8
"""Levels to both sides that count as one: noise and JPEG spread the paper's."""

_DRAWN = 32
"""Levels that an image has at most as a renderer drew it: 16, and with coloured labels and grounds up to 31."""

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
    commonest level of the middle's side.
    """
    counts = np.bincount(levels.ravel(), minlength=256)
    ranks = counts.cumsum()  # how many px are of a level or darker
    middle = float(np.searchsorted(ranks, [(levels.size - 1) // 2, levels.size // 2], side="right").mean()) / 255
    grey = np.arange(256, dtype=np.float32) / np.float32(255)  # of each level
    commonest = _commonest(counts, range(128, 256) if middle >= 0.5 else range(128)) / 255
    paper = middle if abs(middle - commonest) < _BARE else commonest
    ink = (paper - grey) / paper if middle >= 0.5 else (grey - paper) / (1 - paper)
    found: Ink = np.clip(ink, 0, 1)[levels]
    return found


def _commonest(counts: npt.NDArray[np.int64], side: range) -> float:
    """Return the commonest level of a side, 0 to 255: the median of the 17 levels that together are the most."""
    padded = np.pad(counts[side.start : side.stop], _NEAR)
    sums = np.convolve(padded, np.ones(2 * _NEAR + 1, np.int64), "valid")  # (128,)
    first = int(sums.argmax())
    window = padded[first : first + 2 * _NEAR + 1].cumsum()
    return float(side.start + first - _NEAR + np.searchsorted(window, window[-1] / 2))


def as_drawn(ink: Ink) -> bool:
    """Return whether ink has as few levels as a renderer's page: noise, JPEG and other programs' letters leave more."""
    return int(np.count_nonzero(np.bincount((ink * 255 + 0.5).astype(np.uint8).ravel()))) <= _DRAWN


def squared(ink: Ink) -> Ink:
    """Return the same on the least square with a side that is a multiple of 64 px, paper at the right and below."""
    side = -(-max(ink.shape) // TOKEN) * TOKEN
    return np.pad(ink, ((0, side - ink.shape[0]), (0, side - ink.shape[1])))
