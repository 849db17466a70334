"""A LangGraph node that calls a model, for graphs built by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool

from optical_memory.adapters.base import Bridge, OnFailure, PerThread
from optical_memory.adapters.langchain.messages import (
    LangChainShape,
    MemoryFailedError,
    recall_tool,
    thread_of,
    written_tools,
)
from optical_memory.memory import OpticalMemory


class OpticalModelNode(PerThread[BaseMessage], Runnable[dict[str, Any], dict[str, Any]]):
    """Calls a model with the bounded context of the thread and returns its answer as the state's update.

    ``graph.add_node("model", node)``; ``graph.add_node("tools", ToolNode(node.tools))`` runs the tools, the recall tool
    among them.

    Args:
        model: a chat model without tools bound to it.
        memory: a ready memory for one thread, instead of ``settings``.
        tools: what the model may call beside ``recall``.
        system_prompt: sent before the messages; not part of the state.
        key: the state's key with the messages.
        recall: whether the model gets the recall tool.
        on_failure: "raise" MemoryFailedError, or "send everything" and log a warning.
        settings: as for :class:`OpticalMemoryMiddleware`.

    """

    def __init__(
        self,
        model: BaseChatModel,
        memory: OpticalMemory | None = None,
        *,
        tools: Sequence[BaseTool] = (),
        system_prompt: str | None = None,
        key: str = "messages",
        recall: bool = True,
        on_failure: OnFailure = "raise",
        **settings: Any,
    ) -> None:
        self._bridge = Bridge(LangChainShape(), memory, on_failure=on_failure, error=MemoryFailedError, **settings)
        self.tools = [*tools, *([recall_tool(self._bridge)] if recall else [])]
        self._model: Runnable[Any, Any] = model.bind_tools(self.tools) if self.tools else model
        self._system = [SystemMessage(system_prompt)] if system_prompt else []
        self._beside = "\n".join(filter(None, [system_prompt, written_tools(self.tools)]))
        self._key = key

    def invoke(self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """Return ``{key: [answer]}``. Errors: MemoryFailedError, the model's."""
        messages = input[self._key]
        shown = self._bridge.shown(thread_of(config or {}, messages), messages, beside=self._beside)
        return {self._key: [self._model.invoke([*self._system, *shown], config, **kwargs)]}

    async def ainvoke(
        self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Do :meth:`invoke` without holding the event loop."""
        messages = input[self._key]
        shown = await self._bridge.shown_async(thread_of(config or {}, messages), messages, beside=self._beside)
        return {self._key: [await self._model.ainvoke([*self._system, *shown], config, **kwargs)]}
