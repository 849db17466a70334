"""What a session's views share in the store: lineage, turns on their way out, and each view's epoch."""

from __future__ import annotations

import itertools
import json
import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from optical_memory.context.epoch import Epoch, epoch_from_dict, fields_of
from optical_memory.context.lineage import MOST_FORKS, MOST_HIDDEN, Lineage
from optical_memory.errors import StoreCorruptError
from optical_memory.stores.base import State

_log = logging.getLogger(__name__)
FORMAT = 3
MOST_VIEWS = 8
"""Most views (profile, budget, policy, renderer) of one session whose epochs are kept; the oldest goes first."""
MOST_BYTES = 64 << 20
"""Most bytes of a state when it is unpacked; a larger one is no state of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """The state of one life of a session, as the store has it under ``version`` (0: none).

    ``doomed`` maps places of turns that are being forgotten to their ids: nothing may show them from the moment
    this is stored. ``epochs`` holds the epoch of each view, the one saved last at the end. Those of ``unproven`` views
    came in a file, and are believed once they are shown to follow from the turns.
    """

    birth: str = ""
    version: int = 0
    lineage: Lineage = field(default_factory=Lineage)
    doomed: Mapping[int, str] = field(default_factory=dict)
    epochs: Mapping[str, Epoch] = field(default_factory=dict)
    unproven: frozenset[str] = frozenset()

    @classmethod
    def load(cls, birth: str, state: State | None, most: int = MOST_BYTES) -> SessionState:
        """Read a stored state. One of an older format is as none.

        Raises StoreCorruptError where it is not one, or has more than ``most`` bytes when it is unpacked.
        """
        if state is None:
            return cls(birth=birth)
        try:
            unpacker = zlib.decompressobj()
            unpacked = unpacker.decompress(state.data, most)
            if unpacker.unconsumed_tail:  # looked at first: as objects it would take thirty times its size
                raise ValueError(f"it has more than {most:,} bytes")
            data = json.loads(unpacked)
            if not isinstance(data, dict):
                raise ValueError("it is no object")
            if data.get("format") != FORMAT:
                return cls(birth=birth, version=state.version)
            return cls(
                birth=birth,
                version=state.version,
                lineage=Lineage(tuple((int(at), int(parent)) for at, parent in data["forks"])),
                doomed={int(place): str(turn_id) for place, turn_id in data["doomed"]},
                epochs={str(key): epoch_from_dict(value) for key, value in data["views"].items()},
                unproven=frozenset(map(str, data.get("unproven", ()))),
            )
        except (zlib.error, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
            raise StoreCorruptError(f"the state of this session is damaged: {error}") from error

    def pack(self) -> bytes:
        """Return the bytes to store."""
        data = {
            "format": FORMAT,
            "forks": self.lineage.forks,
            "doomed": list(self.doomed.items()),
            "views": dict(self.epochs),
            "unproven": sorted(self.unproven),
        }
        return zlib.compress(json.dumps(data, separators=(",", ":"), default=fields_of).encode(), 1)

    def with_epoch(self, view: str, epoch: Epoch) -> SessionState:
        """Return the state once ``view`` has moved on to ``epoch``; the views saved longest ago make room."""
        others = [(key, value) for key, value in self.epochs.items() if key != view][-(MOST_VIEWS - 1) :]
        return replace(self, epochs={**dict(others), view: epoch}, unproven=self.unproven - {view})


MOST_TRAVELLING = 8 << 20
"""Most bytes, unpacked, of the state in a file."""


def for_export(state: State | None) -> tuple[bytes | None, frozenset[str]]:
    """Return what a file holds of a state, and the ids of turns that are being forgotten: they are not written.

    Raises StoreCorruptError for something that is not a state.
    """
    held = SessionState.load("", state)
    kept = SessionState(lineage=held.lineage, epochs=held.epochs) if held.lineage.forks or held.epochs else None
    return (None if kept is None else kept.pack()), frozenset(held.doomed.values())


def from_file(data: bytes, length: int) -> bytes | None:
    """Return what is kept of the state in a file whose session has ``length`` places: its path and its epochs.

    Epochs are marked as unproven: a forged one could show text that no turn has, at costs that are not true.
    None where there is nothing to keep, or where it is no lineage of such a session.
    """
    try:
        state = SessionState.load("", State(version=1, data=data), MOST_TRAVELLING)
        forks = state.lineage.forks
    except StoreCorruptError as error:
        _log.warning("the state in an exported session is left out: %s", error)
        return None
    rising = all(one[0] < other[0] for one, other in itertools.pairwise(forks))
    if (
        not rising
        or len(forks) > MOST_FORKS + MOST_HIDDEN
        or not all(-1 <= parent < at <= length for at, parent in forks)
    ):
        _log.warning("the state in an exported session is left out: its forks are none of its %d places", length)
        return None
    if not forks and not state.epochs:
        return None
    return SessionState(lineage=state.lineage, epochs=state.epochs, unproven=frozenset(state.epochs)).pack()
