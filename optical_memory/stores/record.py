"""How a turn is written down, and the limits that every store holds to.

A record's body is the CRC-32 of what follows (8 hex digits and a space) and the turn as JSON, so that damage on
disk is noticed when the turn is read. Text is UTF-8 in which lone surrogates keep their own bytes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from optical_memory.errors import (
    ConflictError,
    DuplicateTurnError,
    InputError,
    LimitError,
    RepeatError,
    StoreCorruptError,
)
from optical_memory.stores.base import Head
from optical_memory.turns import Turn

NAME_CHARACTERS = 512
"""Most characters of a session id, a turn id or a blob's key."""
TURN_BYTES = 64 << 20
"""Most bytes of one turn as it is stored (text and the provider's message are both in it)."""
BATCH_TURNS = 10_000
"""Most turns in one append."""
BATCH_BYTES = 128 << 20
"""Most bytes of all turns of one append."""
VALUE_BYTES = 64 << 20
"""Most bytes of a state or a blob."""
NESTING = 100
"""Deepest nesting of a turn's raw message: far from the depth at which JSON can be written but not read again."""


class Span(NamedTuple):
    """Ids of sessions as bytes: from ``first``, which is among them or not, to before ``end`` (None: to the last)."""

    first: bytes
    inclusive: bool
    end: bytes | None


class Record(NamedTuple):
    """One turn as a store keeps it, without its place."""

    id: bytes
    digest: bytes
    body: bytes


def pack(text: str) -> bytes:
    """Return text as UTF-8; lone surrogates keep their own three bytes, so that :func:`unpack` is exact."""
    return text.encode("utf-8", "surrogatepass")


def unpack(data: bytes) -> str:
    """Return the text that :func:`pack` packed. Raises StoreCorruptError for what it did not pack."""
    try:
        return whole(data).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise StoreCorruptError(f"a name or text in the store is damaged: {error}") from error


def whole(value: object) -> bytes:
    """Return stored bytes. Raises StoreCorruptError for another type, into which damage to a database may turn them."""
    if not isinstance(value, bytes):
        raise StoreCorruptError(f"the store holds {type(value).__name__} where bytes must be")
    return value


def number(value: object) -> int:
    """Return a stored number, of a database or in digits. Raises StoreCorruptError for anything else."""
    if isinstance(value, int):
        return value
    if isinstance(value, bytes) and value.isdigit() and len(value) < 20:
        return int(value)
    raise StoreCorruptError(f"the store holds {value!r:.80} where a number must be")


def name(kind: str, value: str) -> bytes:
    """Return an id or key as bytes. Raises LimitError, or InputError for what is not text or an empty session id."""
    if not isinstance(value, str):
        raise InputError(f"a {kind} is text, not {value!r}")
    if len(value) > NAME_CHARACTERS:
        raise LimitError(f"a {kind} has at most {NAME_CHARACTERS} characters, not {len(value):,}")
    if kind == "session id" and not value:
        raise InputError("a session id is at least one character")
    return pack(value)


def span(prefix: str, after: str) -> Span:
    """Return where ids lie that begin with ``prefix`` and follow ``after``: bytes sort as code points do."""
    begin, passed = name("prefix of session ids", prefix), name("session id to go on after", after)
    end = begin[:-1] + bytes([begin[-1] + 1]) if begin else None  # no byte of UTF-8 is 255
    return Span(max(begin, passed), passed < begin or not passed, end)


def value(kind: str, data: bytes) -> bytes:
    """Return a state or blob. Raises LimitError."""
    if len(data) > VALUE_BYTES:
        raise LimitError(f"a {kind} has at most {VALUE_BYTES:,} bytes, not {len(data):,}")
    return bytes(data)


def records(turns: Sequence[Turn]) -> dict[str, Record]:
    """Return the records of a batch by turn id, in order; an id that comes twice is there once.

    Raises DuplicateTurnError where its contents differ, LimitError, and InputError for what JSON cannot hold.
    """
    if len(turns) > BATCH_TURNS:
        raise LimitError(f"at most {BATCH_TURNS:,} turns in one append, not {len(turns):,}")
    found: dict[str, Record] = {}
    size = 0
    for turn in turns:
        record = encode(turn)
        size += len(record.body)
        if size > BATCH_BYTES:
            raise LimitError(f"the turns of one append have at most {BATCH_BYTES:,} bytes; append them in parts")
        if found.setdefault(turn.id, record).digest != record.digest:
            raise DuplicateTurnError(f"turn id {turn.id!r} comes twice in one append with different contents")
    return found


def check_same(turn_id: str, held: bytes | None, digest: bytes) -> None:
    """Raise DuplicateTurnError unless the digest ``held`` under an id (None: forgotten) is this one."""
    if held is None or held != digest:
        raise taken(turn_id, forgotten=held is None)


def taken(turn_id: str, *, forgotten: bool) -> DuplicateTurnError:
    """Return the error of an id that is taken."""
    if forgotten:
        return DuplicateTurnError(f"turn id {turn_id!r} was given to a turn that is forgotten; it stays taken")
    return DuplicateTurnError(f"turn id {turn_id!r} is taken by a turn with other content")


def check_state(session: str, head: Head, expected: int, birth: str | None) -> None:
    """Raise ConflictError unless a session's state is at ``expected`` and its birth is ``birth`` (None: any)."""
    if birth is not None and head.birth != birth:
        raise ConflictError(f"session {session!r} is not the one it was: it was deleted, or made, in between")
    if head.version != expected:
        raise ConflictError(f"the state of {session!r} is at version {head.version}, not {expected}")


def moved(session: str) -> ConflictError:
    """Return the error of an append to a session whose head is another than was expected."""
    return ConflictError(f"session {session!r} changed before this was appended: read it again and repeat")


def repeated() -> RepeatError:
    """Return the error of a request under the name of another one."""
    return RepeatError("this Idempotency-Key came before with another body; use a new one for each request")


def encode(turn: Turn) -> Record:
    """Return the record of a turn. Raises InputError, LimitError."""
    fields = turn.to_dict()
    fields.pop("seq", None)
    if not _is_shallow(fields, NESTING):
        raise LimitError(f"turn {turn.id!r} holds a message nested deeper than {NESTING} levels")
    try:
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        digest = bytes.fromhex(turn.digest)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"turn {turn.id!r} holds what JSON cannot: {error}") from error
    body = pack(text)
    if len(body) > TURN_BYTES:
        raise LimitError(f"a turn has at most {TURN_BYTES:,} bytes as stored; {turn.id!r} has {len(body):,}")
    return Record(name("turn id", turn.id), digest, b"%08x %s" % (zlib.crc32(body), body))


def decode(body: bytes, seq: int) -> Turn:
    """Return the turn of a record's body. Raises StoreCorruptError for a damaged one."""
    try:
        check, data = int(body[:8], 16), body[9:]
        if check != zlib.crc32(data):
            raise StoreCorruptError(f"the turn at {seq} is damaged: its checksum differs")
        fields: Mapping[str, object] = json.loads(unpack(data))
        return Turn.from_dict({**fields, "seq": seq})
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreCorruptError(f"the turn at {seq} is damaged: {error}") from error


def _is_shallow(value: object, levels: int) -> bool:
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, list | tuple):
        return True
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in value)
