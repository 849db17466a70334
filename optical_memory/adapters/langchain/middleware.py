"""The middleware for ``create_agent``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import AnyMessage, BaseMessage
from langchain_core.tools import BaseTool
from langgraph.config import get_config

from optical_memory.adapters.base import Bridge, OnFailure, PerThread, schemas
from optical_memory.adapters.langchain.messages import (
    LangChainShape,
    MemoryFailedError,
    recall_tool,
    thread_of,
    written_tools,
)
from optical_memory.memory import OpticalMemory


class OpticalMemoryMiddleware(PerThread[BaseMessage], AgentMiddleware[Any, Any, Any]):
    """Shows the model an optical memory of the thread instead of its whole history.

    ``create_agent(model, tools, middleware=[OpticalMemoryMiddleware(store="sqlite:///memory.db")])``. Each thread
    (``configurable.thread_id``) is a session of its own; edits, rewinds and forks of a thread are followed. The model
    also gets the ``recall`` tool. Sync and async.

    Args:
        memory: a ready memory for one thread, instead of ``settings``.
        recall: whether the model gets the recall tool.
        on_failure: "raise" MemoryFailedError, or "send everything" and log a warning.
        settings: as for :class:`OpticalMemory` (store, profile, budget, policy, renderer). The budget holds for all
            that is sent: system prompt, tool schemas, response schema and messages.

    """

    def __init__(
        self,
        memory: OpticalMemory | None = None,
        *,
        recall: bool = True,
        on_failure: OnFailure = "raise",
        **settings: Any,
    ) -> None:
        super().__init__()
        self._bridge = Bridge(LangChainShape(), memory, on_failure=on_failure, error=MemoryFailedError, **settings)
        self.tools: Sequence[BaseTool] = [recall_tool(self._bridge)] if recall else []

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Call the model with the bounded context. Raises MemoryFailedError."""
        thread = thread_of(get_config(), request.messages)
        shown = self._bridge.shown(thread, request.messages, beside=_beside(request))
        return handler(request.override(messages=cast(list[AnyMessage], shown)))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Call the model with the bounded context; the work is done on a thread, the loop does not wait."""
        thread = thread_of(get_config(), request.messages)
        shown = await self._bridge.shown_async(thread, request.messages, beside=_beside(request))
        return await handler(request.override(messages=cast(list[AnyMessage], shown)))


def _beside(request: ModelRequest[Any]) -> str:
    """Return what is sent beside the messages: system prompt, tool schemas, the schemas of a structured answer."""
    system = request.system_message.text if request.system_message else ""
    asked = request.response_format
    specs = [*getattr(asked, "schema_specs", ()), *filter(None, [getattr(asked, "schema_spec", None)])]
    answer = schemas(spec.json_schema for spec in specs)
    return "\n".join(filter(None, [system, written_tools(request.tools), answer]))
