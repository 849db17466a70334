"""Haystack: hooks of the Agent that show its model the bounded context, and give the conversation back whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from optical_memory.adapters import chat
from optical_memory.adapters.base import Bridge, OnFailure, PerThread, all_messages, schemas
from optical_memory.asynchronous import on_worker
from optical_memory.errors import MissingExtraError, OpticalMemoryError
from optical_memory.memory import OpticalMemory
from optical_memory.turns import Part, Turn

try:
    from haystack.components.agents.state import State
    from haystack.components.agents.state.state_utils import replace_values
    from haystack.core.errors import PipelineRuntimeError
    from haystack.core.serialization import default_from_dict, default_to_dict
    from haystack.dataclasses import ChatMessage, ImageContent, TextContent, ToolCall
    from haystack.tools.tool import Tool
except ImportError as missing:
    raise MissingExtraError("haystack-ai", "haystack") from missing

__all__ = ["MemoryFailedError", "OpticalMemoryHook"]


class MemoryFailedError(PipelineRuntimeError, OpticalMemoryError):
    """The memory failed; ``__cause__`` says how: StoreError, BudgetError."""

    def __init__(self, message: str) -> None:
        super().__init__("optical_memory", OpticalMemoryHook, message)


class HaystackShape:
    """Converts by Haystack's own way to OpenAI's format."""

    format = "openai"

    def written(self, message: ChatMessage) -> Sequence[Mapping[str, Any]]:
        """Return a message in OpenAI's shape; what has none there counts as its JSON."""
        try:
            written = message.to_openai_dict_format(require_tool_call_ids=False)
        except (ValueError, TypeError):
            return [{"role": "user", "content": chat.told("message", message.to_dict())["text"]}]
        reasons = [chat.told("reasoning", one.reasoning_text)["text"] for one in message.reasonings]
        return [written | ({"content": "\n".join([*reasons, message.text or ""])} if reasons else {})]

    def shortened(self, message: ChatMessage, turn: Turn) -> ChatMessage:
        """Return a copy with another text."""
        result = message.tool_call_result
        if result is not None:
            return ChatMessage.from_tool(turn.text, result.origin, error=result.error, meta=message.meta)
        return ChatMessage.from_assistant(turn.text, meta=message.meta)

    def made(self, turns: Sequence[Turn]) -> list[ChatMessage]:
        """Return turns as messages."""
        return [_made(turn) for turn in turns]


class OpticalMemoryHook(PerThread[ChatMessage]):
    """Shows the Agent's model an optical memory of the conversation; the run's result holds all messages.

    ``Agent(chat_generator, tools=[hook.recall_tool()], hooks=hook.hooks())``.

    Args:
        memory: a ready memory for one conversation, instead of ``settings``.
        thread: id of the conversation where the agent's state does not name one.
        key: the key of the agent's state that names the conversation.
        on_failure: "raise" MemoryFailedError, or "send everything" and log a warning.
        settings: as for :class:`OpticalMemory` (store, profile, budget, policy, renderer). The budget holds for all
            that is sent: system prompt, tool schemas, messages.

    """

    def __init__(
        self,
        memory: OpticalMemory | None = None,
        *,
        thread: str = "main",
        key: str = "conversation_id",
        on_failure: OnFailure = "raise",
        **settings: Any,
    ) -> None:
        self._bridge = Bridge(HaystackShape(), memory, on_failure=on_failure, error=MemoryFailedError, **settings)
        self._thread, self._key, self._ready = thread, key, memory is not None
        self._given = {"thread": thread, "key": key, "on_failure": on_failure, **settings}
        self._runs: WeakKeyDictionary[State, tuple[list[ChatMessage], list[ChatMessage]]] = WeakKeyDictionary()

    def hooks(self) -> dict[Any, list[Any]]:
        """Return the Agent's ``hooks``: this one before each model call, and one that gives the messages back whole."""
        return {"before_llm": [self], "after_run": [_Whole(self)]}

    def run(self, state: State) -> None:
        """Put the bounded context into the state for the next model call. Raises MemoryFailedError."""
        whole = self.whole(state)
        self._put(state, whole, self._bridge.shown(self._named(state), whole, beside=_beside(state)))

    async def run_async(self, state: State) -> None:
        """Do :meth:`run` without holding the event loop."""
        whole = self.whole(state)
        self._put(state, whole, await self._bridge.shown_async(self._named(state), whole, beside=_beside(state)))

    def whole(self, state: State) -> list[ChatMessage]:
        """Return all messages of a run: those before the last model call as they were, and what came since."""
        return all_messages(state.data["messages"], self._runs.get(state, ([], [])))

    def restore(self, state: State) -> None:
        """Put all messages of the run into the state."""
        whole = self.whole(state)
        self._runs.pop(state, None)
        state.set("messages", whole, handler_override=replace_values)

    def recall_tool(self, thread: str | None = None) -> Tool:
        """Return the recall tool for a conversation (default: the hook's own)."""
        offered, named = self._bridge.recall_tool, thread or self._thread

        def recall(**asked: Any) -> str:
            return self._bridge.recall(named, asked)

        async def recall_async(**asked: Any) -> str:
            return await on_worker(lambda: recall(**asked))

        return Tool(offered.name, offered.description, offered.parameters, recall, async_function=recall_async)

    def to_dict(self) -> dict[str, Any]:
        """Return the hook's settings; they must be plain data."""
        return default_to_dict(self, **self._given)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> OpticalMemoryHook:
        """Make the hook anew from :meth:`to_dict`."""
        made: OpticalMemoryHook = default_from_dict(cls, data)
        return made

    def _named(self, state: State) -> str:
        return str(state.data.get(self._key) or self._thread)

    def _put(self, state: State, whole: list[ChatMessage], shown: list[ChatMessage]) -> None:
        state.set("messages", shown, handler_override=replace_values)
        self._runs[state] = (whole, list(state.data["messages"]))


class _Whole:
    """Gives the messages back at the end of a run."""

    def __init__(self, hook: OpticalMemoryHook) -> None:
        self._hook = hook

    def run(self, state: State) -> None:
        self._hook.restore(state)

    def to_dict(self) -> dict[str, Any]:
        return default_to_dict(self, hook=self._hook.to_dict())

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> _Whole:
        return cls(OpticalMemoryHook.from_dict(data["init_parameters"]["hook"]))


def _beside(state: State) -> str:
    return schemas(tool.tool_spec for tool in state.data.get("tools") or ())


def _made(turn: Turn) -> ChatMessage:
    calls = [ToolCall(c.name, _object(c.arguments), c.id) for c in turn.tool_calls]
    if turn.role == "tool":
        return ChatMessage.from_tool(turn.text, ToolCall(turn.name or "tool", {}, turn.tool_call_id))
    if turn.role == "assistant":
        return ChatMessage.from_assistant(turn.text or None, tool_calls=calls)
    if turn.is_instruction:
        return ChatMessage.from_system(turn.text)
    return ChatMessage.from_user(content_parts=[_shown(part) for part in turn.content] or [TextContent(turn.text)])


def _object(arguments: str) -> dict[str, Any]:
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        return {"arguments": arguments}
    return value if isinstance(value, dict) else {"arguments": arguments}


def _shown(part: Part) -> TextContent | ImageContent:
    image = chat.picture(part)
    if image is None:
        return TextContent(part.text or part.url or part.label)
    known: Any = image.detail if image.detail in ("auto", "high", "low") else None
    return ImageContent(image.base64, mime_type=image.media_type, detail=known, validation=False)
