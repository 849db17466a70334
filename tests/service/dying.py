"""A service that kills itself (SIGKILL) at an exact point of its work: where, and how often before, stands in a file.

As a program (``python dying.py FILE``) it serves, with the points below able to kill it. Tests arm it: the process dies
when the point is reached for the n-th time from then on, and the file is gone.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.service.process import Service

POINTS = {
    "taken": "optical_memory.service.quotas:Quotas.begin",
    "appended": "before optical_memory.service.metered:Metered._end",
    "begun": "optical_memory.service.repeats:Repeat.write",
    "loaded": "optical_memory.stores.scoped:ScopedStore.save_state",
    "rewound": "optical_memory.context.view:SessionView.commit",
    "stored": "optical_memory.service.metered:MeteredStore.append",
    "kept": "optical_memory.service.repeats:Repeat.keep",
    "deleted": "optical_memory.stores.scoped:ScopedStore.delete_turns",
    "deleted session": "optical_memory.stores.scoped:ScopedStore.delete_session",
}
"""Functions right after which, or before which, it can die."""


class DyingService(Service):
    """A service on a store, which dies where it is told to."""

    def __init__(self, store: str, file: Path, **settings: str) -> None:
        self._file = file
        super().__init__(store, command=[sys.executable, __file__, str(file), "serve"], **settings)

    def arm(self, point: str, times: int = 1) -> None:
        """Have it die when it comes to a point for so many times."""
        assert point in POINTS
        self._file.write_text(f"{times} {point}")

    def dead(self) -> None:
        """Wait until it has died at its point."""
        assert self._end() == -signal.SIGKILL and not self._file.exists()


def _mortal(real: Callable[..., Any], point: str, file: Path, *, before: bool) -> Callable[..., Any]:
    @wraps(real)
    def mortal(*given: Any, **named: Any) -> Any:
        done = None if before else real(*given, **named)
        times, _, armed = file.read_text().partition(" ") if file.exists() else ("0", "", "")
        if armed == point:
            if int(times) > 1:
                file.write_text(f"{int(times) - 1} {point}")
            else:
                file.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        return real(*given, **named) if before else done

    return mortal


def _main() -> None:
    file = Path(sys.argv.pop(1))
    for point, place in POINTS.items():
        module, _, name = place.removeprefix("before ").partition(":")
        owner, _, method = name.partition(".")
        kind = getattr(import_module(module), owner)
        setattr(kind, method, _mortal(getattr(kind, method), point, file, before=place.startswith("before ")))
    from optical_memory.cli import main

    main()


if __name__ == "__main__":
    _main()
