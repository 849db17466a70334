"""Renderers: layouts in, rasters out. Third parties add theirs under the entry point group ENTRY_POINTS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optical_memory.errors import NotFoundError
from optical_memory.renderers.base import Grid, Layout, Page, Raster, Renderer, Span, Tier
from optical_memory.renderers.dense import DenseRenderer

if TYPE_CHECKING:
    from optical_memory.renderers.chromium import ChromiumRenderer

ENTRY_POINTS = "optical_memory.renderers"
"""Group of entry points: a name, and what is called without arguments to make a Renderer."""

__all__ = [
    "ENTRY_POINTS",
    "ChromiumRenderer",
    "DenseRenderer",
    "Grid",
    "Layout",
    "Page",
    "Raster",
    "Renderer",
    "Span",
    "Tier",
    "default_renderer",
    "get_renderer",
]


def get_renderer(renderer: str | Renderer) -> Renderer:
    """Return the renderer of this name, "chromium", "dense" or an entry point's; a Renderer is returned as it is.

    Errors: NotFoundError with the names there are; whatever making it raises (BrowserNotFoundError, …).
    """
    if not isinstance(renderer, str):
        return renderer
    if renderer == "dense":
        return DenseRenderer()
    if renderer == "chromium":
        return _chromium()()
    from importlib.metadata import entry_points  # slow to import, and seldom needed

    found = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if renderer not in found:
        names = ", ".join(["chromium", "dense", *sorted(found)])
        raise NotFoundError(f"no renderer {renderer!r}; there are {names}")
    made: Renderer = found[renderer].load()()
    return made


def default_renderer() -> Renderer:
    """Return the Chromium renderer where a browser and Playwright are found, else the dense one."""
    return _chromium()() if _chromium().available() else DenseRenderer()


def _chromium() -> type[ChromiumRenderer]:
    from optical_memory.renderers.chromium import ChromiumRenderer

    return ChromiumRenderer


def __getattr__(name: str) -> Any:
    """Import ChromiumRenderer when it is first used."""
    if name == "ChromiumRenderer":
        return _chromium()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
