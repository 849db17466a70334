"""A list whose following was cut off between two steps, by a store that gave no answer, is taken over elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from optical_memory import OpticalMemory
from optical_memory.context import following
from optical_memory.context.takeover import Begun
from optical_memory.errors import ConflictError, StoreUnavailableError
from optical_memory.stores import SqliteStore
from optical_memory.stores.base import Head, State
from optical_memory.turns import Turn

SETTINGS: dict[str, Any] = {"profile": "mini", "renderer": "dense", "budget": 2_000}
LIST = [{"role": "user", "content": f"said {number}"} for number in range(6)]
OTHER = [*LIST[:2], *({"role": "user", "content": f"otherwise {number}"} for number in range(5))]


class CutOff(SqliteStore):
    """A store whose writes are done, the n-th of them without an answer."""

    left = 0

    def append(self, session: str, turns: Sequence[Turn], *, expected: Head | None = None) -> list[Turn]:
        stored = super().append(session, turns, expected=expected)
        self._count()
        return stored

    def save_state(self, session: str, data: bytes, *, expected: int, birth: str | None = None) -> State:
        saved = super().save_state(session, data, expected=expected, birth=birth)
        self._count()
        return saved

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise StoreUnavailableError("no answer")


class Written:
    """A journal in this process's memory."""

    begun: Begun | None = None

    def read(self) -> Begun | None:
        return self.begun

    def write(self, begun: Begun) -> None:
        self.begun = begun


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CutOff]:
    monkeypatch.setattr(following, "BATCH_TURNS", 2)
    opened = CutOff(tmp_path / "memory.db")
    yield opened
    opened.close()


def memory_of(store: CutOff) -> OpticalMemory:
    return OpticalMemory("s", store=store, **SETTINGS)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
@pytest.mark.parametrize("same_process", [True, False])
def test_what_was_cut_off_is_finished_and_reported_whole(store: CutOff, step: int, same_process: bool) -> None:
    first, journal = memory_of(store), Written()
    first.follow(LIST)
    expected = store.head("s")
    store.left = step  # the path cut, then three batches
    with pytest.raises(StoreUnavailableError):
        first.follow(OTHER, expected=expected, journal=journal)
    with pytest.raises(ConflictError):
        memory_of(store).follow(OTHER, expected=expected)
    taking = first if same_process else memory_of(store)
    followed = taking.follow(OTHER, expected=expected, journal=journal)
    assert [turn.seq for turn in followed.added] == [6, 7, 8, 9, 10]
    assert (followed.superseded, followed.returned, followed.forgotten) == (4, 0, 0)
    assert [turn.text for turn in taking.turns()] == [message["content"] for message in OTHER]
    assert store.count("s") == 11, "none is stored twice"
    assert followed.places == tuple((place,) for place in (0, 1, 6, 7, 8, 9, 10))


def test_an_epoch_in_between_is_no_change_of_the_history(store: CutOff) -> None:
    first, journal = memory_of(store), Written()
    first.follow(LIST)
    expected = store.head("s")
    store.left = 2
    with pytest.raises(StoreUnavailableError):
        first.follow(OTHER, expected=expected, journal=journal)
    state = store.load_state("s")
    assert state is not None
    store.save_state("s", state.data, expected=state.version)
    followed = memory_of(store).follow(OTHER, expected=expected, journal=journal)
    assert len(followed.added) == 5 and store.count("s") == 11


def test_a_rewind_is_taken_over_and_what_came_behind_it_stays(store: CutOff) -> None:
    first, journal = memory_of(store), Written()
    first.follow(LIST)
    expected = store.head("s")
    store.left = 1
    with pytest.raises(StoreUnavailableError):
        first.follow(LIST[:3], expected=expected, journal=journal)
    memory_of(store).add("user", "another's")
    taking = memory_of(store)
    followed = taking.follow(LIST[:3], expected=expected, journal=journal)
    assert (followed.added, followed.superseded) == ((), 3)
    assert [turn.text for turn in taking.turns()] == ["said 0", "said 1", "said 2", "another's"]


def test_what_others_changed_in_between_is_a_conflict(store: CutOff) -> None:
    first, journal = memory_of(store), Written()
    first.follow(LIST)
    expected = store.head("s")
    store.left = 2
    with pytest.raises(StoreUnavailableError):
        first.follow(OTHER, expected=expected, journal=journal)
    memory_of(store).add("user", "another's")  # behind the first batch
    with pytest.raises(ConflictError):
        memory_of(store).follow(OTHER, expected=expected, journal=journal)
    memory_of(store).follow(LIST)
    with pytest.raises(ConflictError):
        memory_of(store).follow(OTHER, expected=expected, journal=journal)
