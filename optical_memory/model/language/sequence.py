"""A context as the language model sees it: pages as vectors, what is recent as text, lines as read, the question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from optical_memory.errors import ContextTooLongError, InputError
from optical_memory.model.cache import Atom
from optical_memory.model.image import Mode
from optical_memory.model.language.adapter import RATIOS
from optical_memory.model.language.sight import Sight, check
from optical_memory.model.tokenizer import Tokenizer
from optical_memory.renderers.base import Page

SYSTEM = "<|im_start|>system\nYou answer from the memory.<|im_end|>\n<|im_start|>user\nMemory:\n"
ASSISTANT = "<|im_end|>\n<|im_start|>assistant\n"
LINES, RECENT = "Lines:\n", "Recent:\n"
MOST_QUESTION = 4_000
"""Characters of a question."""
ANSWER_ROOM = 256
"""Positions that are kept for an answer."""
MOST_VECTORS = 1_024
"""Vectors of all pages together: as many as training showed at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a context shows: pages, oldest first, and the rest as text; ``turns`` are ids of recent turns by text."""

    pages: tuple[Page, ...]
    text: str
    turns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """Atoms in order, where each page's vectors begin, and the vectors a row of each."""

    atoms: list[Atom]
    places: list[int] = field(default_factory=list)
    ratios: tuple[int, ...] = ()
    pages: tuple[Page, ...] = ()

    def __len__(self) -> int:
        """Positions."""
        return len(self.atoms)

    @property
    def modes(self) -> list[Mode]:
        """No modes: pages are encoded before."""
        return []

    @property
    def vision_tokens(self) -> int:
        """Positions that show a page."""
        return sum(not isinstance(atom, int) for atom in self.atoms)

    def ids(self, tokenizer: Tokenizer) -> list[int]:
        """Return a token id for each position, 0 for vectors."""
        return [atom if isinstance(atom, int) else 0 for atom in self.atoms]


def shown(context: Any) -> Shown:
    """Return what a context shows: a memory's, a page, or pages and texts in order. Errors: InputError."""
    pages: list[Page] = []
    texts: list[str] = []
    turns: list[tuple[str, str]] = []
    for piece in _pieces(context):
        if isinstance(piece, Page):
            pages.append(piece)
        elif isinstance(piece, str):
            texts.append(piece)
        elif piece.page is not None:
            pages.append(piece.page)
            if piece.page.facts:
                texts.append(piece.page.facts)
        elif piece.kind not in ("header", "instructions") and piece.text:
            texts.append(piece.text)
            if piece.kind == "turn":
                turns += [(turn_id, piece.text) for turn_id in piece.turn_ids]
    for page in pages:
        check(page)
    return Shown(pages=tuple(pages), text="\n".join(texts), turns=tuple(turns))


def _pieces(context: Any) -> Iterable[Any]:
    if isinstance(context, Page | str):
        return (context,)
    if hasattr(context, "pieces"):
        found: Iterable[Any] = context.pieces()
        return found
    parts = list(context) if isinstance(context, Iterable) else [context]
    for part in parts:
        if not isinstance(part, Page | str):
            raise InputError(f"a context is made of pages and text, not {type(part).__name__!r}")
    return parts


def ratios_for(what: Shown, sight: Sight, room: int) -> tuple[int, ...]:
    """Return vectors a row of each page: by its tier, and from the oldest on fewer where they do not fit ``room``.

    Errors: ContextTooLongError where even one a row does not fit.
    """
    ratios = [sight.ratio(page) for page in what.pages]

    def used() -> int:
        return sum(sight.count(page, ratio) for page, ratio in zip(what.pages, ratios, strict=True))

    for least in RATIOS[1:]:
        for number, ratio in enumerate(ratios):
            if used() <= room:
                return tuple(ratios)
            ratios[number] = min(ratio, least)
    if used() > room:
        raise ContextTooLongError(
            f"{len(what.pages)} pages take {used():,} positions at one vector a row, and the language model has room"
            f" for {max(0, room):,} beside the text; use a smaller budget"
        )
    return tuple(ratios)


def lay(what: Shown, question: str, lines: str, *, sight: Sight, tokenizer: Tokenizer, positions: int) -> Laid:
    """Put everything in order for a decoder of so many positions; what does not fit, of the oldest, falls away.

    Errors: InputError for a question that cannot be asked, ContextTooLongError for pages that do not fit.
    """
    if not question.strip():
        raise InputError("the question is empty")
    if len(question) > MOST_QUESTION:
        raise InputError(f"the question has {len(question):,} characters; at most {MOST_QUESTION:,} can be asked")
    head = tokenizer.encode(SYSTEM, marks=True)
    asks = tokenizer.encode(f"{LINES}{lines}\n{question}" if lines else question)
    asks += tokenizer.encode(ASSISTANT, marks=True)
    room = positions - ANSWER_ROOM - len(head) - len(asks)
    least = sum(sight.count(page, 1) for page in what.pages)
    recent = _newest(what.text, tokenizer, max(0, room - least))
    ratios = ratios_for(what, sight, min(room - len(recent), max(MOST_VECTORS, least)))
    atoms: list[Atom] = list(head)
    places = []
    for page, ratio in zip(what.pages, ratios, strict=True):
        places.append(len(atoms))
        key = sight.key(page, ratio)
        atoms.extend((key, index) for index in range(sight.count(page, ratio)))
    return Laid(atoms=[*atoms, *recent, *asks], places=places, ratios=ratios, pages=what.pages)


def _newest(text: str, tokenizer: Tokenizer, most: int) -> list[int]:
    """Return the recent text as tokens; where it does not fit, its newest ``most``."""
    start = tokenizer.encode("\n" + (RECENT if text else ""))
    said = tokenizer.encode(f"{text}\n") if text else []
    left = most - len(start)
    return start + (said if len(said) <= left else said[len(said) - left :] if left > 0 else [])


def pages_of(laid: Sequence[Laid]) -> list[tuple[int, int, Page, int]]:
    """Return (row, place, page, ratio) of every page of some sequences."""
    return [
        (row, place, page, ratio)
        for row, each in enumerate(laid)
        for place, page, ratio in zip(each.places, each.pages, each.ratios, strict=True)
    ]
