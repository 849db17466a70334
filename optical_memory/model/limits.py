"""Which mode a page is shown in, and what to say when the device is full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from optical_memory.errors import OutOfMemoryError
from optical_memory.model.image import MODES, PX_PER_TOKEN, Mode, find_mode
from optical_memory.renderers.base import Page

SMALLER = {"gundam-m": "gundam", "gundam": "large", "large": "base", "base": "small", "small": "tiny"}
"""The next mode that needs less memory."""


def mode_of(page: Page) -> Mode:
    """Return the mode that shows a page as it is: its tier's, or that of its size, or Gundam for other shapes."""
    if page.tier in MODES:
        return MODES[page.tier]
    width, height = page.size
    if width == height and width % PX_PER_TOKEN == 0:
        return find_mode(width)
    return MODES["gundam"]


@contextmanager
def device_memory(modes: Sequence[Mode], *, advice: str | None = None) -> Iterator[None]:
    """Turn a full device into an OutOfMemoryError that names the next smaller mode than the largest of ``modes``.

    ``advice`` is said instead, where no mode would help.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(advice or _advice(modes)) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # what PyTorch says where the CPU's memory is full
            raise
        raise OutOfMemoryError(advice or _advice(modes)) from error


def _advice(modes: Sequence[Mode]) -> str:
    largest = max(modes, key=lambda mode: mode.size**2 + (mode.tile or 0) ** 2 * mode.max_tiles, default=None)
    if largest is None:
        return "the device is full; use fewer pages, fewer new tokens or a smaller batch"
    smaller = SMALLER.get(largest.name) or next((mode.name for mode in _by_size() if mode.size < largest.size), None)
    if smaller is None:
        return f"the device is full in mode {largest.name!r}, the smallest; use fewer pages or a smaller batch"
    return f"the device is full in mode {largest.name!r}; try mode {smaller!r}, fewer pages or a smaller batch"


def _by_size() -> list[Mode]:
    return sorted((mode for mode in MODES.values() if mode.tile is None), key=lambda mode: -mode.size)
