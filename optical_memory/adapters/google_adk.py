"""Google ADK: a plugin that puts the bounded context in place of a request's contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optical_memory.adapters.base import Bridge, OnFailure, schemas
from optical_memory.errors import MissingExtraError
from optical_memory.formats import from_turns
from optical_memory.memory import OpticalMemory
from optical_memory.turns import Turn

try:
    from google.adk.agents.callback_context import CallbackContext
    from google.adk.agents.readonly_context import ReadonlyContext
    from google.adk.models import LlmRequest, LlmResponse
    from google.adk.plugins.base_plugin import BasePlugin
    from google.adk.tools import BaseTool, ToolContext
    from google.genai import types
except ImportError as missing:
    raise MissingExtraError("google-adk", "google-adk") from missing

__all__ = ["OpticalMemoryPlugin"]


class ContentShape:
    """Contents are Gemini's; each function response is a turn of its own."""

    format = "gemini"

    def written(self, message: types.Content) -> Sequence[Mapping[str, Any]]:
        """Return a content as JSON."""
        written: dict[str, Any] = message.model_dump(mode="json", by_alias=True, exclude_none=True)
        return [written]

    def shortened(self, message: types.Content, turn: Turn) -> types.Content:
        """Return a content that says ``turn.text`` in its place."""
        return self.made([turn])[0]

    def made(self, turns: Sequence[Turn]) -> list[types.Content]:
        """Return pages and records as contents of the user."""
        return [types.Content.model_validate(one) for one in from_turns(turns, self.format, repair=False)]


class OpticalMemoryPlugin(BasePlugin):
    """Shows every model of a runner an optical memory of its conversation instead of the whole history.

    ``App(name="…", root_agent=agent, plugins=[OpticalMemoryPlugin(store="sqlite:///memory.db")])``. Each agent of each
    session has a memory of its own, because ADK shows each agent another history. Models also get the ``recall`` tool.

    Args:
        memory: a ready memory for one agent in one session, instead of ``settings``.
        recall: whether models get the recall tool.
        on_failure: "raise" the memory's error (ADK wraps it in a RuntimeError), or "send everything" and log a warning.
        settings: as for :class:`OpticalMemory` (store, profile, budget, policy, renderer). The budget holds for all
            that is sent: system instruction, tool declarations, contents.

    """

    def __init__(
        self,
        memory: OpticalMemory | None = None,
        *,
        recall: bool = True,
        on_failure: OnFailure = "raise",
        name: str = "optical_memory",
        **settings: Any,
    ) -> None:
        super().__init__(name=name)
        self._bridge: Bridge[types.Content] = Bridge(ContentShape(), memory, on_failure=on_failure, **settings)
        self._tool = _Recall(self._bridge) if recall else None

    async def before_model_callback(
        self, *, callback_context: CallbackContext, llm_request: LlmRequest
    ) -> LlmResponse | None:
        """Put the bounded context into the request; the session's events stay as they are."""
        if self._tool is not None and self._tool.name not in llm_request.tools_dict:
            llm_request.append_tools([self._tool])
        thread = thread_of(callback_context)
        beside = _beside(llm_request.config)
        llm_request.contents = await self._bridge.shown_async(thread, llm_request.contents, beside=beside)
        return None

    def memory(self, thread: str) -> OpticalMemory:
        """Return the memory of a thread: "app/user/session/agent"."""
        return self._bridge.memory(thread)

    async def close(self) -> None:
        """Release the store and the renderer; the runner calls it."""
        self._bridge.close()


class _Recall(BaseTool):
    def __init__(self, bridge: Bridge[types.Content]) -> None:
        offered = bridge.recall_tool
        super().__init__(name=offered.name, description=offered.description)
        self._bridge = bridge

    def _get_declaration(self) -> types.FunctionDeclaration:
        schema = self._bridge.recall_tool.parameters
        return types.FunctionDeclaration(name=self.name, description=self.description, parameters_json_schema=schema)

    async def run_async(self, *, args: dict[str, Any], tool_context: ToolContext) -> dict[str, str]:
        return {"result": await self._bridge.recall_async(thread_of(tool_context), args)}


def thread_of(context: ReadonlyContext) -> str:
    """Name the conversation of an agent."""
    session = context.session
    return f"{session.app_name}/{session.user_id}/{session.id}/{context.agent_name}"


def _beside(config: types.GenerateContentConfig) -> str:
    """Return what is sent beside the contents, as text."""
    said = config.system_instruction
    declared = [tool for tool in config.tools or () if isinstance(tool, types.Tool)]
    tools = [tool.model_dump(mode="json", exclude_none=True) for tool in declared]
    text = said if isinstance(said, str) else schemas([said]) if said else ""
    answer = [config.response_schema or config.response_json_schema]
    return "\n".join([text, schemas(tools), schemas(one for one in answer if one)])
