"""Deletions that came while the server wrote its files: all that wait are asked for together, once it is through.

Writing a large append-only file anew takes seconds, and each deletion needs one that began after it. So that a service
that deletes often is not held up by it, nobody waits here; and what waits when a process dies stands in Redis
(:class:`~optical_memory.stores.redis_names.Unpurged`), where the next one that opens the store finds it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence

from optical_memory.errors import StoreUnavailableError

_log = logging.getLogger(__name__)
AGAIN_SECONDS = 0.25
"""How often a server is asked that is still at it."""
UNREACHED_SECONDS = 5.0
"""How often one is asked that cannot be reached."""


class Purging:
    """Sessions whose servers are to be asked again, by a thread that lives while there are some. Safe for threads.

    Args:
        ask: asks the servers of sessions; returns those that must be asked again, or raises StoreUnavailableError.

    """

    def __init__(self, ask: Callable[[Sequence[str]], Sequence[str]]) -> None:
        self._ask = ask
        self._waiting: dict[str, object] = {}
        self._changed = threading.Condition()
        self._asking = self._closing = False

    def add(self, sessions: Iterable[str]) -> None:
        """Have the servers of these sessions asked again."""
        with self._changed:
            self._waiting |= {session: object() for session in sessions}  # anew, also where it waits already
            if self._waiting and not self._asking:
                self._asking = True
                threading.Thread(target=self._run, name="optical-memory-purge", daemon=True).start()

    def close(self, seconds: float) -> None:
        """Wait at most so long until all are asked. What is left stands in Redis, for the next that opens the store."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._asking, seconds):
                _log.warning(
                    "deleted from Redis, whose files are still to be rewritten: %d sessions", len(self._waiting)
                )
            self._closing = True
            self._changed.notify_all()

    def _run(self) -> None:
        pause = AGAIN_SECONDS
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing, pause)
                asked = dict(self._waiting)
                if self._closing or not asked:
                    self._asking = False
                    self._changed.notify_all()
                    return
            try:
                left, pause = self._ask(list(asked)), AGAIN_SECONDS
            except StoreUnavailableError as error:
                _log.warning("the files of this Redis may keep deleted text until they are rewritten: %s", error)
                left, pause = list(asked), UNREACHED_SECONDS
            with self._changed:
                for session in asked.keys() - set(left):
                    if self._waiting[session] is asked[session]:  # else something was deleted from it meanwhile
                        del self._waiting[session]
