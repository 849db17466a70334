"""Forgetting as a transaction: refused, killed or raced at any point, nothing forgotten is ever shown again."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from optical_memory import OpticalMemory
from optical_memory.context.events import Event, Forgotten
from optical_memory.errors import ConflictError, NotFoundError, StoreUnavailableError
from optical_memory.stores import MemoryStore, SqliteStore, State

SETTINGS: dict[str, Any] = {"profile": "mini", "renderer": "dense", "budget": 2_000}
SECRET = "vermilion-4711"


def filled(memory: OpticalMemory, turns: int = 60, secret_at: int = 5) -> str:
    """Fill a memory so that the secret is on a page or in a gist; return the id of its turn."""
    secret = ""
    for number in range(turns):
        words = f"The code is {SECRET}, keep it. " if number == secret_at else ""
        turn = memory.add("user", f"{words}Turn {number} is about crate {number * 7 % 31} in the northern hall. " * 4)
        secret = turn.id if words else secret
        memory.context()
    return secret


def everything_shown(memory: OpticalMemory) -> str:
    pieces = list(memory.context().pieces())
    texts = [piece.text + (piece.page.text + piece.page.facts if piece.page else "") for piece in pieces]
    return "\n".join(texts) + json.dumps(memory.messages())


def stored_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_what_is_forgotten_leaves_gists_pages_and_every_view(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "memory.db")
    views = [OpticalMemory("s", store=store, **(SETTINGS | {"budget": budget})) for budget in (2_000, 3_000)]
    secret = filled(views[0])
    assert SECRET in everything_shown(views[0]) + everything_shown(views[1])
    receipt = views[0].forget(turn_id=secret)
    assert receipt.turn_ids == (secret,)
    for view in views:
        assert SECRET not in everything_shown(view)
        assert view.recall("code vermilion") == [] or SECRET not in view.recall("code vermilion")[0].text
    store.close()
    assert SECRET.encode() not in stored_bytes(tmp_path)


def test_pages_about_a_forgotten_instruction_stay() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        for number in range(60):
            if number == 5:
                note = memory.add("system", f"The code is {SECRET}, keep it.")
            memory.add("user", f"Turn {number} is about crate {number * 7 % 31} in the northern hall. " * 4)
            memory.context()
        before = [page.id for page in memory.context().pages]
        assert before and memory.forget(turn_id=note.id).pages == ()
        assert SECRET not in everything_shown(memory)
        assert [page.id for page in memory.context().pages] == before


def test_places_and_superseded_turns_are_forgotten_too() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        memory.follow([{"role": "user", "content": SECRET}])
        memory.follow([{"role": "user", "content": "another way"}])
        memory.forget(turn_id="#1")
        assert memory.superseded() == [] and memory.recall(SECRET, superseded=True) == []
        with pytest.raises(NotFoundError):
            memory.forget(turn_id="#7")


def test_a_page_held_from_before_brings_no_pixels_back() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        secret = filled(memory)
        held = [page for page in memory.context(draw=True).pages if secret in page.turn_ids]
        assert held
        memory.forget(turn_id=secret)
        with pytest.raises(NotFoundError, match="was forgotten"):
            held[0].png  # noqa: B018
        assert not [key for key in memory.store.blob_keys("main") if held[0].id in key]


def test_observers_hear_of_it_and_one_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Event] = []

    def observer(event: Event) -> None:
        heard.append(event)
        raise RuntimeError("an observer's own trouble")

    with OpticalMemory(**SETTINGS, on_event=observer) as memory:
        secret = filled(memory)
        pages = [page.id for page in memory.context().pages if secret in page.turn_ids]
        memory.forget(turn_id=secret)
        told = [event for event in heard if isinstance(event, Forgotten)]
        assert told[0].turn_ids == (secret,) and set(pages) <= set(told[0].pages)
    assert "an observer failed" in caplog.text
    assert {type(event).__name__ for event in heard} >= {"Sealed", "EpochStarted", "Forgotten"}


class Failing(MemoryStore):
    """Refuses the n-th call of one method from now on, once."""

    def __init__(self) -> None:
        super().__init__()
        self.fail: tuple[str, Exception] | None = None

    def _maybe(self, name: str) -> None:
        if self.fail and self.fail[0] == name:
            error, self.fail = self.fail[1], None
            raise error

    def save_state(self, *args: Any, **kwargs: Any) -> State:
        self._maybe("save_state")
        return super().save_state(*args, **kwargs)

    def delete_blobs(self, *args: Any, **kwargs: Any) -> int:
        self._maybe("delete_blobs")
        return super().delete_blobs(*args, **kwargs)

    def delete_turns(self, *args: Any, **kwargs: Any) -> int:
        self._maybe("delete_turns")
        return super().delete_turns(*args, **kwargs)


@pytest.mark.parametrize("step", ["save_state", "delete_blobs", "delete_turns"])
@pytest.mark.parametrize("error", [StoreUnavailableError("full"), ConflictError("another was faster")])
def test_a_step_that_fails_is_finished_by_a_second_call(step: str, error: Exception) -> None:
    store = Failing()
    with OpticalMemory(store=store, **SETTINGS) as memory, OpticalMemory(store=store, **SETTINGS) as other:
        secret = filled(memory)
        other.context()
        store.fail = (step, error)
        try:
            memory.forget(turn_id=secret)
        except (StoreUnavailableError, ConflictError):
            if step != "save_state":  # the first step is stored: nothing shows it from here on
                assert SECRET not in everything_shown(other)
        receipt = memory.forget(turn_id=secret)
        assert receipt.turn_ids == (secret,)
        for view in (memory, other):
            assert SECRET not in everything_shown(view)
        assert store.get("main", [secret]) == []


def test_another_process_that_starts_epochs_meanwhile_shows_nothing_of_it(tmp_path: Path) -> None:
    path = f"sqlite:///{tmp_path / 'memory.db'}"
    shown: list[str] = []
    stop = threading.Event()

    def other() -> None:
        with OpticalMemory("s", store=path, **SETTINGS) as memory:
            number = 0
            while not stop.is_set():
                memory.add("user", f"Meanwhile {number} comes from elsewhere. " * 6)
                number += 1
                before = gone.is_set()
                text = everything_shown(memory)
                if before:
                    shown.append(text)

    gone = threading.Event()
    with OpticalMemory("s", store=path, **SETTINGS) as memory:
        secret = filled(memory, turns=40)
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.2)
        memory.forget(turn_id=secret)
        gone.set()
        deadline = time.monotonic() + 60
        while len(shown) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        stop.set()
        thread.join()
    assert len(shown) >= 5 and not any(SECRET in text for text in shown)


def test_a_new_life_of_a_session_is_noticed_by_everyone(redis_url: str) -> None:
    with (
        OpticalMemory("life", store=redis_url, **SETTINGS) as a,
        OpticalMemory("life", store=redis_url, **SETTINGS) as b,
    ):
        filled(a)
        b.context()
        b.forget(everything=True)
        for number in range(60):
            b.add("user", f"The new life, turn {number}, of crate {number}. " * 6)
            b.context()
        assert SECRET not in everything_shown(a)
        assert everything_shown(a) == everything_shown(b)


def killed_forgets(folder: Path, times: int, seed: int) -> int:
    """Kill a process that forgets, at a random moment, ``times`` times; return how often it was cut off.

    The moments follow the machine: a process that ends before it is killed makes the next ones come sooner, one that is
    cut off lets them come later. A second call then finishes the job; the secret must be shown by no view from the
    moment the first step is stored, and stand in no file once the second call returned.
    """
    dice, cut, span = random.Random(seed), 0, 0.15
    for number in range(times):
        path = folder / f"{number}.db"
        with OpticalMemory("s", store=f"sqlite:///{path}", **SETTINGS) as memory:
            secret = filled(memory, turns=30)
            memory.messages()
        child = os.fork()
        if child == 0:
            try:
                OpticalMemory("s", store=f"sqlite:///{path}", **SETTINGS).forget(turn_id=secret)
            finally:
                os._exit(0)
        time.sleep(dice.random() * span)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        cut += os.WIFSIGNALED(status)
        span *= 1.1 if os.WIFSIGNALED(status) else 0.8
        with OpticalMemory("s", store=f"sqlite:///{path}", **SETTINGS) as memory:
            doomed = bool(memory.peek()) and bool(memory._view.state.doomed)
            assert not doomed or SECRET not in everything_shown(memory)
            memory.forget(turn_id=secret)
            assert SECRET not in everything_shown(memory)
        for left in folder.glob(f"{number}.db*"):
            assert SECRET.encode() not in left.read_bytes()
            left.unlink()
    return cut


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # of other tests
def test_killed_at_random_moments_a_second_call_finishes(tmp_path: Path) -> None:
    killed_forgets(tmp_path, 8, seed=1)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # of other tests
@pytest.mark.slow
def test_killed_two_hundred_times(tmp_path: Path) -> None:
    assert killed_forgets(tmp_path, 200, seed=2) > 60


def test_pixels_of_a_forgotten_page_are_not_in_the_messages() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        secret = filled(memory)
        before = {page.png for page in memory.context(draw=True).pages if secret in page.turn_ids}
        memory.forget(turn_id=secret)
        sent = json.dumps(memory.messages())
        assert before and not any(base64.b64encode(png).decode() in sent for png in before)


def test_vision_tokens_of_a_forgotten_page_are_dropped(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from optical_memory.model.mini import load

    model = load()
    with OpticalMemory(**SETTINGS) as memory:
        secret = filled(memory)
        pages = [page for page in memory.context().pages if secret in page.turn_ids]
        others = [page for page in memory.context().pages if secret not in page.turn_ids][:1]
        for page in (*pages, *others):
            model.encode(page)
        held = len(model.cache)
        memory.forget(turn_id=secret)
        assert len(model.cache) == held - len(pages)


@pytest.mark.parametrize("draw_ahead", [True, False])
def test_what_another_process_forgot_before_the_first_epoch_is_not_shown(draw_ahead: bool) -> None:
    store = MemoryStore()
    with OpticalMemory(store=store, renderer="dense", draw_ahead=draw_ahead) as memory:
        memory.add("user", "Where is the crate?")
        secret = memory.add("user", "The vault opens with the words quiet heron.")
        assert len(memory.messages()) == 2
        with OpticalMemory(store=store, renderer="dense") as other:
            other.forget(turn_id=secret.id)
        assert [message["content"] for message in memory.messages()] == ["Where is the crate?"]
