"""Long-context memory for LLM agents: exact on disk, text while fresh, page images that fade with age."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optical_memory.asynchronous import AsyncOpticalMemory
    from optical_memory.budget import Profile, get_profile, profiles
    from optical_memory.compression import Compressor, compress
    from optical_memory.context.base import Context
    from optical_memory.errors import OpticalMemoryError
    from optical_memory.memory import OpticalMemory
    from optical_memory.model import load_model
    from optical_memory.pages import render
    from optical_memory.pool import MemoryPool
    from optical_memory.readers import load_reader
    from optical_memory.renderers.base import Page
    from optical_memory.turns import Turn

__version__ = "0.1.0"

__all__ = [
    "AsyncOpticalMemory",
    "Compressor",
    "Context",
    "MemoryPool",
    "OpticalMemory",
    "OpticalMemoryError",
    "Page",
    "Profile",
    "Turn",
    "compress",
    "get_profile",
    "load_model",
    "load_reader",
    "profiles",
    "render",
]

_HOMES = {
    "AsyncOpticalMemory": "asynchronous",
    "Compressor": "compression",
    "Context": "context.base",
    "MemoryPool": "pool",
    "OpticalMemory": "memory",
    "OpticalMemoryError": "errors",
    "Page": "renderers.base",
    "Profile": "budget.profile",
    "Turn": "turns",
    "compress": "compression",
    "get_profile": "budget.catalog",
    "load_model": "model",
    "load_reader": "readers",
    "profiles": "budget.catalog",
    "render": "pages",
}


def __getattr__(name: str) -> Any:
    """Import public names when they are first used, so that importing the package costs next to nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"optical_memory.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
