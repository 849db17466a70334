"""Pydantic AI: a capability that shows the model the bounded context, and never rewrites the run's history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optical_memory.adapters import chat
from optical_memory.adapters.base import Bridge, OnFailure, PerThread, schemas
from optical_memory.errors import MissingExtraError, OpticalMemoryError
from optical_memory.memory import OpticalMemory
from optical_memory.turns import Part, Turn

try:
    from pydantic_ai import BinaryContent, ImageUrl, RunContext, Tool
    from pydantic_ai.capabilities import AbstractCapability
    from pydantic_ai.exceptions import AgentRunError
    from pydantic_ai.messages import (
        ModelMessage,
        ModelRequest,
        ModelResponse,
        SystemPromptPart,
        TextPart,
        ThinkingPart,
        ToolCallPart,
        ToolReturnPart,
        UserPromptPart,
    )
    from pydantic_ai.models import ModelRequestContext
    from pydantic_ai.toolsets import FunctionToolset
except ImportError as missing:
    raise MissingExtraError("pydantic-ai-slim", "pydantic-ai") from missing

if not hasattr(AbstractCapability, "prepare_model_request"):  # an older one would never call the hook
    raise MissingExtraError("pydantic-ai-slim>=2.64", "pydantic-ai")

__all__ = ["MemoryFailedError", "OpticalMemoryCapability"]


class MemoryFailedError(AgentRunError, OpticalMemoryError):
    """The memory failed; ``__cause__`` says how: StoreError, BudgetError."""


class PydanticShape:
    """Converts requests, which hold several turns, and responses; what has no shape at OpenAI counts as its text."""

    format = "openai"

    def written(self, message: ModelMessage) -> Sequence[Mapping[str, Any]]:
        """Return a request's parts each as a message, a response as one."""
        return [_response(message)] if isinstance(message, ModelResponse) else list(_request(message))

    def shortened(self, message: ModelMessage, turn: Turn) -> ModelMessage:
        """Return a copy with another text in its one part that says something."""
        if isinstance(message, ModelResponse):
            return replace(message, parts=[TextPart(turn.text)])
        return replace(message, parts=[_result(turn)])

    def made(self, turns: Sequence[Turn]) -> list[ModelMessage]:
        """Return neighbours of one side as one message."""
        out: list[ModelMessage] = []
        for turn in turns:
            if turn.role == "assistant":
                said = [TextPart(turn.text)] if turn.text else []
                calls = [ToolCallPart(call.name, call.arguments, call.id) for call in turn.tool_calls]
                out.append(ModelResponse(parts=[*said, *calls]))
            elif out and isinstance(out[-1], ModelRequest):
                out[-1] = replace(out[-1], parts=[*out[-1].parts, _part(turn)])
            else:
                out.append(ModelRequest(parts=[_part(turn)]))
        return out


