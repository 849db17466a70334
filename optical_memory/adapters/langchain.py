"""LangChain 1.x: a middleware for ``create_agent`` and a chat message history, over one core.

The agent's own state stays exact and whole; what changes is what the model sees. Large images are priced by the
target model's own rule, not by LangChain's approximate counter (85 tokens each).
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, cast

from optical_memory.budget import count_tokens, get_profile
from optical_memory.errors import DuplicateTurnError, MissingExtraError
from optical_memory.formats import from_turns, to_turns
from optical_memory.memory import OpticalMemory
from optical_memory.renderers import default_renderer, get_renderer
from optical_memory.stores import open_store
from optical_memory.turns import Turn

try:
    from langchain.agents.middleware import AgentMiddleware
    from langchain.agents.middleware.types import ModelRequest, ModelResponse
    from langchain_core.chat_history import BaseChatMessageHistory
    from langchain_core.messages import (
        AnyMessage,
        BaseMessage,
        ToolMessage,
        convert_to_messages,
        convert_to_openai_messages,
    )
    from langchain_core.runnables import RunnableConfig
    from langchain_core.tools import BaseTool, StructuredTool
    from langgraph.config import get_config
except ImportError as missing:
    raise MissingExtraError("langchain", "langchain") from missing

MAX_SESSIONS = 256
"""Most threads kept open at a time; the one used longest ago is closed first. Its turns stay in the store."""
RESERVE_STEP = 256
"""What the system prompt and tools take from the budget is rounded up to this, so that small edits change nothing."""


class OpticalMemoryMiddleware(AgentMiddleware[Any, Any, Any]):
    """Shows the model an optical memory of the thread instead of its whole history.

    ``create_agent(model, tools, middleware=[OpticalMemoryMiddleware(store="sqlite:///memory.db")])``. Each thread
    (``configurable.thread_id``) is a session of its own. The model also gets the ``recall`` tool. Sync and async.

    Args:
        budget: most tokens of everything sent: system prompt, tool schemas and messages.
        settings: as for :class:`OpticalMemory` (store, profile, policy, renderer).

    """

    def __init__(self, *, budget: int = 8_000, recall: bool = True, **settings: Any) -> None:
        super().__init__()
        self._budget = budget
        self._profile = get_profile(settings.pop("profile", "deepseek-ocr"))
        self._store = open_store(settings.pop("store", "memory://"))
        renderer = settings.pop("renderer", None)
        self._renderer = default_renderer() if renderer is None else get_renderer(renderer)
        self._settings = settings
        self._threads: OrderedDict[tuple[str, int], _Thread] = OrderedDict()
        self._lock = threading.Lock()
        self.tools: Sequence[BaseTool] = [self._recall_tool()] if recall else []

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Call the model with the bounded context. Errors: BudgetError, StoreError."""
        return handler(self._bounded(request, _session(request)))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Call the model with the bounded context; the work is done on a thread, the loop does not wait."""
        return await handler(await asyncio.to_thread(self._bounded, request, _session(request)))

    def memory(self, thread_id: str) -> OpticalMemory:
        """Return the memory of a thread, to inspect it, recall or forget."""
        return self._thread(thread_id, 0).memory

    def close(self) -> None:
        """Release the store and the renderer."""
        self._threads.clear()
        self._store.close()
        self._renderer.close()

    def _bounded(self, request: ModelRequest[Any], session: str) -> ModelRequest[Any]:
        thread = self._thread(session, self._reserved(request))
        return request.override(messages=cast(list[AnyMessage], thread.messages(request.messages)))

    def _reserved(self, request: ModelRequest[Any]) -> int:
        """Count the tokens of the system prompt and the tool schemas, rounded up."""
        text = request.system_message.text if request.system_message else ""
        for tool in request.tools:
            text += json.dumps(tool) if isinstance(tool, dict) else f"{tool.name}{tool.description}{tool.args}"
        return -(-count_tokens(text, self._profile) // RESERVE_STEP) * RESERVE_STEP if text else 0

    def _thread(self, session: str, reserved: int) -> _Thread:
        with self._lock:
            key = (session, reserved)
            if key not in self._threads:
                budget = max(self._budget - reserved, 1)
                memory = OpticalMemory(
                    session,
                    store=self._store,
                    profile=self._profile,
                    budget=budget,
                    renderer=self._renderer,
                    **self._settings,
                )
                self._threads[key] = _Thread(memory)
            self._threads.move_to_end(key)
            while len(self._threads) > MAX_SESSIONS:
                self._threads.popitem(last=False)
            return self._threads[key]

    def _recall_tool(self) -> BaseTool:
        from optical_memory.recall import RecallTool
        from optical_memory.wording import RECALL_DESCRIPTION

        def recall(
            config: RunnableConfig,
            question: str | None = None,
            turn_id: str | None = None,
            page: str | None = None,
            line: int | None = None,
            offset: int = 0,
        ) -> str:
            session = str(config.get("configurable", {}).get("thread_id", ""))
            with self._lock:
                known = [thread for (name, _), thread in self._threads.items() if name == session]
            if not known:
                return "recall could not answer: this thread has no memory yet"
            tool = RecallTool(known[-1].memory.recall)
            asked = {"question": question, "turn_id": turn_id, "page": page, "line": line, "offset": offset}
            return tool({key: value for key, value in asked.items() if value is not None})

        return StructuredTool.from_function(recall, name="recall", description=RECALL_DESCRIPTION)


class _Thread:
    """One thread: its memory, and which of its messages the memory has already."""

    def __init__(self, memory: OpticalMemory) -> None:
        self.memory = memory
        self._lock = threading.Lock()
        self._seen: list[str] = []

    def messages(self, current: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Take in what is new among the thread's messages, and return what the model should see."""
        with self._lock:
            self._take_in(current)
            originals = {message.id: message for message in current if message.id}
            context = self.memory.context(draw=True).turns()
            return [shown for turn in context for shown in _shown(turn, originals)]

    def _take_in(self, current: Sequence[BaseMessage]) -> None:
        ids = [message.id or f"message-{place}" for place, message in enumerate(current)]
        if ids[: len(self._seen)] != self._seen:  # messages were removed or the thread was rewound: begin anew
            self.memory.forget(everything=True)
            self._seen = []
        new = list(zip(ids, current, strict=True))[len(self._seen) :]
        if not new:
            return
        try:
            self.memory.add_turns([_turn(turn_id, message) for turn_id, message in new])
        except DuplicateTurnError:  # a message was edited in place: the state is the truth
            self.memory.forget(everything=True)
            everything = zip(ids, current, strict=True)
            self.memory.add_turns([_turn(turn_id, message) for turn_id, message in everything])
        self._seen = ids


