"""Context: the one ordered sequence of what a model will see, and exactly what each piece of it costs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from optical_memory import wording
from optical_memory.budget import Profile
from optical_memory.policies.base import Policy
from optical_memory.renderers.base import Page, Renderer
from optical_memory.turns import Part, Role, Turn

if TYPE_CHECKING:
    from optical_memory.context.teller import Teller

Kind = Literal["instructions", "header", "page", "record", "turn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a view depends on: other settings, other epochs of the same session.

    ``stepwise`` decides after each turn whether an epoch begins, so that a context depends on the turns alone and
    not on when it was asked for. ``ahead``: epochs are prepared in the background before they are due. The newest
    ``keep_epochs`` stay in the store (:mod:`optical_memory.context.history`). ``teller``: the model that may tell gists
    meanwhile.
    """

    profile: Profile
    budget: int
    policy: Policy
    renderer: Renderer
    stepwise: bool = False
    ahead: bool = False
    keep_epochs: int = 0
    teller: Teller | None = None

    @property
    def name(self) -> str:
        """Name the view (hex)."""
        profile = self.profile
        key = repr((profile.name, profile.grid, profile.tiers, self.budget, self.policy, self.renderer.key))
        return hashlib.sha256(key.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One thing that the model sees. Neighbours with the same ``message`` leave in one message.

    ``kind``:

    - "instructions": a system or developer turn; ``turn`` is the exact one.
    - "header": what introduces the past.
    - "page": an image with its label (``text``): of the past, or of a large result among the recent turns (facts too).
    - "record": a part of the past that is text, under its label.
    - "turn": a recent turn. ``turn`` is what is sent: the exact one or, for a large result, one that points to the
      pages after it.

    ``text`` is what the piece says in words, and for "turn" and "instructions" speaker and calls as well.
    ``turn_ids`` are the exact turns that it shows, as far as they are turns. ``tokens`` is what it costs by the target
    model's accounting, with what its message adds. ``detail`` is the provider's setting that is sent with the image.
    """

    kind: Kind
    message: str
    text: str
    tokens: int
    role: Role = "user"
    turn: Turn | None = None
    page: Page | None = None
    turn_ids: tuple[str, ...] = ()
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the model will see, as :meth:`pieces`, within ``budget`` tokens.

    ``pages`` are all page images, in order: those of the past, then those of large results among the recent turns.
    ``recent`` are the exact turns since the past. ``tokens`` is the sum over the pieces, ``text_tokens`` what the whole
    visible history would cost as text. ``epoch`` counts the changes of the prefix. ``reserved`` tokens of the budget
    are kept free for what is sent beside the messages (tool schemas). ``archived_pages`` have left the context.
    """

    past: tuple[Piece, ...]
    latest: tuple[Piece, ...]
    recent: tuple[Turn, ...]
    tokens: int
    text_tokens: int
    budget: int
    epoch: int
    archived_pages: int
    reserved: int = 0

    def pieces(self) -> Iterator[Piece]:
        """Yield what the model sees, in order: instructions, the past, recent turns with their pages."""
        yield from self.past
        yield from self.latest

    @property
    def pages(self) -> tuple[Page, ...]:
        """All page images, in order."""
        return tuple(piece.page for piece in self.pieces() if piece.page is not None)

    @property
    def facts(self) -> tuple[str, ...]:
        """Exact values as text, in lines: those of the past, then one line for each page of a large result."""
        ledger = (piece.text.partition("\n")[2] for piece in self.past if piece.text.startswith(wording.VALUES))
        return (*ledger, *(page.facts for page in self.pages if page.facts))

    @property
    def fits(self) -> bool:
        """Whether it costs no more than the budget. False only for what :meth:`OpticalMemory.peek` returns."""
        return self.tokens + self.reserved <= self.budget

    def turns(self) -> list[Turn]:
        """Return the turns to send, each page as an image part of a user turn. Draws pages not drawn yet."""
        return turns_of(self.pieces())

    def explain(self) -> str:
        """Say in a few lines what is shown how, what it costs and what is no longer shown."""
        reserved = f", {self.reserved:,} kept for tools" if self.reserved else ""
        lines = [
            f"{self.tokens:,} of {self.budget:,} tokens{reserved}; the whole history as text: {self.text_tokens:,}"
            f" ({self.text_tokens / max(self.tokens, 1):.1f} to 1). Epoch {self.epoch}.",
        ]
        lines += [f"  {name:<12}{text}" for name, text in _rows(list(self.pieces()))]
        if self.archived_pages:
            lines.append(
                f"  {'archived':<12}{_counted(self.archived_pages, 'page')}, out of the context; recall() finds them"
            )
        return "\n".join(lines)


def turns_of(pieces: Iterator[Piece] | Sequence[Piece]) -> list[Turn]:
    """Return pieces as turns to send: exact turns as they are, neighbours of one message as one user turn."""
    out: list[Turn] = []
    for message, run in groupby(pieces, key=lambda piece: piece.message):
        parts: list[Part] = []
        for piece in run:
            if piece.turn is not None:
                out.append(piece.turn)
                continue
            parts.append(Part(kind="text", text=piece.text))
            if piece.page is not None:
                parts.append(_image(piece.page, piece.detail))
        if parts:
            text = "\n".join(part.text for part in parts if part.kind == "text")
            out.append(Turn(id=message, role="user", text=text, parts=tuple(parts)))
    return out


def _image(page: Page, detail: str | None) -> Part:
    width, height = page.size
    raw = None if detail is None else {"detail": detail}
    return Part(kind="image", url=page.url, width=width, height=height, raw=raw)


def _rows(pieces: Sequence[Piece]) -> Iterator[tuple[str, str]]:
    of_kind = Counter(piece.kind for piece in pieces)
    yield "system", f"{_counted(of_kind['instructions'], 'turn')} as text"
    if of_kind["record"]:
        yield "records", f"{of_kind['record']:,} kept as text (pinned, or cheaper than a page)"
    tiers = Counter((piece.page.tier, piece.page.tokens) for piece in pieces if piece.page is not None)
    for (tier, tokens), count in tiers.items():
        yield tier, f"{_counted(count, 'page')} of {tokens} tokens"
    yield "recent", f"{_counted(of_kind['turn'], 'turn')} as text"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
