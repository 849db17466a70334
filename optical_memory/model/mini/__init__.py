"""The bundled model: a small DeepEncoder with a read-out head, and its weights."""

from optical_memory.model.mini.model import MiniModel, load
from optical_memory.model.mini.network import MiniNetwork

__all__ = ["MiniModel", "MiniNetwork", "load"]
