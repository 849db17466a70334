"""Drawing in processes of its own, so that a slow page or a crash holds up nobody but whoever asked for it.

Processes are spawned, never forked, and started when they are first needed. Each draws one job at a time. One that dies
or takes too long is ended and replaced, and its job is drawn again.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Literal

from optical_memory.errors import InputError, RenderError
from optical_memory.renderers import get_renderer, png
from optical_memory.renderers.base import Layout, Raster, Renderer
from optical_memory.renderers.visible import Repertoire

_log = logging.getLogger(__name__)
MOST_TRIES = 3
"""How often a job is tried before its pages are held to be at fault."""
PAGES_A_JOB = 4
"""Most pages of one job: so long others wait for a process at most."""
_END_SECONDS = 5.0
_NICE = 10
"""Drawing steps back for those who read and add: it takes the processor that they leave."""
Kind = Literal["draw", "paint"]


class ProcessRenderer:
    """Draws with the renderer of a name in ``processes`` processes. Safe for threads; the bytes are the same.

    Args:
        name: of the renderer, which every process opens for itself ("chromium", "dense" or an entry point's).
        processes: how many jobs are drawn at a time.
        seconds: how long a job may take, and how long it waits for a process that is free.

    """

    def __init__(self, name: str, *, processes: int = 2, seconds: float = 60.0) -> None:
        if processes < 1:
            raise InputError(f"pages are drawn in at least 1 process, not {processes!r}")
        self._described: Renderer = get_renderer(name)  # says key and repertoire; draws nothing here
        self._seconds = seconds
        self._workers = [_Worker(name) for _ in range(processes)]
        self._free: queue.LifoQueue[_Worker] = queue.LifoQueue()  # the one used last is started already
        for worker in self._workers:
            self._free.put(worker)

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
        """The ids of the processes that run now."""
        return [worker.process.pid for worker in self._workers if worker.process is not None and worker.process.pid]

    def draw(self, layouts: Sequence[Layout], *, size: tuple[int, int]) -> list[Raster]:
        """Draw layouts at ``size``; see the protocol. RenderError too where a process died at each try."""
        return self._jobs("draw", layouts, size)

    def paint(self, layouts: Sequence[Layout], *, size: tuple[int, int]) -> list[bytes]:
        """Draw layouts and return them as PNG bytes, encoded where they were drawn."""
        return self._jobs("paint", layouts, size)

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.end()
        self._described.close()

    def _jobs(self, kind: Kind, layouts: Sequence[Layout], size: tuple[int, int]) -> list[Any]:
        found: list[Any] = []
        for start in range(0, len(layouts), PAGES_A_JOB):
            found += self._job((kind, list(layouts[start : start + PAGES_A_JOB]), size))
        return found

    def _job(self, job: tuple[Kind, list[Layout], tuple[int, int]]) -> list[Any]:
        for _ in range(MOST_TRIES):
            try:
                worker = self._free.get(timeout=self._seconds)
            except queue.Empty:
                raise RenderError(f"no process was free to draw within {self._seconds:g} s; try again") from None
            try:
                return worker.do(job, self._seconds)
            except _GoneError as gone:
                _log.warning("a process that drew pages is replaced: %s", gone)
            finally:
                self._free.put(worker)
        raise RenderError(f"{len(job[1])} pages could not be drawn: {MOST_TRIES} processes died or hung over them")


class _GoneError(Exception):
    """A process died, or took too long and was ended."""


@dataclass(slots=True)
class _Worker:
    """One process, started when it is first used and again after it was lost."""

    name: str
    process: SpawnProcess | None = None
    _connection: Connection | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def do(self, job: Any, seconds: float) -> list[Any]:
        """Return what the process made of a job. Raises _GoneError, or what drawing raised."""
        connection = self._started()
        try:
            connection.send(job)
            if not connection.poll(seconds):
                self._lose()
                raise _GoneError(f"it took more than {seconds:g} s")
            done, result = connection.recv()
        except (EOFError, OSError) as error:
            status = self._lose()
            raise _GoneError(f"it died (status {status})") from error
        if done:
            return list(result)
        raise result

    def end(self) -> None:
        """End the process for good."""
        self._closed = True
        self._lose()

    def _started(self) -> Connection:
        with self._lock:
            if self._closed:
                raise RenderError("the renderer is closed")
            if self._connection is None:
                spawn = multiprocessing.get_context("spawn")
                self._connection, theirs = spawn.Pipe()
                self.process = spawn.Process(target=_work, args=(self.name, theirs), daemon=True)
                self.process.start()
                theirs.close()  # so that the death of the process ends the connection
            return self._connection

    def _lose(self) -> int | None:
        with self._lock:
            process, connection = self.process, self._connection
            self.process = self._connection = None
        if process is None or connection is None:
            return None
        connection.close()  # a process that waits for work ends by itself
        process.join(_END_SECONDS if self._closed else 0.1)
        if process.is_alive():
            process.kill()
            process.join()
        status = process.exitcode
        process.close()
        return status


def _work(name: str, connection: Connection) -> None:
    """Draw jobs until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to end
    if hasattr(os, "nice"):
        os.nice(_NICE)
    renderer = get_renderer(name)
    try:
        while True:
            kind, layouts, size = connection.recv()
            connection.send(_drawn(renderer, kind, layouts, size))
    except (EOFError, OSError):
        return  # nobody wants pages any more
    finally:
        renderer.close()


def _drawn(renderer: Renderer, kind: Kind, layouts: list[Layout], size: tuple[int, int]) -> tuple[bool, Any]:
    try:
        return True, renderer.draw(layouts, size=size) if kind == "draw" else png.paint(renderer, layouts, size=size)
    except Exception as error:  # told to whoever asked
        return False, error
