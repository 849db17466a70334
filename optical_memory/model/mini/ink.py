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
    """Ink of a grey image, 0 black to 255 white: the level in the middle is paper, and what differs from it is ink."""
    ranks = np.bincount(levels.ravel(), minlength=256).cumsum()  # how many px are of a level or darker
    middle = np.searchsorted(ranks, [(levels.size - 1) // 2, levels.size // 2], side="right")
    grey = np.arange(256, dtype=np.float32) / np.float32(255)  # of each level
    paper = float(grey[middle].mean())
    ink = (paper - grey) / paper if paper >= 0.5 else (grey - paper) / (1 - paper)
    found: Ink = np.clip(ink, 0, 1)[levels]
    return found


def squared(ink: Ink) -> Ink:
    """Return the same on the least square with a side that is a multiple of 64 px, paper at the right and below."""
    side = -(-max(ink.shape) // TOKEN) * TOKEN
    return np.pad(ink, ((0, side - ink.shape[0]), (0, side - ink.shape[1])))
