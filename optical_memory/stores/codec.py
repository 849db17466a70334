"""What passes between a store and its disk or server: turn bodies, states and blobs go through a codec both ways.

The plain codec changes nothing. One that encrypts gets what each value belongs to (kind, session, name) and binds the
value to it, so that it cannot be moved to another place unnoticed. What it returns is opaque: it may begin with the
number of its key, so that values under older keys are still read after a rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from optical_memory.errors import OpticalMemoryError, StoreCorruptError
from optical_memory.stores import record
from optical_memory.turns import Turn

Kind = Literal["turn", "state", "blob"]
_FRAMED = b"="
"""Begins a turn's body that went through a codec; a plain body begins with a hex digit."""
_LENGTH_DIGITS = 4


class Codec(Protocol):
    """Changes values on their way into a store, and back. Safe for threads.

    ``name`` is a turn's id, a blob's key, or "" for the state. An error of :meth:`decode` that is not ours becomes a
    StoreCorruptError which names the value; raise StoreUnavailableError where a key cannot be had now.
    """

    @property
    def searchable(self) -> bool:
        """Whether words of turns may lie in a store's search index as they are."""

    def encode(self, kind: Kind, session: str, name: str, data: bytes) -> bytes:
        """Return what is to be stored."""

    def decode(self, kind: Kind, session: str, name: str, data: bytes) -> bytes:
        """Return what was handed to :meth:`encode` with the same kind, session and name; raise where that is not so."""

    def fingerprint(self, session: str, name: str, digest: bytes) -> bytes:
        """Return what is stored of a turn's digest, by which equal content is known again.

        It is the same for ever, also under new keys. A digest as it is would confirm a guess at a short text.
        """


class PlainCodec:
    """Stores everything as it is."""

    searchable = True

    def encode(self, kind: Kind, session: str, name: str, data: bytes) -> bytes:
        """Return ``data``."""
        return data

    def decode(self, kind: Kind, session: str, name: str, data: bytes) -> bytes:
        """Return ``data``."""
        return data

    def fingerprint(self, session: str, name: str, digest: bytes) -> bytes:
        """Return ``digest``."""
        return digest


PLAIN = PlainCodec()


class Coder:
    """A codec as stores use it: whole turns in and out, and errors that name what could not be decoded.

    A body that went through a codec other than the plain one is ``=``, the length of the turn's id in four hex digits,
    the id, and what the codec returned: the id is needed to decode the rest.
    """

    def __init__(self, codec: Codec) -> None:
        self.searchable = codec.searchable
        self._codec = codec

    def records(self, session: str, turns: Sequence[Turn]) -> dict[str, record.Record]:
        """Return the records of a batch as they are stored; errors as :func:`record.records`."""
        plain = record.records(turns)
        if self._codec is PLAIN:
            return plain
        return {turn_id: self._coded(session, turn_id, found) for turn_id, found in plain.items()}

    def turn(self, session: str, stored: bytes, seq: int) -> Turn:
        """Return the turn of a stored body. Raises StoreCorruptError."""
        stored = record.whole(stored)
        if self._codec is PLAIN:
            if stored[:1] == _FRAMED:
                raise StoreCorruptError(
                    f"the turn at {seq} of {session!r} was stored through a codec; open the store with it"
                )
            return record.decode(stored, seq)
        if stored[:1] != _FRAMED:  # from before the store had a codec, which may refuse it
            turn_id, coded = record.decode(stored, seq).id, stored
        else:
            turn_id, coded = _unframed(stored, session, seq)
        turn = record.decode(self.decode("turn", session, turn_id, coded), seq)
        if turn.id != turn_id:
            raise StoreCorruptError(f"the turn at {seq} of {session!r} is stored as {turn_id!r} but is {turn.id!r}")
        return turn

    def encode(self, kind: Kind, session: str, name: str, data: bytes) -> bytes:
        """Return a state or blob as it is stored. Raises LimitError."""
        return self._codec.encode(kind, session, name, record.value(kind, data))

    def decode(self, kind: Kind, session: str, name: str, data: bytes) -> bytes:
        """Return what a stored value was. Raises StoreCorruptError, and the codec's own StoreUnavailableError."""
        try:
            return self._codec.decode(kind, session, name, data)
        except OpticalMemoryError:
            raise
        except Exception as error:
            what = f"the {kind} {name!r}" if name else f"the {kind}"
            raise StoreCorruptError(f"{what} of session {session!r} cannot be decoded: {error!r}") from error

    def _coded(self, session: str, turn_id: str, plain: record.Record) -> record.Record:
        body = self._codec.encode("turn", session, turn_id, plain.body)
        frame = _FRAMED + b"%0*x" % (_LENGTH_DIGITS, len(plain.id)) + plain.id
        return plain._replace(digest=self._codec.fingerprint(session, turn_id, plain.digest), body=frame + body)


def _unframed(stored: bytes, session: str, seq: int) -> tuple[str, bytes]:
    """Return the id and the coded rest of a framed body."""
    try:
        end = 1 + _LENGTH_DIGITS + int(stored[1 : 1 + _LENGTH_DIGITS], 16)
        return record.unpack(stored[1 + _LENGTH_DIGITS : end]), stored[end:]
    except ValueError as error:
        raise StoreCorruptError(f"the turn at {seq} of {session!r} is damaged: {error}") from error
