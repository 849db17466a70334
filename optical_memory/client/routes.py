"""The service's routes as calls: what each method of either client sends."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from optical_memory.client.calls import Call, adding
from optical_memory.errors import InputError

Messages = Sequence[Mapping[str, Any]]


def add_turns(session: str, turns: Messages, *, if_match: str | None) -> Call:
    """Store turns."""
    return adding("POST", _path(session, "/turns"), _listed(turns), if_match=if_match)


def extend(session: str, messages: Messages, *, format: str | None) -> Call:
    """Store messages of a provider's shape."""
    return adding("POST", _path(session, "/messages"), _listed(messages), params={"format": format})


def follow(session: str, messages: Messages, *, format: str | None, if_match: str | None) -> Call:
    """Follow a list."""
    body = {"messages": _listed(messages), "format": format}
    return adding("PUT", _path(session, "/messages"), body, if_match=if_match)


def request(session: str, format: str, *, recall: bool, **view: Any) -> Call:
    """Ask for a whole request for a provider; ``view`` is profile and budget, here and below."""
    return _read(session, "/request", **view, format=format, recall=recall)


def messages(session: str, format: str, **view: Any) -> Call:
    """Ask for the context as messages."""
    return _read(session, "/messages", **view, format=format)


def context(session: str, **view: Any) -> Call:
    """Ask for the context as figures."""
    return _read(session, "/context", **view)


def page(session: str, page: Mapping[str, Any] | str) -> Call:
    """Ask for the pixels of a page: one of a context, or its id."""
    path = _path(session, f"/pages/{page}.png") if isinstance(page, str) else str(page["url"])
    return Call(method="GET", path=path)


def recall(session: str, question: str | None, **fields: Any) -> Call:
    """Ask for exact turns."""
    return _read(session, "/recall", q=question, **fields)


def ask(session: str, question: str) -> Call:
    """Ask for an answer from the session."""
    return Call(method="POST", path=_path(session, "/ask"), json={"question": question})


def fidelity(session: str, *, reader: str, pages: int, **view: Any) -> Call:
    """Have pages read at every tier."""
    body = {"reader": reader, "pages": pages}
    return Call(method="POST", path=_path(session, "/fidelity"), params=view, json=body)


def last_fidelity(session: str, *, reader: str, **view: Any) -> Call:
    """Ask for what was read last."""
    return _read(session, "/fidelity", **view, reader=reader)


def forget(session: str, *, turn_id: str | None, before: float | None, everything: bool) -> Call:
    """Really delete turns."""
    body = {"turn_id": turn_id, "before": before, "everything": everything}
    return Call(method="POST", path=_path(session, "/forget"), json=body)


def delete(session: str) -> Call:
    """Really delete a session."""
    return Call(method="DELETE", path=_path(session))


def create(session: str | None) -> Call:
    """Make a session."""
    return adding("POST", "/v1/sessions", {"id": session})


def sessions(prefix: str, after: str) -> Call:
    """Ask for one page of the list of sessions."""
    return Call(method="GET", path="/v1/sessions", params={"prefix": prefix, "after": after})


def export(session: str) -> Call:
    """Ask for a session as a file."""
    return _read(session, "/export")


def load(session: str, file: bytes) -> Call:
    """Store an exported session."""
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    return Call(method="POST", path=_path(session, "/import"), content=file, headers=headers)


def compress(messages: Messages, *, format: str, tools: Messages, **view: Any) -> Call:
    """Have messages compressed; nothing is stored."""
    body = {**view, "messages": _listed(messages), "format": format, "tools": _listed(tools)}
    return Call(method="POST", path="/v1/compress", json=body)


def turn(role: str, content: Any, **fields: Any) -> dict[str, Any]:
    """Return the body of one turn; fields that are None are left out."""
    given = {name: value for name, value in fields.items() if value is not None}
    if (when := given.get("created_at")) is not None and hasattr(when, "timestamp"):
        given["created_at"] = when.timestamp()
    return {"role": role, "content": content} | given


def _read(session: str, rest: str, **params: Any) -> Call:
    return Call(method="GET", path=_path(session, rest), params=params)


def _path(session: str, rest: str = "") -> str:
    """Return the path of a session. Raises InputError for an id that no path can hold."""
    if not session or "/" in session or session in (".", ".."):
        raise InputError(f"over HTTP a session id is not empty, without '/', and not '.' or '..'; not {session!r}")
    return f"/v1/sessions/{quote(session, safe='')}{rest}"


def _listed(turns: Messages) -> list[dict[str, Any]]:
    """Return turns as a list that JSON can hold."""
    return [dict(turn) for turn in turns]
