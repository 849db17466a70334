"""Readers: a page image in, text out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from optical_memory.renderers.base import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A character that the reader is not sure of: its place in ``Reading.text`` and what it may be, best first."""

    index: int
    candidates: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a reader made of a page.

    ``tokens`` is what the image cost the reader (None where the reader does not count tokens); ``seconds`` is wall
    time. Characters in doubt stand as U+FFFD in ``text`` for readers that can tell, and are listed in ``doubts``.
    """

    text: str
    seconds: float
    tokens: int | None = None
    doubts: tuple[Doubt, ...] = ()


class Reader(Protocol):
    """Reads pages. ``name`` is what ``load_reader`` takes."""

    @property
    def name(self) -> str:
        """The reader's name."""

    def read(self, page: Page | bytes) -> Reading:
        """Read a page, or a PNG alone. Errors: ReaderError, GridNotFoundError."""
