"""Forgetting leaves no byte on disk: text, words, pixels, layouts and facts of old plans."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pytest

from optical_memory import OpticalMemory


def _on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def _samples(data: bytes) -> list[bytes]:
    """Return some stretches of data long enough to tell it, short enough to lie within one page of the file."""
    return [data[start : start + 48] for start in range(100, len(data) - 48, 997)]


@pytest.mark.parametrize("everything", [False, True])
def test_no_byte_of_a_forgotten_turn_stays(
    tmp_path: Path, airline_sessions: list[dict[str, Any]], everything: bool
) -> None:
    store = f"sqlite:///{tmp_path / 'memory.db'}"
    with OpticalMemory("s", store=store, profile="mini", renderer="dense", budget=3_000) as memory:
        secret = memory.add("user", "My password is xyzzy-plugh-4711. " + "Keep xyzzy secret. " * 20)
        for session in airline_sessions[:5]:
            memory.extend(session["messages"][1:])
            memory.messages()
        held = {key: memory.store.get_blob("s", key) or b"" for key in memory.store.blob_keys("s")}
        state = memory.store.load_state("s")
        assert state is not None
        before = _on_disk(tmp_path)
        assert b"xyzzy" in before
        assert any(sample in before for data in held.values() for sample in _samples(data))
        if everything:
            memory.forget(everything=True)
        else:
            memory.forget(turn_id=secret.id)
        after = _on_disk(tmp_path)
        assert b"xyzzy" not in after.lower()
        now = memory.store.load_state("s")
        new = b"" if now is None else now.data
        assert not new or b"xyzzy" not in zlib.decompress(new).lower()
        assert not any(sample in after for sample in _samples(state.data) if sample not in new)
        kept = b"".join(memory.store.get_blob("s", key) or b"" for key in memory.store.blob_keys("s"))
        gone = [sample for data in held.values() for sample in _samples(data) if sample not in kept]
        assert len(gone) > 10
        assert not any(sample in after for sample in gone)
