"""One process that draws pages, or plans what is to be drawn, for another process that must stay quick.

It steps back for those who read and add: it has the processor that they leave, and so does the Chromium that it starts.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Protocol

from optical_memory.errors import RenderError
from optical_memory.renderers import get_renderer, png
from optical_memory.renderers.base import Layout, Renderer

_END_SECONDS = 5.0
_NICE = 10
_AUTOGROUP = Path("/proc/self/autogroup")
Ask = Callable[[Any], Any]
"""Asks whoever gave a job something, and returns the answer."""


class Job(Protocol):
    """What a process does, by a function that it can import, with its renderer and what it may ask."""

    def __call__(self, renderer: Renderer, ask: Ask, *given: Any) -> Any:
        """Do it."""


class GoneError(Exception):
    """A process died, or took too long and was ended."""


@dataclass(slots=True)
class Worker:
    """One process with the renderer of a ``name``, started when it is first used and again after it was lost."""

    name: str
    process: SpawnProcess | None = None
    _connection: Connection | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def do(self, job: Job, given: Sequence[Any], seconds: float, answer: Ask) -> Any:
        """Return what the process made of a job; what it asks meanwhile, ``answer`` says.

        ``seconds``: how long it may take between two questions. Raises GoneError, or what the job or ``answer`` raised.
        """
        connection = self._started()
        refused: Exception | None = None
        try:
            connection.send((job, tuple(given)))
            while True:
                if not connection.poll(seconds):
                    self._lose()
                    raise GoneError(f"it took more than {seconds:g} s")
                kind, value = connection.recv()
                if kind == "done":
                    return value
                if kind == "failed":
                    raise refused or value
                try:
                    told = (True, answer(value))
                except Exception as error:  # ends the job over there, and is raised here
                    refused, told = error, (False, None)
                connection.send(told)
        except (EOFError, OSError) as error:
            if error is refused:
                raise
            status = self._lose()
            raise GoneError(f"it died (status {status})") from error

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


def draw(renderer: Renderer, ask: Ask, layouts: list[Layout], size: tuple[int, int]) -> Any:
    """Job: draw layouts."""
    return renderer.draw(layouts, size=size)


def paint(renderer: Renderer, ask: Ask, layouts: list[Layout], size: tuple[int, int]) -> Any:
    """Job: draw layouts as PNG bytes."""
    return png.paint(renderer, layouts, size=size)


class _RefusedError(Exception):
    """Whoever gave the job cannot answer what it asks."""


def _work(name: str, connection: Connection) -> None:
    """Do jobs until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to end
    _step_back()

    def ask(question: Any) -> Any:
        connection.send(("ask", question))
        is_answered, told = connection.recv()
        if not is_answered:
            raise _RefusedError
        return told

    renderer = get_renderer(name)
    try:
        while True:
            job, given = connection.recv()
            connection.send(_done(job, renderer, ask, given))
    except (EOFError, OSError):
        return  # nobody wants pages any more
    finally:
        renderer.close()


def _step_back() -> None:
    """Take the processor only where nobody else wants it much, and take it from nobody who has it.

    Where Linux groups processes by session (sched(7), autogroup), those of one session share what one process gets, and
    a process steps back within its session alone: so these get a session of their own, which steps back as a whole.
    """
    if hasattr(os, "setsid"):
        os.setsid()
    if hasattr(os, "nice"):
        os.nice(_NICE)
    if hasattr(os, "SCHED_BATCH"):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with suppress(OSError):  # a kernel without such groups, or a file system that may not be written
        _AUTOGROUP.write_text(str(os.getpriority(os.PRIO_PROCESS, 0)))


def _done(job: Job, renderer: Renderer, ask: Ask, given: Sequence[Any]) -> tuple[str, Any]:
    try:
        return "done", job(renderer, ask, *given)
    except Exception as error:  # told to whoever asked
        return "failed", error
