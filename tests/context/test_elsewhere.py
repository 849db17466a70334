"""Planning in another process: the same contexts to the byte, errors as they are, and no sealing in this process."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from optical_memory import OpticalMemory, errors
from optical_memory.context.sealing import Sealer
from optical_memory.errors import BudgetError, OpticalMemoryError, RenderError, StoreUnavailableError
from optical_memory.renderers import Renderer
from optical_memory.renderers.processes import ProcessRenderer

Session = dict[str, Any]


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessRenderer]:
    renderer = ProcessRenderer("dense", processes=1, seconds=600)
    yield renderer
    renderer.close()


def told(session: Session, store: str, renderer: str | Renderer) -> list[bytes]:
    """Return what a memory says of a session as it grows, is opened again, and forgets."""
    settings: dict[str, Any] = {"profile": "mini", "budget": 4_000, "renderer": renderer, "clock": lambda: 1_000.0}
    out: list[bytes] = []
    messages = session["messages"]
    for start in range(0, len(messages), 40):
        with OpticalMemory("s", store=store, **settings) as memory:  # each time as after a restart
            memory.extend(messages[start : start + 40], format="openai")
            out.append(repr([without_ids(one) for one in memory.messages()]).encode())
            memory.add("system", f"Instructions of part {start}.", id=f"system-{start}")
            memory.add("user", f"Keep this: {start}", pin=True, id=f"pinned-{start}")
            out.append(repr([without_ids(one) for one in memory.messages("anthropic")]).encode())
    with OpticalMemory("s", store=store, **settings) as memory:
        memory.forget(turn_id="pinned-40")
        out.append(repr(memory.messages("openai")).encode())
    return out


def without_ids(message: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key != "id"}


def test_contexts_are_the_same_to_the_byte(coding_session: Session, processes: ProcessRenderer, tmp_path: Path) -> None:
    here = told(coding_session, f"sqlite:///{tmp_path / 'here.db'}", "dense")
    there = told(coding_session, f"sqlite:///{tmp_path / 'there.db'}", processes)
    assert any(b"image" in each for each in here)
    assert there == here


def test_this_process_seals_nothing(
    coding_session: Session, processes: ProcessRenderer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(*given: Any, **settings: Any) -> Any:
        raise AssertionError("sealed in the process that must stay quick")

    monkeypatch.setattr(Sealer, "seal", refused)
    store = f"sqlite:///{tmp_path / 'memory.db'}"
    for _ in range(2):  # the second one opens what the first one stored
        with OpticalMemory("s", store=store, profile="mini", budget=4_000, renderer=processes) as memory:
            memory.extend(coding_session["messages"][:80], format="openai")
            assert memory.context(draw=True).pages


def test_an_error_passes_with_its_figures(processes: ProcessRenderer) -> None:
    with OpticalMemory(profile="mini", budget=300, renderer=processes) as memory:
        memory.add("system", "Do this and that. " * 400)
        with pytest.raises(BudgetError, match="raise the budget to at least") as caught:
            memory.context()
    assert caught.value.budget == 300 < caught.value.needed


def kinds(kind: type[OpticalMemoryError] = OpticalMemoryError) -> list[type[OpticalMemoryError]]:
    return [kind, *(each for below in kind.__subclasses__() for each in kinds(below))]


@pytest.mark.parametrize("kind", [each for each in kinds() if each.__module__ == errors.__name__])
def test_every_error_passes_from_process_to_process(kind: type[OpticalMemoryError]) -> None:
    error = kind.__new__(kind, "what went wrong")
    error.needed = 3  # type: ignore[attr-defined]
    passed = pickle.loads(pickle.dumps(error))
    assert type(passed) is kind and str(passed) == "what went wrong" and passed.needed == 3


def test_what_cannot_be_answered_here_is_raised_here_and_the_process_goes_on(processes: ProcessRenderer) -> None:
    def refused(question: Any) -> Any:
        raise StoreUnavailableError(f"no store for {question}")

    with pytest.raises(StoreUnavailableError, match="no store for a question"):
        processes.elsewhere(ask_for_it, "a question", answer=refused)
    pids = processes._planning.pids
    assert processes.elsewhere(ask_for_it, "a question", answer=lambda question: f"{question} answered") == (
        "a question answered",
        processes.key,
    )
    assert processes._planning.pids == pids


def ask_for_it(renderer: Renderer, ask: Any, question: str) -> Any:
    return ask(question), renderer.key


def test_a_process_that_dies_over_a_plan_is_replaced_and_the_plan_made_again(processes: ProcessRenderer) -> None:
    killed: list[int] = []

    def answer(question: Any) -> Any:
        if not killed:
            killed.extend(processes._planning.pids)
            os.kill(killed[0], signal.SIGKILL)
        return question

    assert processes.elsewhere(ask_for_it, 1, answer=answer) == (1, processes.key)
    assert processes._planning.pids != killed


def test_one_that_dies_each_time_is_an_error(processes: ProcessRenderer) -> None:
    def answer(question: Any) -> Any:
        os.kill(processes._planning.pids[0], signal.SIGKILL)

    with pytest.raises(RenderError, match="died or hung"):
        processes.elsewhere(ask_for_it, 1, answer=answer)


def test_no_page_waits_for_a_plan_and_no_plan_for_a_page(processes: ProcessRenderer) -> None:
    planning, go_on = threading.Event(), threading.Event()
    found: list[Any] = []

    def answer(question: Any) -> Any:
        planning.set()
        assert go_on.wait(600)
        return question

    thread = threading.Thread(target=lambda: found.append(processes.elsewhere(ask_for_it, 1, answer=answer)))
    thread.start()
    assert planning.wait(600)
    from optical_memory import render

    pages = render("some text " * 50, profile="mini", renderer=processes)
    assert pages[0].png.startswith(b"\x89PNG") and not found
    go_on.set()
    thread.join(600)
    assert found == [(1, processes.key)]


@pytest.mark.parametrize("name", ["dense", "chromium"])
def test_processes_that_draw_and_plan_step_back(name: str) -> None:
    from optical_memory.renderers import ChromiumRenderer

    if name == "chromium" and not ChromiumRenderer.available():
        pytest.skip("no Chromium here")
    renderer = ProcessRenderer(name, processes=1, seconds=600)
    try:
        with OpticalMemory(profile="mini", budget=1_000, renderer=renderer) as memory:
            memory.extend([{"role": "user", "content": f"line {n} " * 30} for n in range(60)])
            assert memory.context(draw=True).pages
        assert len(renderer.pids) == 2
        tree = [child for pid in renderer.pids for child in family(psutil.Process(pid))]
        assert len(tree) > 2 or name == "dense"  # Chromium and Playwright's driver step back with who started them
        own = psutil.Process().nice()
        assert {psutil.Process(pid).nice() for pid in renderer.pids} <= set(range(min(own + 10, 19), 20))
        sessions = {os.getsid(process.pid) for process in tree}
        assert set(renderer.pids) <= sessions  # the kernel may share the processor out by session
        assert os.getsid(0) not in sessions
        if hasattr(os, "SCHED_BATCH"):  # a browser that runs as root takes back its niceness, and keeps this
            assert {os.sched_getscheduler(process.pid) for process in tree} == {os.SCHED_BATCH}
    finally:
        renderer.close()


def family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]
