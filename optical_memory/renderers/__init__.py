"""Renderers: layouts in, rasters out. Other packages join through the entry points ``optical_memory.renderers``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optical_memory.registry import Registry
from optical_memory.renderers.base import Grid, Layout, Page, Raster, Renderer, Span, Tier
from optical_memory.renderers.dense import DenseRenderer

if TYPE_CHECKING:
    from optical_memory.renderers.chromium import ChromiumRenderer

RENDERERS: Registry[Renderer] = Registry(
    "renderer",
    "optical_memory.renderers",
    {"chromium": "optical_memory.renderers.chromium:ChromiumRenderer", "dense": DenseRenderer},
)
"""What makes a renderer, without arguments."""

__all__ = [
    "RENDERERS",
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
    return RENDERERS.maker(renderer)()


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
