"""LlamaIndex: a memory for agents and chat engines, and a memory block for what leaves a short-term memory."""

from __future__ import annotations

from optical_memory.errors import MissingExtraError

try:
    import llama_index.core  # noqa: F401
except ImportError as missing:
    raise MissingExtraError("llama-index-core", "llama-index") from missing

from optical_memory.adapters.llama_index.block import OpticalMemoryBlock
from optical_memory.adapters.llama_index.memory import OpticalChatMemory
from optical_memory.adapters.llama_index.messages import MemoryFailedError

__all__ = ["MemoryFailedError", "OpticalChatMemory", "OpticalMemoryBlock"]
