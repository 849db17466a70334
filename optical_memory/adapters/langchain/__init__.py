"""LangChain 1.x and LangGraph: a middleware for ``create_agent``, a node for graphs, a chat message history.

The agent's own state stays exact and whole; what changes is what the model sees. Images are priced by the target
model's own rule, not by LangChain's approximate counter (85 tokens each).
"""

from __future__ import annotations

from optical_memory.errors import MissingExtraError

try:
    import langchain  # noqa: F401
    import langgraph.graph  # noqa: F401
except ImportError as missing:
    raise MissingExtraError("langchain", "langchain") from missing

from optical_memory.adapters.langchain.history import OpticalChatMessageHistory
from optical_memory.adapters.langchain.messages import MemoryFailedError
from optical_memory.adapters.langchain.middleware import OpticalMemoryMiddleware
from optical_memory.adapters.langchain.node import OpticalModelNode

__all__ = ["MemoryFailedError", "OpticalChatMessageHistory", "OpticalMemoryMiddleware", "OpticalModelNode"]