class OpticalMemoryCapability(PerThread[ModelMessage], AbstractCapability[Any]):
    """Shows the model an optical memory of the conversation instead of its whole history.

    ``Agent(model, capabilities=[OpticalMemoryCapability(store="sqlite:///memory.db")])``. Each ``conversation_id`` is
    a session of its own. The model also gets the ``recall`` tool.

    Args:
        memory: a ready memory for one conversation, instead of ``settings``.
        recall: whether the model gets the recall tool.
        on_failure: "raise" MemoryFailedError, or "send everything" and log a warning.
        settings: as for :class:`OpticalMemory` (store, profile, budget, policy, renderer). The budget holds for all
            that is sent: instructions, schemas of tools and outputs, messages.

    """

    def __init__(
        self,
        memory: OpticalMemory | None = None,
        *,
        recall: bool = True,
        on_failure: OnFailure = "raise",
        **settings: Any,
    ) -> None:
        self._bridge = Bridge(PydanticShape(), memory, on_failure=on_failure, error=MemoryFailedError, **settings)
        self._recall = recall

    async def prepare_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Put the bounded context in place of the messages of this attempt. Raises MemoryFailedError."""
        messages, beside = request_context.messages, _beside(request_context)
        shown = await self._bridge.shown_async(_thread(ctx), messages, beside=beside)
        return replace(request_context, messages=shown)

    def get_toolset(self) -> FunctionToolset[Any] | None:
        """Return the recall tool."""
        if not self._recall:
            return None
        offered = self._bridge.recall_tool

        async def recall(ctx: RunContext[Any], **asked: Any) -> str:
            return await self._bridge.recall_async(_thread(ctx), asked)

        tool = Tool[Any].from_schema(recall, offered.name, offered.description, offered.parameters, takes_ctx=True)
        return FunctionToolset([tool])


def _thread(ctx: RunContext[Any]) -> str:
    return ctx.conversation_id or ctx.run_id or "run"


def _beside(request: ModelRequestContext) -> str:
    """Return what is sent beside the messages, as text."""
    asked = request.model_request_parameters
    said = [part.content for part in asked.instruction_parts or ()]
    tools = [
        {"name": tool.name, "description": tool.description, "parameters": tool.parameters_json_schema}
        for tool in (*asked.function_tools, *asked.output_tools)
    ]
    return "\n".join([*said, schemas(tools)])


def _request(message: ModelRequest) -> Iterator[dict[str, Any]]:
    for part in message.parts:
        name, call_id = getattr(part, "tool_name", None), getattr(part, "tool_call_id", None)
        if isinstance(part, SystemPromptPart):
            yield {"role": "system", "content": part.content}
        elif isinstance(part, UserPromptPart):
            yield {"role": "user", "content": _content(part.content)}
        elif isinstance(part, ToolReturnPart):
            result = {"role": "tool", "tool_call_id": call_id, "name": name}
            yield result | {"content": _returned(part)}
        elif hasattr(part, "model_response"):  # the model is asked to try again
            role = {"role": "tool", "tool_call_id": call_id, "name": name} if name else {"role": "user"}
            yield role | {"content": part.model_response()}
        else:
            yield chat.message("user", [_told(part)])


def _returned(part: ToolReturnPart) -> str | list[dict[str, Any]]:
    files = [one for one in map(_file, part.files) if one]
    text = part.model_response_str()
    return [chat.text(text), *files] if files else text


def _response(message: ModelResponse) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, TextPart):
            parts.append(chat.text(part.content))
        elif isinstance(part, ThinkingPart):
            parts.append({"type": "thinking", "thinking": part.content})
        elif isinstance(part, ToolCallPart):
            calls.append(chat.call(part.tool_call_id, part.tool_name, part.args_as_json_str()))
        else:
            parts.append(_told(part))
    return chat.message("assistant", parts, calls, between="")


def _told(part: Any) -> dict[str, Any]:
    """Return a part of a kind that only the framework has, as it is sent: tools of the provider, files, summaries."""
    if (file := getattr(part, "content", None)) is not None and hasattr(file, "data_uri"):
        return _file(file)
    return chat.told(part.part_kind, getattr(part, "content", None) or getattr(part, "args", ""))


def _content(content: Any) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    parts = [chat.text(one) if isinstance(one, str) else _file(one) for one in content]
    return [part for part in parts if part]


def _file(one: Any) -> dict[str, Any]:
    """Return a file of a user's as a part; a cache mark as nothing."""
    detail = (getattr(one, "vendor_metadata", None) or {}).get("detail")
    url = getattr(one, "url", "") or getattr(one, "data_uri", "")
    if isinstance(one, ImageUrl) or getattr(one, "is_image", False):
        return chat.image(url, detail)
    if url:
        return chat.file(url)
    kind = str(getattr(one, "kind", type(one).__name__))
    if kind == "cache-point":
        return {}
    said = getattr(one, "content", None) or getattr(one, "file_id", "")
    return chat.text(str(said)) if kind in ("text", "text-content") else chat.told(kind, said)


def _part(turn: Turn) -> Any:
    if turn.role == "tool":
        return _result(turn)
    if turn.is_instruction:
        return SystemPromptPart(turn.text)
    return UserPromptPart([_shown(part) for part in turn.parts] if turn.parts else turn.text)


def _result(turn: Turn) -> ToolReturnPart:
    return ToolReturnPart(turn.name or "tool", turn.text, turn.tool_call_id or "")


def _shown(part: Part) -> str | BinaryContent | ImageUrl:
    """Return a part with its image's setting, as OpenAI's or Google's models of the framework take it."""
    if part.kind != "image":
        return part.text or part.label
    detail = chat.detail_of(part)
    key = "media_resolution" if str(detail).startswith("media_resolution") else "detail"
    value = {"level": str(detail).upper()} if key == "media_resolution" else detail
    hints = {key: value} if detail else None
    if chat.picture(part) is None:
        return ImageUrl(part.url, vendor_metadata=hints)
    binary = BinaryContent.from_data_uri(part.url)
    return replace(binary, vendor_metadata=hints)
