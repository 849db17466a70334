"""Accounts of gists: asked for in the background, used by the next epoch that is planned, never waited for.

An account belongs to one gist of one history: when turns are forgotten or the path changes, all are dropped, also those
that a model is busy with.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from optical_memory.context.epoch import Entry, Epoch
from optical_memory.context.lineage import Ranges, clipped
from optical_memory.context.teller import Teller, covered
from optical_memory.renderers.layout import Run
from optical_memory.turns import Turn

THREADS = 2
"""Models that are asked at once in a process, however many memories there are."""
MOST_KEPT = 256
"""Answers that are remembered, those that were no use among them; the oldest go first."""
_log = logging.getLogger(__name__)


class _Key(NamedTuple):
    page_id: str
    first_seq: int
    last_seq: int


class Accounts:
    """What a model tells of the gists of one view. Safe for the threads that prepare its epochs."""

    def __init__(self, teller: Teller, turns_at: Callable[[Ranges], list[Turn]]) -> None:
        """No thread runs before the first :meth:`ask`. ``turns_at`` returns the exact turns at places."""
        self._teller, self._turns_at = teller, turns_at
        self._lock = threading.Lock()
        self._found: dict[_Key, tuple[Run, ...]] = {}
        self._fresh = False
        self._epoch, self._left = -1, 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, entry: Entry) -> Sequence[Run]:
        """Return the account of a gist; empty where there is none, or none yet."""
        with self._lock:
            return self._found.get(_key(entry), ())

    def ask(self, epoch: Epoch, path: Ranges, doomed: Mapping[int, str]) -> None:
        """Have the newest gists of an epoch told that are not told yet, unless the model is busy already."""
        with self._lock:
            if epoch.number != self._epoch:
                self._epoch, self._left = epoch.number, self._teller.calls
            untold = [entry for entry in epoch.entries if entry.level and not entry.account]
            wanted = [entry for entry in reversed(untold) if _key(entry) not in self._found][: self._left]
            if not wanted or self._is_busy() or not _SLOTS.acquire(blocking=False):
                return
            self._left -= len(wanted)
            self._stop = threading.Event()
            work = (wanted, path, dict(doomed), self._stop)
            self._thread = threading.Thread(target=self._told, args=work, name="optical-memory-gists", daemon=True)
            self._thread.start()

    def _is_busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def news(self) -> bool:
        """Whether there are accounts that came since this was last asked, and no more are on their way."""
        with self._lock:
            if not self._fresh or self._is_busy():
                return False
            self._fresh = False
            return True

    def drop(self) -> None:
        """Forget all accounts; what a model is still busy with is not taken."""
        with self._lock:
            self._stop.set()
            self._found.clear()
            self._fresh = False

    def _told(self, wanted: Sequence[Entry], path: Ranges, doomed: Mapping[int, str], stop: threading.Event) -> None:
        try:
            for entry in wanted:
                if stop.is_set() or not self._tell(entry, path, doomed, stop):
                    return
        finally:
            _SLOTS.release()

    def _tell(self, entry: Entry, path: Ranges, doomed: Mapping[int, str], stop: threading.Event) -> bool:
        """Ask for one account and keep what it is; return whether it is worth asking for more."""
        account: tuple[Run, ...] = ()
        try:
            turns = self._turns_at(clipped(path, entry.first_seq, entry.last_seq))
            account = self._teller.tell(covered(turns, doomed), stop.is_set)
        except Exception as error:  # whatever a model or a closed store raises: nobody waits for it
            if not stop.is_set():
                _log.warning("a gist is not told by the model: %s: %s", type(error).__name__, error)
            return False
        with self._lock:
            if not stop.is_set():
                self._found[_key(entry)] = account
                self._fresh = self._fresh or bool(account)
                while len(self._found) > MOST_KEPT:
                    del self._found[next(iter(self._found))]
        return True


def _key(entry: Entry) -> _Key:
    return _Key(entry.id, entry.first_seq, entry.last_seq)


def _after_fork() -> None:
    global _SLOTS
    _SLOTS = threading.Semaphore(THREADS)


_SLOTS = threading.Semaphore(THREADS)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)  # threads do not survive a fork
