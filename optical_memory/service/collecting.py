"""When a serving process looks for cycles among all its objects: rarely, as nothing else goes on meanwhile.

Such a look takes a tenth of a second where sessions of thousands of turns are open. Python does it whenever enough new
objects live, so that each session that is drawn costs all others' requests that time.
"""

from __future__ import annotations

import gc
import threading
import time

COLLECT_SECONDS = 60.0
"""How often all objects are looked at."""
_YOUNG, _MIDDLE = 5_000, 10
"""New objects until the young are looked at, and how many such times until those that were spared are."""
_NEVER = 1_000_000


def collect_rarely(seconds: float = COLLECT_SECONDS) -> None:
    """Look at all objects every so many seconds only; at those that are there now (modules, routes) never again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _NEVER)
    threading.Thread(target=_collecting, args=(seconds,), name="optical-memory-collect", daemon=True).start()


def _collecting(seconds: float) -> None:
    while True:
        time.sleep(seconds)
        gc.collect()