class OpticalChatMessageHistory(BaseChatMessageHistory):
    """A chat message history whose ``messages`` are the bounded context of one session.

    For ``RunnableWithMessageHistory`` and code that keeps histories itself. Arguments as for OpticalMemory.
    """

    def __init__(self, session_id: str, **settings: Any) -> None:
        self.memory = OpticalMemory(session_id, **settings)

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """What the model should see now: pages of the past, then the recent messages."""
        return [shown for turn in self.memory.context(draw=True).turns() for shown in _shown(turn, {})]

    async def aget_messages(self) -> list[BaseMessage]:
        """Return :attr:`messages` without blocking the loop."""
        return await asyncio.to_thread(lambda: self.messages)

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Store messages exactly; those that carry an id are stored once."""
        turns = [_turn(message.id, message) for message in messages]
        self.memory.add_turns(turns)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Store messages without blocking the loop."""
        await asyncio.to_thread(self.add_messages, messages)

    def clear(self) -> None:
        """Really delete the session."""
        self.memory.forget(everything=True)

    async def aclear(self) -> None:
        """Really delete the session without blocking the loop."""
        await asyncio.to_thread(self.clear)


def _session(request: ModelRequest[Any]) -> str:
    """Name the thread; a run without one is a session of its own, named by its first message."""
    thread = get_config().get("configurable", {}).get("thread_id")
    if thread:
        return str(thread)
    return f"run-{request.messages[0].id}" if request.messages else "run"


def _turn(turn_id: str | None, message: BaseMessage) -> Turn:
    converted = convert_to_openai_messages([message])
    (turn,) = to_turns(converted, "openai")
    return replace(turn, id=turn_id) if turn_id else turn


def _shown(turn: Turn, originals: dict[str, BaseMessage]) -> list[BaseMessage]:
    """Return the thread's own message where it is shown as it is, else the memory's."""
    original = originals.get(turn.id)
    if original is None:
        return convert_to_messages(from_turns([turn], "openai", repair=False))
    if turn.raw is None and isinstance(original, ToolMessage):  # a large result, replaced by a pointer
        return [original.model_copy(update={"content": turn.text})]
    return [original]
