"""The epochs that a view had, kept beside the session where that is asked for: what the model saw at each age.

They are kept like pixels: whatever is forgotten takes all of them along, and losing them changes no answer. A record
holds what an epoch shows, not what the next one was planned from.
"""

from __future__ import annotations

import json
import zlib
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from optical_memory.context.epoch import Epoch, epoch_from_dict, fields_of
from optical_memory.context.state import MOST_BYTES
from optical_memory.errors import StoreCorruptError

KIND = "epoch/"
"""What the keys of the records begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The record of one epoch: its ``number``, its ``key``, and the place of the newest turn when it began."""

    key: str
    after: int
    number: int


def key_of(view: str, after: int, number: int) -> str:
    """Name the record of an epoch; the names of a view's records sort by age."""
    return f"{KIND}{view}/{after:012d}/{number}"


def record_of(epoch: Epoch) -> bytes:
    """Return what is kept of an epoch."""
    notes = replace(epoch.notes, ledger=replace(epoch.notes.ledger, values=()))
    shown = replace(epoch, notes=notes)
    return zlib.compress(json.dumps(shown, separators=(",", ":"), default=fields_of).encode(), 6)


def epoch_of(data: bytes) -> Epoch:
    """Return the epoch of a record. Raises StoreCorruptError for what is none."""
    try:
        unpacker = zlib.decompressobj()
        said = json.loads(unpacker.decompress(data, MOST_BYTES))
        return epoch_from_dict(said)
    except (zlib.error, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise StoreCorruptError(f"the record of an epoch is damaged: {error}") from error


def kept_of(keys: Iterable[str], view: str) -> tuple[Kept, ...]:
    """Return the records of a view among the keys of a session's blobs, oldest first."""
    found = []
    for key in keys:
        if key.startswith(f"{KIND}{view}/"):
            after, number = key.split("/")[2:]
            found.append(Kept(key=key, after=int(after), number=int(number)))
    return tuple(sorted(found, key=lambda kept: (kept.after, kept.number)))


def standing(kept: Sequence[Kept], place: int) -> Kept | None:
    """Return the record of the epoch that stood once the turn at ``place`` was there; None where none was kept."""
    found = bisect_right(kept, place, key=lambda each: each.after)
    return kept[found - 1] if found else None


def surplus(keys: Iterable[str], views: Collection[str], view: str, most: int) -> list[str]:
    """Return the keys of records to delete: those of a view over ``most``, and of views that the state forgot."""
    records = [key for key in keys if key.startswith(KIND)]
    gone = [key for key in records if key.split("/")[1] not in views]
    own = kept_of(records, view)
    return gone + [kept.key for kept in own[: max(len(own) - most, 0)]] if most else gone
