"""Figures of a session's requests: what each would have held, and what of it stood so in the one before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import cast

from optical_memory.context.base import Piece
from optical_memory.context.epoch import Epoch
from optical_memory.context.tail import Group
from optical_memory.context.view import SessionView
from optical_memory.turns import Turn


@dataclass(slots=True, kw_only=True)
class Figures:
    """What each request would have held, one entry for each turn of the visible path.

    ``tokens`` of the context and ``text`` of the whole history, ``turn`` of that turn alone, all in tokens;
    ``kept``: tokens at the start of the request that stood so in the request before; ``epoch``: its number;
    ``over``: 1 where not even the least fitted; ``system``: 1 for instructions, 2 for ones that were said before.
    """

    seq: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    text: list[int] = field(default_factory=list)
    turn: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    epoch: list[int] = field(default_factory=list)
    over: list[int] = field(default_factory=list)
    system: list[int] = field(default_factory=list)

    def columns(self, after: int) -> dict[str, list[int]]:
        """Return all entries after the first ``after``."""
        return {one.name: getattr(self, one.name)[after:] for one in fields(self)}

    def add(self, turn: Turn, now: Held, before: Held | None, *, tokens: int, system: int) -> None:
        """Add the request after a turn of so many ``tokens``; ``before`` is what the request before held."""
        row = {
            "seq": turn.seq,
            "tokens": now.tokens,
            "text": now.text_tokens,
            "turn": tokens,
            "kept": 0 if before is None else now.kept(before),
            "epoch": now.epoch.number,
            "over": int(not now.fits),
            "system": system,
        }
        for name, value in row.items():
            getattr(self, name).append(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a request holds, without its pages laid out: pieces that are equal leave as the same bytes."""

    epoch: Epoch
    past: tuple[Piece, ...]
    latest: tuple[Piece, ...]
    past_tokens: int
    tokens: int
    text_tokens: int
    fits: bool

    @classmethod
    def of(cls, view: SessionView, before: Held | None) -> Held:
        """Return what a view holds that is in step with its store; ``before``: what it held last."""
        sizes = view.sizes()
        groups = cast("Sequence[Group]", sizes.groups)
        same = before is not None and before.epoch is view.epoch
        return cls(
            epoch=view.epoch,
            past=before.past if before is not None and same else tuple(_past(view.epoch, sizes.system)),
            latest=tuple(piece for group in groups for piece in group.pieces),
            past_tokens=sizes.system + sizes.past,
            tokens=sizes.system + sizes.past + sizes.tail,
            text_tokens=sizes.totals.text_tokens + sum(group.text_tokens for group in groups),
            fits=sizes.system + sizes.past + sizes.tail <= sizes.budget,
        )

    def kept(self, before: Held) -> int:
        """Return the tokens at the start of this request that stood so, to the byte, in the one before."""
        if self.past is before.past:
            return self.past_tokens + _common(before.latest, self.latest)
        return _common((*before.past, *before.latest), (*self.past, *self.latest))


def _past(epoch: Epoch, system: int) -> Iterator[Piece]:
    """Yield what stands for the pieces of a past, of ``system`` tokens of instructions: pixels follow from ids."""
    if system:
        yield Piece(kind="instructions", message="", text=" ".join(epoch.instructions), tokens=system)
    for note in (epoch.notes.words, epoch.notes.gist):
        if note.runs:
            yield Piece(kind="record", message="", text=note.text, tokens=note.tokens)
    for entry in epoch.entries:
        yield Piece(kind="page", message="", text=f"{entry.id} {entry.tier}", tokens=entry.tokens)
    if epoch.notes.ledger.tokens:
        yield Piece(kind="record", message="", text=epoch.notes.ledger.shown, tokens=epoch.notes.ledger.tokens)


def _common(before: Sequence[Piece], now: Sequence[Piece]) -> int:
    tokens = 0
    for old, new in zip(before, now, strict=False):
        if old is not new and not _same(old, new):
            break
        tokens += new.tokens
    return tokens


def _same(one: Piece, other: Piece) -> bool:
    """Whether two pieces leave as the same bytes: pixels follow from a page's id and tier."""
    pages = [None if piece.page is None else (piece.page.id, piece.page.tier) for piece in (one, other)]
    return pages[0] == pages[1] and replace(one, page=None, tokens=0) == replace(other, page=None, tokens=0)
