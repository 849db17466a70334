"""Drawing ahead: the next epoch of a view is planned, drawn and packed in the background before it is due.

What is prepared follows from turns that are stored (:meth:`optical_memory.context.plan.Sizes.basis`), so that an epoch
is the same whether it was prepared or not. A view takes it only while everything that it was prepared from still holds.
Before that stands, sketches are made: the epoch as it would be by then, of which only what took long to make is kept,
most of all the pixels of pages. All memories of a process share a few threads; each has at most one epoch and one
sketch waiting there or being drawn.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from optical_memory.context import elsewhere, threads
from optical_memory.context.base import Piece, Settings
from optical_memory.context.epoch import Epoch
from optical_memory.context.gallery import Gallery, Key
from optical_memory.context.planning import Draft, Premises
from optical_memory.context.shelf import Shelf
from optical_memory.context.state import SessionState
from optical_memory.errors import OpticalMemoryError

if TYPE_CHECKING:
    from optical_memory.context.accounts import Accounts

PAUSE = 0.002
"""Seconds that a thread waits before it begins, so that the call that asked for it is over: both would take turns."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An epoch that is ready to be shown: its draft, the pieces of its past, the ``pixels`` that are new.

    ``notes`` are blobs that say where its pages came from. ``packed`` is what is stored of it, as long as the session's
    state is ``before``. ``drawn`` pages took ``seconds``.
    """

    draft: Draft
    past: tuple[Piece, ...]
    pixels: Mapping[Key, bytes]
    notes: Mapping[str, bytes]
    drawn: int
    seconds: float
    before: SessionState
    after: SessionState
    packed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a thread needs to prepare an epoch. ``shelf`` is its own; nothing of the view is changed.

    ``first`` is what was prepared from the same ``premises`` before a model told of it.
    """

    premises: Premises
    settings: Settings
    shelf: Shelf
    gallery: Gallery
    state: SessionState
    view: str
    accounts: Accounts | None = None
    first: Prepared | None = None

    def sketched(self, stopped: Callable[[], bool]) -> None:
        """Make what an epoch from about these premises needs, until ``stopped``; the view shows nothing of it."""
        shelf, sealer = self.shelf, self.shelf.sealer
        draft = elsewhere.draft(self.settings, sealer, shelf, self.premises)
        shelf.learn([*draft.fresh, *draft.gists])
        past = [] if stopped() else shelf.pieces(draft.epoch, sealer.header_tokens)
        self.gallery.sketch((piece.page for piece in past if piece.page is not None), stopped)

    def done(self, stopped: Callable[[], bool]) -> Prepared | None:
        """Plan, lay out, draw and pack the epoch; None where it was ``stopped`` meanwhile."""
        shelf, sealer = self.shelf, self.shelf.sealer
        draft = elsewhere.draft(self.settings, sealer, shelf, self.premises, self.accounts)
        if stopped():
            return None
        if self.accounts is not None:
            self.accounts.ask(draft.epoch, self.premises.path, self.state.doomed)
        sealed = [*draft.fresh, *draft.gists]
        shelf.learn(sealed)
        past = shelf.pieces(draft.epoch, sealer.header_tokens)
        begun = time.perf_counter()
        pages = [piece.page for piece in past if piece.page is not None]
        before = self.first
        pixels, drawn = self.gallery.made_for(pages, {} if before is None else before.pixels)
        seconds = time.perf_counter() - begun
        if stopped():
            return None
        for page in pages:
            _ = page.url
        after = self.state.with_epoch(self.view, draft.epoch)
        return Prepared(
            draft=draft,
            past=past,
            pixels=pixels,
            notes=shelf.notes(sealed),
            drawn=drawn + (0 if before is None else before.drawn),
            seconds=seconds + (0 if before is None else before.seconds),
            before=self.state,
            after=after,
            packed=after.pack(),
        )


