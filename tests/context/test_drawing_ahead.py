"""Drawing ahead: what comes out is the same, nothing forgotten is shown, and no thread is left."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest

from optical_memory import OpticalMemory
from optical_memory.context.events import Drawn, EpochStarted, Event
from optical_memory.errors import RenderError
from optical_memory.renderers import DenseRenderer
from optical_memory.renderers.base import Layout, Raster
from optical_memory.stores import MemoryStore

SECRET = "The vault opens with the words quiet heron at noon."
THREADS = "optical-memory-ahead"


def in_background() -> bool:
    return threading.current_thread().name.startswith(THREADS)


class Watched(DenseRenderer):
    """The dense renderer, which notes how many pages were drawn where, and does something before it draws ahead."""

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.before, self.ahead, self.here = before, 0, 0

    def draw(self, layouts: Sequence[Layout], *, size: tuple[int, int]) -> list[Raster]:
        if in_background():
            self.before()
            self.ahead += len(layouts)
        else:
            self.here += len(layouts)
        return super().draw(layouts, size=size)


def job(memory: OpticalMemory) -> Any:
    return memory._view._ahead and memory._view._ahead._job


def prepared(memory: OpticalMemory) -> bool:
    """Wait for what is prepared; tell whether there is something."""
    if job(memory) is None:
        return False
    wait([job(memory).future])
    return True


def until_prepared(memory: OpticalMemory, messages: Sequence[dict[str, Any]]) -> int:
    """Take messages in until a second epoch is prepared; return how many were taken."""
    for count, message in enumerate(messages, 1):
        memory.extend([message])
        memory.messages()
        if prepared(memory) and memory.peek().epoch:
            return count
    raise AssertionError("no epoch was prepared")


def talk(airline_sessions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for session in airline_sessions for message in session["messages"][1:]]


@pytest.mark.parametrize(("profile", "budget"), [("deepseek-ocr", 4_000), ("gpt-5", 6_000), ("claude-4.7", 8_000)])
def test_the_same_bytes_whether_drawn_ahead_or_not(
    profile: str, budget: int, coding_session: dict[str, Any], airline_sessions: list[dict[str, Any]]
) -> None:
    renderer = Watched()
    settings: dict[str, Any] = {"profile": profile, "budget": budget, "renderer": renderer}
    with (
        OpticalMemory(draw_ahead=False, **settings) as never,
        OpticalMemory(**settings) as waiting,
        OpticalMemory(**settings) as hurried,
    ):
        for message in [*coding_session["messages"][:70], *talk(airline_sessions)[:80]]:
            out = []
            for memory in (never, waiting, hurried):
                memory.extend([message])
                out.append(memory.messages())
            assert out[0] == out[1] == out[2]
            prepared(waiting)
            context = waiting.context()
            assert context.tokens == sum(piece.tokens for piece in context.pieces()) <= budget
        assert never.peek().epoch > 3 and renderer.ahead


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_pages_are_drawn_where_nobody_waits_and_found_after_a_restart(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, airline_sessions: list[dict[str, Any]]
) -> None:
    store: Any = {"memory": MemoryStore(), "sqlite": f"sqlite:///{tmp_path / 'm.db'}"}.get(kind)
    store = store or request.getfixturevalue("redis_url")
    renderer, told = Watched(), list[Event]()
    told_by = set[str]()

    def observe(event: Event) -> None:
        told.append(event)
        told_by.add(threading.current_thread().name)

    settings: dict[str, Any] = {"store": store, "profile": "deepseek-ocr", "budget": 4_000, "renderer": renderer}
    with OpticalMemory("ahead", on_event=observe, **settings) as memory:
        taken = 0
        for message in talk(airline_sessions)[:150]:
            memory.extend([message])
            ready, epoch, here = prepared(memory), memory.peek().epoch, renderer.here
            memory.messages()
            context = memory.peek()
            if ready and context.epoch > epoch:
                taken += 1
                assert renderer.here - here <= sum(piece.page is not None for piece in context.latest)
        shown, here = memory.messages(), renderer.here
        assert taken > 1 and renderer.ahead
    assert {type(event) for event in told} >= {EpochStarted, Drawn} and told_by == {threading.current_thread().name}
    with OpticalMemory("ahead", **settings) as again:
        assert again.messages() == shown
    assert renderer.here == here, "every page was in the store"


def sketched(memory: OpticalMemory) -> Any:
    """Wait for the sketch of the next epoch; return the pages drawn for it, None where there is no sketch."""
    ahead = memory._view._ahead
    if ahead is None or ahead._sketch is None:
        return None
    wait([ahead._sketch.future])
    return memory._view.gallery._sketched


def test_most_of_an_epoch_is_drawn_before_it_is_known(airline_sessions: list[dict[str, Any]]) -> None:
    renderer = Watched()
    settings: dict[str, Any] = {"profile": "deepseek-ocr", "budget": 4_000}
    early = late = 0
    with (
        OpticalMemory(renderer=renderer, **settings) as memory,
        OpticalMemory(renderer="dense", draw_ahead=False, **settings) as other,
    ):
        for message in talk(airline_sessions)[:150]:
            memory.extend([message])
            other.extend([message])
            before = renderer.ahead
            assert memory.messages() == other.messages()
            if prepared(memory):
                late += renderer.ahead - before
            elif sketched(memory):
                early += renderer.ahead - before
        assert memory.peek().epoch > 2 and early > late > 0


def test_a_sketch_is_let_go_of_when_a_turn_is_forgotten(airline_sessions: list[dict[str, Any]]) -> None:
    with OpticalMemory(profile="deepseek-ocr", budget=4_000, renderer="dense") as memory:
        secret = memory.add("user", SECRET)
        for message in talk(airline_sessions):
            memory.extend([message])
            memory.messages()
            if sketched(memory):
                break
        assert sketched(memory)
        memory.forget(turn_id=secret.id)
        assert sketched(memory) is None and not memory._view.gallery._sketched


def test_nothing_forgotten_is_shown_or_stored_again(airline_sessions: list[dict[str, Any]]) -> None:
    store = MemoryStore()
    with OpticalMemory(store=store, profile="deepseek-ocr", budget=4_000, renderer="dense") as memory:
        messages = talk(airline_sessions)
        taken = until_prepared(memory, messages)
        while job(memory) is not None:  # past that epoch, then the secret, then on until it is in a prepared one
            memory.extend([messages[taken]])
            memory.messages()
            taken += 1
        secret = memory.add("user", SECRET)
        taken += until_prepared(memory, messages[taken:])
        draft = job(memory).future.result().draft
        assert any(secret.id in run.turn_id for sealed in draft.fresh for run in sealed.runs)
        pages = [sealed.entry.id for sealed in draft.fresh if any(secret.id == run.turn_id for run in sealed.runs)]
        assert pages
        memory.forget(turn_id=secret.id)
        assert job(memory) is None
        assert not any(page in key for key in store.blob_keys("main") for page in pages)
        for message in messages[taken : taken + 60]:
            memory.extend([message])
            memory.messages()
            assert not any(SECRET in piece.text for piece in memory.context().pieces())
            assert not any(page.id in pages or "quiet heron" in page.text for page in memory.context().pages)


def test_what_another_process_forgot_is_not_stored_by_a_thread_that_was_drawing(
    airline_sessions: list[dict[str, Any]],
) -> None:
    store, drawing, go_on = MemoryStore(), threading.Event(), threading.Event()

    def held() -> None:
        drawing.set()
        go_on.wait()

    with OpticalMemory(store=store, profile="deepseek-ocr", budget=4_000, renderer=Watched(held)) as memory:
        secret = memory.add("user", SECRET)
        for message in talk(airline_sessions):
            memory.extend([message])
            memory.messages()
            if job(memory) is not None:
                break
        drawing.wait()
        with OpticalMemory(store=store, profile="deepseek-ocr", budget=4_000, renderer="dense") as other:
            other.forget(turn_id=secret.id)
        go_on.set()
        drawn = job(memory).future.result()
        assert any("quiet heron" in piece.page.text for piece in drawn.past if piece.page is not None)
        assert not store.blob_keys("main")
        assert not any(SECRET in str(message) for message in memory.messages())
        assert not any("quiet heron" in page.text for page in memory.context().pages)


class Held(MemoryStore):
    """A store that waits before it keeps blobs in the background."""

    storing, go_on = threading.Event(), threading.Event()

    def put_blobs(self, session: str, blobs: dict[str, bytes]) -> None:
        if in_background():
            self.storing.set()
            self.go_on.wait()
        super().put_blobs(session, blobs)


def test_pixels_that_are_stored_while_another_process_forgets_do_not_stay(
    airline_sessions: list[dict[str, Any]],
) -> None:
    store = Held()
    settings: dict[str, Any] = {"store": store, "profile": "deepseek-ocr", "budget": 4_000, "renderer": "dense"}
    with OpticalMemory(**settings) as memory:
        secret = memory.add("user", SECRET)
        for message in talk(airline_sessions):
            if message["role"] != "user":  # what comes is small, so that the epoch is prepared before it begins
                continue
            memory.extend([message])
            memory.messages()
            prepared(memory)
            if memory.peek().epoch:
                break
        store.storing.wait()
        pages = [page.id for page in memory.context().pages if secret.id in page.turn_ids]
        assert pages
        with OpticalMemory(**settings) as other:
            other.forget(turn_id=secret.id)
        store.go_on.set()
        memory._view.stop()
        assert not [key for key in store.blob_keys("main") if any(page in key for page in pages)]


def test_a_superseded_turn_leaves_what_was_prepared(airline_sessions: list[dict[str, Any]]) -> None:
    said = [m for m in talk(airline_sessions) if m["role"] == "user"]
    with OpticalMemory(profile="deepseek-ocr", budget=4_000, renderer="dense") as memory:
        path: list[dict[str, Any]] = []
        for place, message in enumerate(said):
            path.append({"role": "user", "content": SECRET} if place == 3 else message)
            memory.follow(path)
            memory.messages()
            if prepared(memory):
                break
        assert any(SECRET in run.text for sealed in job(memory).future.result().draft.fresh for run in sealed.runs)
        path[3] = {"role": "user", "content": "Never mind."}
        for message in said[len(path) : len(path) + 40]:
            path.append(message)
            memory.follow(path)
            memory.messages()
            context = memory.context()
            assert not any("quiet heron" in piece.text for piece in context.pieces())
            assert not any("quiet heron" in page.text for page in context.pages)
        assert memory.context().epoch


def test_an_error_in_the_background_is_logged_and_the_caller_does_the_work(
    airline_sessions: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RenderError("no ink")

    settings: dict[str, Any] = {"profile": "deepseek-ocr", "budget": 4_000}
    with (
        OpticalMemory(renderer=Watched(fail), **settings) as memory,
        OpticalMemory(renderer="dense", draw_ahead=False, **settings) as other,
    ):
        for message in talk(airline_sessions)[:90]:
            memory.extend([message])
            other.extend([message])
            assert memory.messages() == other.messages()
            prepared(memory)
        assert memory.peek().epoch > 1
    assert "could not be prepared" in caplog.text and "no ink" in caplog.text


def test_memories_that_draw_for_long_hold_up_no_other(airline_sessions: list[dict[str, Any]]) -> None:
    go_on = threading.Event()
    slow = [
        OpticalMemory(str(place), profile="deepseek-ocr", budget=4_000, renderer=Watched(go_on.wait))
        for place in range(3)
    ]
    messages = talk(airline_sessions)[:80]
    for memory in slow:
        for message in messages:
            memory.extend([message])
            memory.messages()
            if job(memory) is not None:
                break
    with OpticalMemory(profile="deepseek-ocr", budget=4_000, renderer="dense") as free:
        for message in messages:
            free.extend([message])
            free.messages()
        assert free.peek().epoch > 1, "its own work, where no thread is free"
    go_on.set()
    for memory in slow:
        memory.close()


def test_several_views_and_memories_of_one_session_agree(
    tmp_path: Path, airline_sessions: list[dict[str, Any]]
) -> None:
    store = f"sqlite:///{tmp_path / 'm.db'}"
    settings: dict[str, Any] = {"store": store, "profile": "deepseek-ocr", "renderer": "dense"}
    with (
        OpticalMemory("s", budget=4_000, **settings) as one,
        OpticalMemory("s", budget=4_000, **settings) as two,
        OpticalMemory("s", budget=5_000, **settings) as larger,
        OpticalMemory("s", budget=4_000, profile="deepseek-ocr", renderer="dense", draw_ahead=False) as alone,
    ):
        for place, message in enumerate(talk(airline_sessions)[:120]):
            (one, two, larger)[place % 3].extend([message])
            alone.extend([message])
            assert one.messages() == two.messages() == alone.messages()
            larger.messages()
            prepared((one, two, larger)[place % 3])
        assert one.peek().epoch > 1 and larger.peek().epoch


def test_threads_begin_when_they_are_needed_and_end_with_the_last_memory() -> None:
    code = """
import threading
from optical_memory import OpticalMemory
def ahead():
    return [thread for thread in threading.enumerate() if thread.name.startswith("optical-memory-ahead")]
def fill(memory):
    for number in range(300):
        memory.add("user", f"Crate {number} went to hall {number % 7}, and nobody wrote down who moved it. " * 3)
        memory.messages()
settings = {"profile": "deepseek-ocr", "budget": 4_000, "renderer": "dense"}
with OpticalMemory(draw_ahead=False, **settings) as memory:
    fill(memory)
    assert memory.peek().epoch and not ahead()
many = [OpticalMemory(**settings) for _ in range(5)]
assert not ahead()
for memory in many:
    fill(memory)
assert 1 <= len(ahead()) <= 2, ahead()
for memory in many[1:]:
    memory.close()
assert ahead()
many[0].close()
many[0].close()
assert not ahead() and len(threading.enumerate()) == 1
lost = OpticalMemory(**settings)
fill(lost)
del lost, memory, many
import gc
gc.collect()
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
