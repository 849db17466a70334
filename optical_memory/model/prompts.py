"""Prompts that the published model was trained on, and how a context is laid out for it.

Source: README of deepseek-ai/DeepSeek-OCR (2025-10-20). The model knows no chat template: its input is the
beginning-of-sequence token, the image tokens, a newline, and the prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

from optical_memory.errors import InputError
from optical_memory.renderers.base import Page

FREE_OCR = "Free OCR."
"""Plain text, without layout."""
MARKDOWN = "<|grounding|>Convert the document to markdown."
"""Markdown, each block with its label and box."""
GROUNDED_OCR = "<|grounding|>OCR this image."
"""Lines of text with their boxes, for images that are no documents."""
PARSE_FIGURE = "Parse the figure."
"""The data of a chart, the structure of a drawing."""
DESCRIBE = "Describe this image in detail."
"""A description in words."""
PROMPTS = {
    "free-ocr": FREE_OCR,
    "markdown": MARKDOWN,
    "grounded-ocr": GROUNDED_OCR,
    "figure": PARSE_FIGURE,
    "describe": DESCRIBE,
}
"""The same by the names that commands take."""


def locate(words: str) -> str:
    """Return the prompt that asks where ``words`` stand in the image."""
    return f"Locate <|ref|>{words}<|/ref|> in the image."


Block = Page | str
"""A part of what the decoder sees: a page, as vision tokens, or a run of text."""


class Piece(Protocol):
    """What is needed of one piece of a context."""

    @property
    def text(self) -> str:
        """What it says in words: a turn, a record, the label and facts of a page."""

    @property
    def page(self) -> Page | None:
        """The page that it shows, if it shows one."""


@runtime_checkable
class Pieces(Protocol):
    """What is needed of a context: one ordered sequence of pieces."""

    def pieces(self) -> Iterable[Piece]:
        """Return all that the model sees, in order."""


Context = Pieces | Page | str | Iterable[Block]
"""What can be generated on: a memory's context, a page, a text, or pages and text in order."""


def blocks(context: Context) -> Iterator[Block]:
    """Yield what the decoder is to see, in order.

    Each piece of a context gives its text on lines of its own, then its page. A page, a text, or any iterable of both,
    are taken as they are. Each page is followed by the newline that the published prompts have there.
    """
    if isinstance(context, Page | str):
        context = (context,)
    if not isinstance(context, Pieces):
        yield from _plain(context)
        return
    for piece in context.pieces():
        if piece.text:
            yield f"{piece.text}\n"
        if piece.page is not None:
            yield piece.page
            yield "\n"


def _plain(parts: Iterable[Any]) -> Iterator[Block]:
    for part in parts:
        if not isinstance(part, Page | str):
            raise InputError(f"a context is made of pages and text, not {type(part).__name__!r}")
        yield part
        if isinstance(part, Page):
            yield "\n"
