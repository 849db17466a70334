"""Reads of what stands: on threads of their own, so that none waits behind pages that are planned or drawn.

A read is tried there first. Where it would start an epoch, draw a page or read a session for the first time, it is
given up before anything is changed, and done where others do the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

from optical_memory.memory import OpticalMemory
from optical_memory.renderers import png
from optical_memory.renderers.base import Layout, Raster, Renderer
from optical_memory.renderers.visible import Repertoire

T = TypeVar("T")
_at_once: ContextVar[bool] = ContextVar("at_once", default=False)


class WaitsError(Exception):
    """A read that was to be done at once must wait for a process that plans or draws."""


def at_once(work: Callable[[OpticalMemory], T]) -> Callable[[OpticalMemory], T]:
    """Return ``work`` that raises WaitsError instead of waiting; until then it changes nothing that it may not change.

    Its renderer must be a :class:`Deferring` one.
    """

    def done(memory: OpticalMemory) -> T:
        before = _at_once.set(True)
        try:
            if not memory.peek().fits:  # an epoch begins
                raise WaitsError
            return work(memory)
        finally:
            _at_once.reset(before)

    return done


class Deferring:
    """A renderer that draws and plans nothing within :func:`at_once`."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    @property
    def key(self) -> str:
        """Name and pixel version."""
        return self._renderer.key

    @property
    def repertoire(self) -> Repertoire:
        """What can be drawn."""
        return self._renderer.repertoire

    def draw(self, layouts: Sequence[Layout], *, size: tuple[int, int]) -> list[Raster]:
        """Draw layouts; see the protocol. Raises WaitsError within :func:`at_once`."""
        _wait()
        return self._renderer.draw(layouts, size=size)

    def paint(self, layouts: Sequence[Layout], *, size: tuple[int, int]) -> list[bytes]:
        """Draw layouts as PNG bytes, likewise."""
        _wait()
        return png.paint(self._renderer, layouts, size=size)

    def close(self) -> None:
        """Release what is held."""
        self._renderer.close()

    def __getattr__(self, name: str) -> Any:
        """Return what the renderer has besides; what is done elsewhere is waited for as well."""
        found = getattr(self._renderer, name)
        if name != "elsewhere":
            return found

        def elsewhere(*given: Any, **settings: Any) -> Any:
            _wait()
            return found(*given, **settings)

        return elsewhere


def _wait() -> None:
    if _at_once.get():
        raise WaitsError
