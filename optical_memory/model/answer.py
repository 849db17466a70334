"""What a model answers, whole or piece by piece, and what it cost."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from optical_memory.errors import InputError
from optical_memory.model.grounding import Grounded, parse, strip

Ended = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a call cost: positions of each kind, how many of them were computed, and wall time in seconds.

    ``reused_tokens`` are positions whose keys and values were kept from an earlier call; ``new_tokens`` were
    generated.
    """

    vision_tokens: int
    text_tokens: int
    reused_tokens: int
    new_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model wrote.

    ``ended`` is "stop" (it said so), "length" (no tokens or positions were left) or "cancelled". ``ids`` are the
    generated tokens without the one that stopped it; ``logs``, where the model judges itself, the logarithms of the
    probabilities of all of them.
    """

    text: str
    usage: Usage
    ended: Ended
    ids: tuple[int, ...]
    logs: tuple[float, ...] = ()

    def grounded(self, size: tuple[int, int]) -> list[Grounded]:
        """Return labels and boxes in px of an image of ``size`` (width, height)."""
        return parse(self.text, size)

    @property
    def plain(self) -> str:
        """The text without labels and boxes."""
        return strip(self.text)


class Stream:
    """The pieces of an answer as they are written; the same properties as :class:`Answer`, complete at its end."""

    def __init__(self, pieces: Generator[str | Answer, None, None]) -> None:
        """Take an iterator whose last item is the answer."""
        self._pieces = pieces
        self._answer: Answer | None = None

    def __iter__(self) -> Generator[str, None, None]:
        """Yield text as it is written. Leaving the loop early stops the model."""
        with closing(self._pieces):
            for piece in self._pieces:
                if isinstance(piece, Answer):
                    self._answer = piece
                else:
                    yield piece

    @property
    def answer(self) -> Answer:
        """The whole answer; what has not been taken yet is generated first."""
        for _ in self:
            continue
        if self._answer is None:
            raise InputError("the stream failed or was closed before the answer was complete")
        return self._answer

    @property
    def text(self) -> str:
        """The whole text."""
        return self.answer.text

    @property
    def usage(self) -> Usage:
        """What it cost."""
        return self.answer.usage
