"""Bodies of answers: JSON bytes made on threads, revisions, and contexts as data."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Response

from optical_memory.context.base import Context
from optical_memory.context.forgetting import Receipt
from optical_memory.formats.checked import sendable
from optical_memory.service.access import View
from optical_memory.service.problems import Problem
from optical_memory.stores.base import Head
from optical_memory.turns import Turn

MEDIA_TYPE = "application/json"
NONE = "none"
"""The revision of a session that is not there."""


def packed(value: Any) -> bytes:
    """Return a value as JSON; text that UTF-8 cannot hold is replaced."""
    return json.dumps(sendable(value), separators=(",", ":")).encode()


def answer(body: bytes, *, status: int = 200, revision: str | None = None, **headers: str) -> Response:
    """Return JSON bytes as a response, with the session's revision as its ETag."""
    found = {name.replace("_", "-"): value for name, value in headers.items()}
    if revision is not None:
        found["ETag"] = f'"{revision}"'
    return Response(body, status_code=status, media_type=MEDIA_TYPE, headers=found)


def revision_of(head: Head) -> str:
    """Return a session's revision: which life of it, how many places, which state."""
    return f"{head.birth}.{head.length}.{head.version}" if head.birth else NONE


def expected_head(if_match: str | None) -> Head | None:
    """Return the head that If-Match demands, or None where any will do. Raises Problem for what is no revision."""
    if if_match is None:
        return None
    text = if_match.strip().removeprefix("W/").strip('"')
    if text == NONE:
        return Head(birth="", length=0, version=0, forgotten=0)
    birth, *figures = text.split(".")
    if len(figures) != 2 or not all(figure.isascii() and figure.isdigit() and len(figure) < 16 for figure in figures):
        raise Problem(400, "If-Match is no revision", "send a revision as an answer's ETag has it, or leave it out")
    try:
        bytes.fromhex(birth)
    except ValueError as error:
        raise Problem(400, "If-Match is no revision", "its first part is no hexadecimal number") from error
    return Head(birth=birth, length=int(figures[0]), version=int(figures[1]), forgotten=0)


def turn_json(turn: Turn) -> dict[str, Any]:
    """Return a turn as data."""
    fields = turn.to_dict()
    fields.pop("raw", None)
    fields.pop("raw_format", None)
    return fields


def receipt_json(receipt: Receipt) -> dict[str, Any]:
    """Return a receipt as data."""
    return asdict(receipt)


def context_json(session: str, context: Context, view: View) -> dict[str, Any]:
    """Return a context as data: its figures, its pages with where their pixels are, its recent turns."""
    base = f"/v1/sessions/{quote(session, safe='')}/pages"
    pages = [
        {
            "id": page.id,
            "tier": page.tier,
            "size": list(page.size),
            "tokens": page.tokens,
            "kind": page.kind,
            "facts": page.facts,
            "turn_ids": list(page.turn_ids),
            "url": f"{base}/{page.id}.png?"
            + urlencode({"tier": page.tier, "profile": view.profile, "budget": view.budget}),
        }
        for page in context.pages
    ]
    return {
        "session": session,
        "profile": view.profile,
        "budget": context.budget,
        "tokens": context.tokens,
        "text_tokens": context.text_tokens,
        "epoch": context.epoch,
        "archived_pages": context.archived_pages,
        "facts": list(context.facts),
        "pages": pages,
        "recent": [turn_json(turn) for turn in context.recent],
        "explanation": context.explain(),
    }
