"""Microsoft Agent Framework: a context provider that bounds what each call of the chat client is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from optical_memory.adapters import chat
from optical_memory.adapters.base import Bridge, OnFailure, PerThread, schemas
from optical_memory.errors import MissingExtraError, OpticalMemoryError
from optical_memory.memory import OpticalMemory
from optical_memory.turns import Part, Turn

try:
    from agent_framework import ChatContext, ChatMiddleware, Content, ContextProvider, FunctionTool, Message
    from agent_framework.exceptions import MiddlewareException
except ImportError as missing:
    raise MissingExtraError("agent-framework-core", "agent-framework") from missing

__all__ = ["MemoryFailedError", "OpticalContextProvider"]


class MemoryFailedError(MiddlewareException, OpticalMemoryError):
    """The memory failed; ``__cause__`` says how: StoreError, BudgetError."""


class MessageShape:
    """Converts messages; each function result is a turn of its own, what has no shape at OpenAI counts as its JSON."""

    format = "openai"

    def written(self, message: Message) -> Sequence[Mapping[str, Any]]:
        """Return the results of a message each as one, and what else it says as one."""
        return list(_written(message))

    def shortened(self, message: Message, turn: Turn) -> Message:
        """Return a copy with another text."""
        made = _made(turn)
        made.message_id, made.author_name = message.message_id, message.author_name
        return made

    def made(self, turns: Sequence[Turn]) -> list[Message]:
        """Return turns as messages."""
        return [_made(turn) for turn in turns]


class OpticalContextProvider(PerThread[Message], ContextProvider):
    """Shows the model an optical memory of the session instead of its whole history.

    ``Agent(client=client, context_providers=[OpticalContextProvider(store="sqlite:///memory.db")])``. Each session's id
    is a session of the memory. The model also gets the ``recall`` tool.

    Args:
        memory: a ready memory for one session, instead of ``settings``.
        recall: whether the model gets the recall tool.
        on_failure: "raise" MemoryFailedError, or "send everything" and log a warning.
        settings: as for :class:`OpticalMemory` (store, profile, budget, policy, renderer). The budget holds for all
            that is sent: instructions, tool schemas, messages.

    """

    def __init__(
        self,
        memory: OpticalMemory | None = None,
        *,
        recall: bool = True,
        on_failure: OnFailure = "raise",
        source_id: str = "optical_memory",
        **settings: Any,
    ) -> None:
        super().__init__(source_id)
        self._bridge = Bridge(MessageShape(), memory, on_failure=on_failure, error=MemoryFailedError, **settings)
        self._recall = recall

    async def before_run(self, *, agent: Any, session: Any, context: Any, state: dict[str, Any]) -> None:
        """Put the memory before each call of the chat client, and offer the recall tool."""
        thread = str(session.session_id)
        context.extend_middleware(self.source_id, _Bounded(self._bridge, thread))
        if self._recall:
            context.extend_tools(self.source_id, [self.recall_tool(thread)])

    def recall_tool(self, session_id: str) -> FunctionTool:
        """Return the recall tool of a session."""
        offered = self._bridge.recall_tool

        async def recall(**asked: Any) -> str:
            return await self._bridge.recall_async(session_id, asked)

        return FunctionTool(
            name=offered.name, description=offered.description, func=recall, input_model=offered.parameters
        )


class _Bounded(ChatMiddleware):
    """Puts the bounded context in place of the messages of one call. Raises MemoryFailedError."""

    def __init__(self, bridge: Bridge[Message], thread: str) -> None:
        self._bridge, self._thread = bridge, thread

    async def process(self, context: ChatContext, call_next: Callable[[], Awaitable[None]]) -> None:
        options = context.options or {}
        tools = [_schema(tool) for tool in options.get("tools") or ()]
        beside = "\n".join([str(options.get("instructions") or ""), schemas(tools)])
        context.messages = await self._bridge.shown_async(self._thread, context.messages, beside=beside)
        await call_next()


def _schema(tool: Any) -> Any:
    return tool.to_json_schema_spec() if isinstance(tool, FunctionTool) else tool


def _written(message: Message) -> Iterator[dict[str, Any]]:
    rest: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    named = {"id": message.message_id} if message.message_id else {}
    results = 0
    for content in message.contents:
        if content.type == "function_result":
            results += 1
            yield {"role": "tool", "tool_call_id": str(content.call_id), "content": str(content.result or "")}
        elif content.type == "function_call":
            calls.append(chat.call(content.call_id, str(content.name), content.arguments))
        else:
            rest.append(_part(content))
    if rest or calls or not results:
        role = message.role if message.role in ("system", "developer", "user", "assistant") else "user"
        yield chat.message(role, rest, calls) | named


def _part(content: Content) -> dict[str, Any]:
    if content.type == "text":
        return chat.text(content.text or "")
    if content.type in ("data", "uri"):
        if str(content.media_type or "").startswith("image/"):
            return chat.image(str(content.uri), (content.additional_properties or {}).get("detail"))
        return chat.file(str(content.uri))
    return chat.told(content.type, content.to_dict(exclude={"type", "raw_representation", "protected_data"}))


def _made(turn: Turn) -> Message:
    if turn.role == "tool":
        return Message("tool", [Content.from_function_result(turn.tool_call_id or "", result=turn.text)])
    calls = [Content.from_function_call(call.id, call.name, arguments=call.arguments) for call in turn.tool_calls]
    said = [_shown(part) for part in turn.content]
    return Message("system" if turn.is_instruction else turn.role, [*said, *calls])


def _shown(part: Part) -> Content:
    image = chat.picture(part)
    if image is None:
        return Content.from_text(part.text or part.url or part.label)
    more = {"detail": image.detail} if image.detail else None
    return Content.from_uri(part.url, media_type=image.media_type, additional_properties=more)
