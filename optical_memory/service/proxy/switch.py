"""The switch: whether the proxy compresses, only reports, or passes all through. It works at run time, everywhere.

The settings say what is allowed at most. An operator (``optical-memory proxy MODE``) and a tenant's admin
(``PUT /v1/proxy``) can turn it down in the store; each replica looks there every few seconds. The lowest counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from optical_memory.errors import ConflictError, InputError
from optical_memory.service.records import Records

Mode = Literal["on", "dry-run", "off"]
MODES: tuple[Mode, ...] = ("off", "dry-run", "on")
"""From the least to the most that the proxy does."""
_NAME = "proxy/mode"
_ATTEMPTS = 8


def lowest(*modes: Mode) -> Mode:
    """Return the mode that does least."""
    return min(modes, key=MODES.index)


class Switch:
    """Reads and sets the modes in the store. ``setting`` is the most allowed; a mode is believed for ``seconds``."""

    def __init__(
        self, records: Records, setting: Mode, *, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._records, self._setting, self._seconds, self._clock = records, setting, seconds, clock
        self._cache: dict[str, tuple[float, Mode]] = {}

    def cached(self, tenant: str) -> Mode | None:
        """Return a tenant's mode if it was read lately, without asking the store."""
        held = self._cache.get(tenant)
        return held[1] if held is not None and self._clock() < held[0] else None

    def read(self, tenant: str) -> Mode:
        """Return a tenant's mode: the lowest of the settings', the operator's and its own."""
        mode = lowest(self._setting, self.stored(""), self.stored(tenant))
        if len(self._cache) >= 10_000:
            self._cache.clear()
        self._cache[tenant] = (self._clock() + self._seconds, mode)
        return mode

    def stored(self, tenant: str) -> Mode:
        """Return what was set for a tenant ("": by the operator, for all); "on" where nothing was."""
        held = (self._records.get(_name(tenant)) or b"on").decode()
        return next((mode for mode in MODES if mode == held), "off")

    def set(self, mode: str, tenant: str = "") -> None:
        """Set the mode for a tenant ("": for all). Raises InputError, ConflictError."""
        if mode not in MODES:
            raise InputError(f"a mode is one of {', '.join(MODES)}, not {mode!r}")
        for _ in range(_ATTEMPTS):
            if self._records.swap(_name(tenant), mode.encode(), expected=self._records.get(_name(tenant))):
                self._cache.clear()
                return
        raise ConflictError(f"the switch changed {_ATTEMPTS} times meanwhile; repeat")


def _name(tenant: str) -> str:
    return f"{_NAME}/{tenant}" if tenant else _NAME
