"""Drawing in processes: the same bytes, also where a process is killed or hangs; a hanging one holds up nobody else."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence

import pytest

from optical_memory.errors import InputError, RenderError
from optical_memory.renderers import ChromiumRenderer, Layout, get_renderer, png
from optical_memory.renderers.processes import PAGES_A_JOB, ProcessRenderer

SIZE = (512, 512)


@pytest.fixture(scope="module")
def layouts() -> Sequence[Layout]:
    from optical_memory import render

    text = "\n".join(f"line {n}: ticket QX{n:04d}" for n in range(1_800))
    pages = render(text, tier=None, profile="mini", renderer="dense")
    assert len(pages) > PAGES_A_JOB
    return [page.layout for page in pages]


def expected(name: str, layouts: Sequence[Layout]) -> list[bytes]:
    renderer = get_renderer(name)
    try:
        return png.paint(renderer, layouts, size=SIZE)
    finally:
        renderer.close()


@pytest.mark.parametrize("name", ["dense", "chromium"])
def test_the_bytes_are_those_of_the_renderer_itself(name: str, layouts: Sequence[Layout]) -> None:
    if name == "chromium" and not ChromiumRenderer.available():
        pytest.skip("no Chromium here")
    renderer = ProcessRenderer(name, processes=1)
    try:
        assert renderer.key == get_renderer(name).key
        assert renderer.paint(layouts[:5], size=SIZE) == expected(name, layouts[:5])
        assert [png.encode(one) for one in renderer.draw(layouts[:1], size=SIZE)] == expected(name, layouts[:1])
    finally:
        renderer.close()


def test_a_process_that_is_killed_is_replaced_and_its_pages_are_drawn_again(layouts: Sequence[Layout]) -> None:
    renderer = ProcessRenderer("dense", processes=1)
    wanted = expected("dense", layouts)
    try:
        for _ in range(3):
            assert renderer.paint(layouts, size=SIZE) == wanted
            (pid,) = renderer.pids
            os.kill(pid, signal.SIGKILL)
        assert renderer.paint(layouts, size=SIZE) == wanted
        assert renderer.pids != [pid]
    finally:
        renderer.close()


def test_one_killed_at_work_loses_no_page(layouts: Sequence[Layout]) -> None:
    renderer = ProcessRenderer("dense", processes=1)
    wanted = expected("dense", layouts)
    drawn: list[list[bytes]] = []
    try:
        renderer.paint(layouts[:1], size=SIZE)
        (pid,) = renderer.pids
        os.kill(pid, signal.SIGSTOP)  # so that it is at work when it is killed
        drawing = threading.Thread(target=lambda: drawn.append(renderer.paint(layouts, size=SIZE)))
        drawing.start()
        os.kill(pid, signal.SIGKILL)
        drawing.join()
        assert drawn == [wanted]
    finally:
        renderer.close()


def test_one_that_hangs_holds_up_nobody_else(layouts: Sequence[Layout]) -> None:
    renderer = ProcessRenderer("dense", processes=2, seconds=600)
    wanted = expected("dense", layouts)
    drawn: list[list[bytes]] = []
    try:
        renderer.paint(layouts[:1], size=SIZE)
        (pid,) = renderer.pids
        os.kill(pid, signal.SIGSTOP)
        hanging = threading.Thread(target=lambda: drawn.append(renderer.paint(layouts, size=SIZE)))
        hanging.start()
        while renderer._drawing.free.qsize() > 1:  # until the one that hangs has its job
            pass
        assert renderer.paint(layouts, size=SIZE) == wanted
        assert hanging.is_alive() and drawn == []
        os.kill(pid, signal.SIGCONT)
        hanging.join()
        assert drawn == [wanted]
    finally:
        renderer.close()


def test_one_that_hangs_is_replaced_and_its_pages_are_drawn_again(layouts: Sequence[Layout]) -> None:
    renderer = ProcessRenderer("dense", processes=1, seconds=600)
    wanted = expected("dense", layouts)
    drawn: list[list[bytes]] = []
    try:
        renderer.paint(layouts[:1], size=SIZE)
        (pid,) = renderer.pids
        os.kill(pid, signal.SIGSTOP)
        renderer._drawing.seconds = 2.0
        hanging = threading.Thread(target=lambda: drawn.append(renderer.paint(layouts, size=SIZE)))
        hanging.start()
        while pid in renderer.pids:
            time.sleep(0.01)
        renderer._drawing.seconds = 600.0  # the new one has the time to start, however busy the machine is
        hanging.join()
        assert drawn == [wanted] and pid not in renderer.pids
    finally:
        renderer.close()


def test_pages_that_no_process_survives_are_an_error_and_others_are_drawn(layouts: Sequence[Layout]) -> None:
    renderer = ProcessRenderer("dense", processes=1, seconds=1e-4)
    try:
        with pytest.raises(RenderError, match="died or hung"):
            renderer.paint(layouts, size=SIZE)
        renderer._drawing.seconds = 60.0
        assert renderer.paint(layouts[:1], size=SIZE) == expected("dense", layouts[:1])
    finally:
        renderer.close()
    with pytest.raises(RenderError, match="closed"):
        renderer.paint(layouts, size=SIZE)


def test_what_drawing_refuses_is_told_and_the_process_stays(layouts: Sequence[Layout]) -> None:
    renderer = ProcessRenderer("dense", processes=1)
    try:
        with pytest.raises(InputError, match="cannot be shown"):
            renderer.draw(layouts[:1], size=(100_000, 100_000))
        (pid,) = renderer.pids
        renderer.paint(layouts[:1], size=SIZE)
        assert renderer.pids == [pid]
        with pytest.raises(InputError, match="at least 1"):
            ProcessRenderer("dense", processes=0)
    finally:
        renderer.close()
