"""Prompts that the published model was trained on, and how a context is laid out for it.

Source: README of deepseek-ai/DeepSeek-OCR (2025-10-20). The model knows no chat template: its input is the
beginning-of-sequence token, the image tokens, a newline, and the prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

from optical_memory.errors import InputError
from optical_memory.renderers.base import Page
from optical_memory.turns import Turn

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


@runtime_checkable
class PagedContext(Protocol):
    """What is needed of a context: old pages, then recent turns."""

    @property
    def pages(self) -> Iterable[Page]:
        """Pages, oldest first."""

    @property
    def recent(self) -> Iterable[Turn]:
        """Turns that are still text, oldest first."""


Context = PagedContext | Page | str | Iterable[Block]
"""What can be generated on: a memory's context, a page, a text, or pages and text in order."""


def blocks(context: Context) -> Iterator[Block]:
    """Yield what the decoder is to see, in order.

    A context gives its pages, each followed by the facts kept beside it, then its recent turns as
    ``role: text`` lines. A page, a text, or any iterable of both, are taken as they are; each page is followed by
    the newline that the published prompts have there.
    """
    if isinstance(context, Page | str):
        context = (context,)
    if not isinstance(context, PagedContext):
        yield from _plain(context)
        return
    for page in context.pages:
        yield page
        yield f"\n{page.facts}\n" if page.facts else "\n"
    for turn in context.recent:
        yield f"{_speaker(turn)}: {turn.text}\n"


def _plain(parts: Iterable[Any]) -> Iterator[Block]:
    for part in parts:
        if not isinstance(part, Page | str):
            raise InputError(f"a context is made of pages and text, not {type(part).__name__!r}")
        yield part
        if isinstance(part, Page):
            yield "\n"


def _speaker(turn: Turn) -> str:
    return f"{turn.role} {turn.name}" if turn.name else turn.role
