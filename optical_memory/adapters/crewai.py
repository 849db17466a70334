"""CrewAI: hooks around each model call of an executor, in place, with a way to take them off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optical_memory.adapters import chat
from optical_memory.adapters.base import Bridge, OnFailure, PerThread, all_messages, schemas
from optical_memory.errors import MissingExtraError, OpticalMemoryError
from optical_memory.formats import from_turns
from optical_memory.memory import OpticalMemory
from optical_memory.turns import Turn

try:
    from crewai.hooks import (
        LLMCallHookContext,
        register_after_llm_call_hook,
        register_before_llm_call_hook,
        unregister_after_llm_call_hook,
        unregister_before_llm_call_hook,
    )
    from crewai.hooks.dispatch import HookAborted
    from crewai.tools import BaseTool
    from pydantic import BaseModel

    from optical_memory.adapters.recall_arguments import RecallArguments
except ImportError as missing:
    raise MissingExtraError("crewai", "crewai") from missing

__all__ = ["OpticalRegistration", "register_optical_memory"]
Message = dict[str, Any]
NameThread = Callable[[LLMCallHookContext], str]
"""From a call of a model to the name of its conversation."""
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


class ChatShape:
    """CrewAI's messages are OpenAI's; one with another role counts as a user's."""

    format = "openai"

    def written(self, message: Message) -> Sequence[Mapping[str, Any]]:
        """Return the message itself."""
        return [chat.known_role(message, ROLES)]

    def shortened(self, message: Message, turn: Turn) -> Message:
        """Return a copy with another text."""
        return message | {"content": turn.text}

    def made(self, turns: Sequence[Turn]) -> list[Message]:
        """Return turns as messages."""
        return from_turns(turns, self.format, repair=False)


class OpticalRegistration(PerThread[Message]):
    """The registered hooks; :meth:`unregister` takes them off."""

    def __init__(self, bridge: Bridge[Message], thread: NameThread) -> None:
        self._bridge, self._thread = bridge, thread
        self._calls: dict[int, tuple[list[Message], list[Message]]] = {}

    def before(self, context: LLMCallHookContext) -> None:
        """Put the bounded context into the executor's list, in place. Raises HookAborted where the memory fails."""
        if context.executor is None:  # a call of a model alone has no conversation
            return
        whole = self._whole(context)
        tools = [getattr(tool, "args_schema", None) for tool in getattr(context.executor, "original_tools", None) or ()]
        beside = schemas(tool.model_json_schema() for tool in tools if tool is not None)
        try:
            shown = self._bridge.shown(self._thread(context), whole, beside=beside)
        except OpticalMemoryError as error:
            raise HookAborted(reason=str(error)) from error
        context.messages[:] = shown
        self._calls[id(context.executor)] = (whole, shown)

    def after(self, context: LLMCallHookContext) -> None:
        """Give the executor its whole list back."""
        if context.executor is not None:
            context.messages[:] = self._whole(context)
            self._calls.pop(id(context.executor), None)

    def recall_tool(self, thread: str) -> BaseTool:
        """Return the recall tool of a thread, for an agent's tools."""
        bridge = self._bridge

        class RecallTool(BaseTool):
            name: str = bridge.recall_tool.name
            description: str = bridge.recall_tool.description
            args_schema: type[BaseModel] = RecallArguments

            def _run(self, **asked: Any) -> str:
                return bridge.recall(thread, asked)

        return RecallTool()

    def unregister(self) -> None:
        """Take the hooks off and release the store and the renderer."""
        unregister_before_llm_call_hook(self.before)
        unregister_after_llm_call_hook(self.after)
        self.close()

    def _whole(self, context: LLMCallHookContext) -> list[Message]:
        return all_messages(context.messages, self._calls.get(id(context.executor), ([], [])))


def register_optical_memory(
    memory: OpticalMemory | None = None,
    *,
    thread: NameThread | None = None,
    on_failure: OnFailure = "raise",
    **settings: Any,
) -> OpticalRegistration:
    """Register hooks, for all executors of this process, that show models an optical memory of their conversation.

    Args:
        memory: a ready memory for one thread, instead of ``settings``.
        thread: names the conversation of a call. Default: :func:`thread_of`, an agent at work on a task; the ids of
            both are new in each process, so a conversation that goes on after a restart needs names of your own.
        on_failure: "raise" a HookAborted, which reaches the caller, or "send everything" and log a warning.
        settings: as for :class:`OpticalMemory` (store, profile, budget, policy, renderer).

    """
    out = OpticalRegistration(Bridge(ChatShape(), memory, on_failure=on_failure, **settings), thread or thread_of)
    register_before_llm_call_hook(out.before)
    register_after_llm_call_hook(out.after)
    return out


def thread_of(context: LLMCallHookContext) -> str:
    """Name the conversation: an agent at work on a task."""
    names = (getattr(context.task, "id", None), getattr(context.agent, "id", None))
    return "/".join(str(name) for name in names if name) or "agent"