class Ahead:
    """Has the next epoch of one view prepared. Its owner holds the view's lock."""

    def __init__(self) -> None:
        """No thread is used before the first :meth:`prepare`."""
        self._job: _Job | None = None
        self._better: _Job | None = None
        self._sketch: _Sketch | None = None
        self._after: tuple[Future[None], Callable[[], None]] | None = None
        self._leave: weakref.finalize[..., Ahead] | None = None

    def prepare(self, premises: Premises, begin: Callable[[], Work], *, again: bool = False) -> None:
        """Have the epoch that follows from ``premises`` prepared, by what ``begin`` returns, unless it is already.

        ``again``: once more, as a model has told more of it meanwhile; until that is done the other is kept.
        """
        job = self._job
        if job is None or not job.premises.are(premises):
            self.drop()
            if self._sketch is not None:
                self._sketch.give_up()
            self._job = self._begun(begin())
        elif again:
            if self._better is not None:
                self._better.give_up()
            self._better = self._begun(replace(begin(), first=job.result() if job.future.done() else None))

    def _begun(self, work: Work) -> _Job:
        self._enter()
        stop = threading.Event()
        future = threads.POOL.submit(lambda: None if stop.wait(PAUSE) else work.done(stop.is_set))
        return _Job(premises=work.premises, future=future, stop=stop, process=os.getpid())

    def sketch(self, epoch: Epoch, number: int, begin: Callable[[], Work]) -> None:
        """Have the sketch of this number made of the epoch that follows this one, by what ``begin`` returns, once.

        One that is better is begun when the one before is done.
        """
        if self._sketch is not None:
            if self._sketch.epoch is epoch and (number <= self._sketch.number or not self._sketch.future.done()):
                return
            self._sketch.give_up()
        work = begin()
        self._enter()
        stop = threading.Event()

        def make() -> None:
            try:
                if not stop.wait(PAUSE):
                    work.sketched(stop.is_set)
            except Exception as error:
                _log.debug("no sketch of the next epoch: %s", error)

        future = threads.POOL.submit(make)
        self._sketch = _Sketch(epoch=epoch, number=number, future=future, stop=stop, process=os.getpid())

    def take(self, premises: Premises) -> Prepared | None:
        """Return the epoch prepared from these premises; None where there is none. Waits for one that was begun.

        What went wrong in the background is logged; the caller does the same work itself, and has the error.
        """
        job, self._job = self._job, None
        better, self._better = self._better, None
        if self._sketch is not None:
            self._sketch.give_up()
        if job is None:
            return None
        if not job.premises.are(premises):
            for each in filter(None, (job, better)):
                each.give_up()
            return None
        if better is not None and better.future.done() and (told := better.result()) is not None:
            return told
        if better is not None:
            better.give_up()
        return job.result()

    def afterwards(self, work: Callable[[], None]) -> None:
        """Do something when there is time, at the latest in :meth:`close`; what was to be done before is done first."""
        self._finish()
        self._enter()

        def later() -> None:
            time.sleep(PAUSE)
            work()

        self._after = (threads.POOL.submit(later), work)

    def _enter(self) -> None:
        if self._leave is None:
            threads.POOL.enter()
            self._leave = weakref.finalize(self, threads.POOL.leave, wait=False)
            self._leave.atexit = False

    def _finish(self) -> None:
        after, self._after = self._after, None
        if after is None:
            return
        future, work = after
        try:
            if future.cancel():
                work()
            else:
                future.result()
        except OpticalMemoryError as error:
            _log.warning("pages are not kept across restarts: %s", error)

    def drop(self, *, wait: bool = False) -> None:
        """Let go of what is prepared; ``wait`` until nothing of it runs any more."""
        jobs = [job for job in (self._job, self._better) if job is not None]
        self._job = self._better = None
        for job in jobs:
            job.give_up()
        if wait and self._sketch is not None:
            sketch, self._sketch = self._sketch, None
            sketch.give_up()
            sketch.wait()
        for job in jobs if wait else ():
            job.result()

    def close(self) -> None:
        """Stop, and let go of the threads; the last one to do so ends them."""
        self.drop(wait=True)
        self._finish()
        if self._leave is not None:
            self._leave.detach()
            self._leave = None
            threads.POOL.leave(wait=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    premises: Premises
    future: Future[Prepared | None]
    stop: threading.Event
    process: int

    def give_up(self) -> None:
        self.stop.set()
        self.future.cancel()

    def result(self) -> Prepared | None:
        """Return what was prepared; None where it was not begun, was stopped or failed, or in a forked process."""
        if self.process != os.getpid() or self.future.cancel() or self.future.cancelled():
            return None
        try:
            return self.future.result()
        except OpticalMemoryError as error:
            _log.warning("an epoch could not be prepared, and is planned when it is due: %s", error)
        except Exception:
            _log.exception("an epoch could not be prepared, and is planned when it is due")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sketch:
    epoch: Epoch
    number: int
    future: Future[None]
    stop: threading.Event
    process: int

    def give_up(self) -> None:
        self.stop.set()
        self.future.cancel()

    def wait(self) -> None:
        """Wait until nothing of it runs any more; in a forked process nothing does."""
        if self.process == os.getpid() and not self.future.cancelled():
            self.future.result()
