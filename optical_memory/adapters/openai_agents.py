"""OpenAI Agents SDK: a session that keeps every item exactly, and a filter that sends the bounded context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from optical_memory.adapters.base import Bridge, OnFailure, schemas
from optical_memory.adapters.kept import KeptList
from optical_memory.asynchronous import on_worker
from optical_memory.errors import MissingExtraError, OpticalMemoryError
from optical_memory.formats import from_turns
from optical_memory.formats.checked import copied
from optical_memory.memory import OpticalMemory
from optical_memory.turns import Turn

try:
    from agents import AgentsException, FunctionTool, Handoff, RunConfig, RunContextWrapper
    from agents.run import CallModelData, ModelInputData
except ImportError as missing:
    raise MissingExtraError("openai-agents", "openai-agents") from missing

if TYPE_CHECKING:
    from agents import TResponseInputItem
    from agents.memory import SessionSettings
    from agents.tool_context import ToolContext

__all__ = ["MemoryFailedError", "OpticalSession"]
NO_ID = "__fake_id__"
"""What the SDK writes for the id of every item of a provider that gives none."""
KEPT = "optical_memory.id"
"""Key under which NO_ID is kept: it names no item, and the SDK wants it back."""


class MemoryFailedError(AgentsException, OpticalMemoryError):
    """The memory failed; ``__cause__`` says how: StoreError, BudgetError."""


class ItemShape:
    """Items are Responses items already; ids that are none are left out."""

    format = "responses"

    def written(self, message: TResponseInputItem) -> Sequence[Mapping[str, Any]]:
        """Return an item as JSON."""
        item: dict[str, Any] = copied(message)
        if item.get("id") == NO_ID:
            item[KEPT] = item.pop("id")
        return [item]

    def shortened(self, message: TResponseInputItem, turn: Turn) -> TResponseInputItem:
        """Return a copy of a result with another output, or of an answer with another text."""
        item = dict(cast(Mapping[str, Any], message))
        if turn.role == "tool":
            return cast("TResponseInputItem", item | {"output": turn.text})
        return cast("TResponseInputItem", {"role": "assistant", "content": turn.text})

    def made(self, turns: Sequence[Turn]) -> list[TResponseInputItem]:
        """Return pages and records as items of the user."""
        return [self.read(item) for item in from_turns(turns, self.format, repair=False)]

    def read(self, item: Mapping[str, Any]) -> TResponseInputItem:
        """Return an item as it came from :meth:`written`."""
        kept = {"id" if key == KEPT else key: value for key, value in item.items()}
        return cast("TResponseInputItem", kept)


class OpticalSession:
    """A session that keeps all items exactly, and shows the model their bounded context.

    ``await Runner.run(agent, "…", session=session, run_config=session.run_config())``.

    Args:
        session_id: id of the conversation.
        memory: a ready memory, instead of a new one of that session.
        on_failure: "raise" MemoryFailedError, or "send everything" and log a warning.
        settings: as for :class:`OpticalMemory` (store, profile, budget, policy, renderer). The budget holds for all
            that is sent: instructions, tool schemas, handoffs and items.

    """

    session_settings: SessionSettings | None = None

    def __init__(
        self,
        session_id: str = "main",
        *,
        memory: OpticalMemory | None = None,
        on_failure: OnFailure = "raise",
        **settings: Any,
    ) -> None:
        self.session_id = session_id if memory is None else memory.session
        self.memory = OpticalMemory(session_id, **settings) if memory is None else memory
        self._owns = memory is None
        self._shape = ItemShape()
        self._bridge: Bridge[TResponseInputItem] = Bridge(
            self._shape, self.memory, on_failure=on_failure, error=MemoryFailedError
        )
        self._kept = KeptList(self.memory, self._shape, self._read, self._bridge.failures)

    # -- the SDK's Session ---------------------------------------------------------------------------------------

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the newest ``limit`` items, exactly as they were saved, oldest first; None: all."""
        items = await on_worker(self._kept.all)
        return items if limit is None else items[max(len(items) - limit, 0) :]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Save items; when this returns they are durable."""
        await on_worker(lambda: self._kept.add(items))

    async def pop_item(self) -> TResponseInputItem | None:
        """Take the newest item out of the conversation and return it; it stays stored as superseded."""
        items = await self.get_items()
        if items:
            await on_worker(lambda: self._kept.replace(items[:-1]))
        return items[-1] if items else None

    async def clear_session(self) -> None:
        """Really delete the conversation, pages and pixels included."""
        await on_worker(self._kept.clear)

    # -- what the model sees -------------------------------------------------------------------------------------

    def run_config(self, **settings: Any) -> RunConfig:
        """Return a RunConfig with :meth:`call_model_input_filter`; ``settings`` are further fields of it."""
        return RunConfig(call_model_input_filter=self.call_model_input_filter, **settings)

    async def call_model_input_filter(self, data: CallModelData[Any]) -> ModelInputData:
        """Return the bounded context instead of the whole input. Raises MemoryFailedError."""
        given = data.model_data.input
        beside = "\n".join([data.model_data.instructions or "", *await _schemas(data)])
        await on_worker(self._kept.leave)  # what is followed now has items that are not saved yet
        shown = await self._bridge.shown_async(self.session_id, given, beside=beside)
        return ModelInputData(input=_reasoning_whole(shown, given), instructions=data.model_data.instructions)

    @property
    def recall_tool(self) -> FunctionTool:
        """The recall tool, for ``Agent(tools=[…])``."""
        offered = self._bridge.recall_tool

        async def recall(context: ToolContext[Any], arguments: str) -> str:
            return await self._bridge.recall_async(self.session_id, arguments)

        return FunctionTool(
            name=offered.name,
            description=offered.description,
            params_json_schema=offered.parameters,
            on_invoke_tool=recall,
            strict_json_schema=False,
        )

    def close(self) -> None:
        """Release the memory, where it was opened here."""
        if self._owns:
            self.memory.close()

    def _read(self, turns: Sequence[Turn]) -> list[TResponseInputItem]:
        return [self._shape.read(copied(turn.raw)) for turn in turns]


async def _schemas(data: CallModelData[Any]) -> list[str]:
    """Return the schemas of what the agent may call, and of its answer, as text."""
    agent = data.agent
    tools = await agent.get_all_tools(RunContextWrapper(data.context)) if agent.mcp_servers else agent.tools
    offered = [
        {"name": tool.name, "description": getattr(tool, "description", ""), "parameters": _parameters(tool)}
        for tool in tools
    ]
    for handoff in agent.handoffs:
        if isinstance(handoff, Handoff):
            described = {"name": handoff.tool_name, "description": handoff.tool_description}
            offered.append(described | {"parameters": handoff.input_json_schema})
        else:
            offered.append({"name": f"transfer_to_{handoff.name}", "description": handoff.handoff_description or ""})
    answer = agent.output_type
    if isinstance(answer, type) and hasattr(answer, "model_json_schema"):
        offered.append(answer.model_json_schema())
    return [schemas(offered)]


def _parameters(tool: Any) -> Any:
    return getattr(tool, "params_json_schema", {})


def _reasoning_whole(shown: list[TResponseInputItem], given: list[TResponseInputItem]) -> list[TResponseInputItem]:
    """Keep each reasoning item together with the item that it led to.

    The API refuses a reasoning item without the item after it, and an item with an id that was made with a reasoning
    item without it. So where only one of them is still shown, reasoning goes, and the other goes without its id.
    """
    places = {id(item): place for place, item in enumerate(given)}
    kept = {id(item) for item in shown}
    out: list[TResponseInputItem] = []
    for item in shown:
        place = places.get(id(item))
        if place is None:
            out.append(item)
        elif _is_reasoning(item):
            after = next((one for one in given[place + 1 :] if not _is_reasoning(one)), None)
            if after is not None and id(after) in kept:
                out.append(item)
        elif place and _is_reasoning(given[place - 1]) and id(given[place - 1]) not in kept:
            bare = {key: value for key, value in cast(Mapping[str, Any], item).items() if key != "id"}
            out.append(cast("TResponseInputItem", bare))
        else:
            out.append(item)
    return out


def _is_reasoning(item: TResponseInputItem) -> bool:
    return item.get("type") == "reasoning"
