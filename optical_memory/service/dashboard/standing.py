"""Where an answer stands: for each turn that recall finds, the pages and lines, or the words, that still show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optical_memory.context.base import Context, Piece
from optical_memory.renderers.base import WIDE, Layout
from optical_memory.service.dashboard.shown import page_data, part_of
from optical_memory.stores.words import fold, terms, words
from optical_memory.turns import Turn, transcript

MOST_MARKED = 3
"""Most lines marked for one turn on one page: those that hold most of the question's words."""
MOST_TEXT = 8_000
"""Most characters of a turn that are sent; the rest is counted."""


def standing(context: Context, turns: Sequence[Turn], question: str) -> list[dict[str, Any]]:
    """Return each turn with where the context shows it."""
    asked = asked_words(question)
    pieces = list(context.pieces())
    out = []
    for turn in turns:
        header, body = transcript(turn)
        out.append(
            {
                "id": turn.id,
                "place": turn.seq + 1,
                "speaker": header,
                "text": body[:MOST_TEXT],
                "cut": max(len(body) - MOST_TEXT, 0),
                "created_at": turn.created_at,
                "where": [found for piece in pieces if (found := _place_in(piece, turn, asked)) is not None],
            }
        )
    return out


def asked_words(question: str) -> frozenset[str]:
    """Return the telling words of a question, folded as words on a page are."""
    telling = [term for term in terms(question) if not term.weak]
    return frozenset(word for term in telling for phrase in (*term.phrases, term.parts) for word in phrase)


def _place_in(piece: Piece, turn: Turn, asked: frozenset[str]) -> dict[str, Any] | None:
    if piece.page is not None:
        rows = [row for span in piece.page.layout.spans if span.turn_id == turn.id for row in _rows(span)]
        if not rows:
            return None
        lines = marked(piece.page.layout, rows, asked)
        return {"part": "page", "page": page_data(piece.page), "lines": [row + 1 for row in lines]}
    if turn.id not in piece.turn_ids:
        return None
    return {"part": part_of(piece), "place": None if piece.turn is None else piece.turn.seq + 1}


def _rows(span: Any) -> range:
    return range(span.first_row, span.last_row + 1)


def marked(layout: Layout, rows: Sequence[int], asked: frozenset[str]) -> list[int]:
    """Return those of a turn's rows that hold most of the asked words; where none holds any, the first row."""
    scores = {row: len(asked & set(words(row_text(layout, row)))) for row in dict.fromkeys(rows)}
    best = max(scores.values(), default=0)
    if not best:
        return list(scores)[:1]
    return [row for row, score in scores.items() if score == best][:MOST_MARKED]


def row_text(layout: Layout, row: int) -> str:
    """Return what stands in one row of a page, folded."""
    if row >= len(layout.cells):
        return ""
    cells = layout.cells[row].tolist()
    return fold("".join(chr(cell) if cell else " " for cell in cells if cell != WIDE))
