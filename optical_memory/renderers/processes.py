"""Drawing and planning in processes of their own: a slow page or a crash holds up nobody but whoever asked for it.

Processes are spawned, never forked, and started when they are first needed. Each does one job at a time. One that dies
or takes too long is ended and replaced, and its job is done again. Those that plan are others than those that draw: no
page waits until a long history is planned.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Sequence
from typing import Any

from optical_memory.errors import InputError, RenderError
from optical_memory.renderers import get_renderer, worker
from optical_memory.renderers.base import Layout, Raster, Renderer
from optical_memory.renderers.visible import Repertoire
from optical_memory.renderers.worker import Ask, GoneError, Job, Worker

_log = logging.getLogger(__name__)
MOST_TRIES = 3
"""How often a job is tried before it is held to be at fault."""
PAGES_A_JOB = 4
"""Most pages of one job: so long others wait for a process at most."""


class ProcessRenderer:
    """Draws with the renderer of a name in ``processes`` processes. Safe for threads; the bytes are the same.

    Args:
        name: of the renderer, which every process opens for itself ("chromium", "dense" or an entry point's).
        processes: how many jobs are drawn at a time, and how many planned.
        seconds: how long a job may take, and how long it waits for a process that is free.

    """

    def __init__(self, name: str, *, processes: int = 2, seconds: float = 60.0) -> None:
        if processes < 1:
            raise InputError(f"pages are drawn in at least 1 process, not {processes!r}")
        self._described: Renderer = get_renderer(name)  # says key and repertoire; draws nothing here
        self._drawing = Pool(name, processes, seconds)
        self._planning = Pool(name, processes, seconds)

    @property
    def key(self) -> str:
        """Name and pixel version."""
        return self._described.key

    @property
    def repertoire(self) -> Repertoire:
        """What can be drawn."""
        return self._described.repertoire

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that run now: of those that draw, then of those that plan."""
        return [*self._drawing.pids, *self._planning.pids]

    def draw(self, layouts: Sequence[Layout], *, size: tuple[int, int]) -> list[Raster]:
        """Draw layouts at ``size``; see the protocol. RenderError too where a process died at each try."""
        return self._jobs(worker.draw, layouts, size)

    def paint(self, layouts: Sequence[Layout], *, size: tuple[int, int]) -> list[bytes]:
        """Draw layouts and return them as PNG bytes, encoded where they were drawn."""
        return self._jobs(worker.paint, layouts, size)

    def elsewhere(self, job: Job, *given: Any, answer: Ask) -> Any:
        """Do what takes the processor for long in a process that plans: ``job(renderer, ask, *given)``.

        ``renderer`` is the process's own of this name. ``answer`` says here what the job asks there.
        """
        return self._planning.do(job, given, answer)

    def close(self) -> None:
        """End the processes."""
        self._drawing.close()
        self._planning.close()
        self._described.close()

    def _jobs(self, job: Job, layouts: Sequence[Layout], size: tuple[int, int]) -> list[Any]:
        found: list[Any] = []
        for start in range(0, len(layouts), PAGES_A_JOB):
            found += self._drawing.do(job, (list(layouts[start : start + PAGES_A_JOB]), size), _silent)
        return found


class Pool:
    """Processes for jobs of one kind."""

    def __init__(self, name: str, processes: int, seconds: float) -> None:
        self.seconds = seconds
        self._workers = [Worker(name) for _ in range(processes)]
        self.free: queue.LifoQueue[Worker] = queue.LifoQueue()  # the one used last is started already
        for each in self._workers:
            self.free.put(each)

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that run now."""
        return [each.process.pid for each in self._workers if each.process is not None and each.process.pid]

    def do(self, job: Job, given: Sequence[Any], answer: Ask) -> Any:
        """Do a job in a process that is free. Raises RenderError, or what the job or ``answer`` raised."""
        for _ in range(MOST_TRIES):
            try:
                chosen = self.free.get(timeout=self.seconds)
            except queue.Empty:
                raise RenderError(f"no process was free to draw or plan within {self.seconds:g} s; try again") from None
            try:
                return chosen.do(job, given, self.seconds, answer)
            except GoneError as gone:
                _log.warning("a process that drew or planned pages is replaced: %s", gone)
            finally:
                self.free.put(chosen)
        raise RenderError(f"pages could not be drawn or planned: {MOST_TRIES} processes died or hung over them")

    def close(self) -> None:
        """End the processes."""
        for each in self._workers:
            each.end()


def _silent(question: Any) -> Any:
    raise InputError(f"a job that draws asks nothing, but was asked {question!r}")
