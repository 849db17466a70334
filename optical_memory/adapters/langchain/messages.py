"""LangChain's messages as OpenAI's and back; threads, tools and what is sent beside the messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.exceptions import LangChainException
from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages, convert_to_openai_messages
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from optical_memory.adapters import chat
from optical_memory.adapters.base import Bridge, schemas
from optical_memory.errors import OpticalMemoryError
from optical_memory.formats import from_turns
from optical_memory.turns import Part, Turn

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
REASONING = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_content"})
"""Blocks of what a model thought, which providers do not charge again, and which leave with their message."""
BLOCKS = REASONING | {"text", "image_url", "input_audio", "file", "refusal"}
"""Blocks that are not told as text."""


class MemoryFailedError(LangChainException, OpticalMemoryError):
    """The memory failed; ``__cause__`` says how: StoreError, BudgetError."""


class LangChainShape:
    """Converts messages; what only LangChain knows of one (artifacts, metadata) stays with the message itself."""

    format = "openai"

    def written(self, message: BaseMessage) -> Sequence[Mapping[str, Any]]:
        """Return a message in OpenAI's shape. One of a kind that OpenAI does not have is a user's, with its text."""
        try:
            written = convert_to_openai_messages([message], include_id=True)
        except (ValueError, KeyError, TypeError, AttributeError):
            written = []
        if written and all(one.get("role") in ROLES for one in written):
            return [one | _counted(one.get("content")) for one in written]
        named = {"id": message.id} if message.id else {}
        return [{"role": "user", "content": f"[{message.type}] {message.text}", **named}]

    def shortened(self, message: BaseMessage, turn: Turn) -> BaseMessage:
        """Return a copy with another text."""
        return message.model_copy(update={"content": turn.text})

    def made(self, turns: Sequence[Turn]) -> list[BaseMessage]:
        """Return human messages for pages and records, and whatever the turns are for the rest."""
        out: list[BaseMessage] = []
        for turn in turns:
            if any(_resolution(part) for part in turn.parts):
                out.append(HumanMessage(content=[_block(part) for part in turn.parts]))
            else:
                out += convert_to_messages(from_turns([turn], self.format, repair=False))
        return out


def thread_of(config: RunnableConfig | Mapping[str, Any], messages: Sequence[BaseMessage] = ()) -> str:
    """Name the thread of a run. A run without one is a thread of its own, named by its first message.

    An agent that runs inside another's tool has the same ``thread_id``: it gets a thread of its own for each such run.
    """
    settings = config.get("configurable", {})
    thread = settings.get("thread_id")
    if not thread:
        return f"run-{messages[0].id}" if messages else "run"
    outer, _, _ = str(settings.get("checkpoint_ns") or "").rpartition("|")
    return f"{thread}/{outer}" if outer else str(thread)


def written_tools(tools: Sequence[Any]) -> str:
    """Return the schemas of tools, as the model gets them, as text."""
    return schemas(convert_to_openai_tool(tool) for tool in tools)


def recall_tool(bridge: Bridge[BaseMessage]) -> BaseTool:
    """Return the recall tool; it answers from the thread in which it is called."""
    offered = bridge.recall_tool

    def recall(config: RunnableConfig, **asked: Any) -> str:
        return bridge.recall(thread_of(config), asked)

    async def recall_async(config: RunnableConfig, **asked: Any) -> str:
        return await bridge.recall_async(thread_of(config), asked)

    return StructuredTool.from_function(
        recall,
        recall_async,
        name=offered.name,
        description=offered.description,
        args_schema=offered.parameters,
        infer_schema=False,
    )


def _counted(content: Any) -> dict[str, Any]:
    """Return a content whose blocks of kinds that OpenAI does not have are texts."""
    if not isinstance(content, list):
        return {}
    return {
        "content": [
            chat.told(str(block.get("type")), {key: value for key, value in block.items() if key != "type"})
            if isinstance(block, dict) and block.get("type") not in BLOCKS
            else block
            for block in content
        ]
    }


def _resolution(part: Part) -> str | None:
    detail = chat.detail_of(part)
    return detail if detail and detail.startswith("media_resolution_") else None


def _block(part: Part) -> dict[str, Any]:
    """Return a part in LangChain's own shape, which alone carries Gemini's setting for an image."""
    image = chat.picture(part)
    if image is None:
        return chat.text(part.text or part.label)
    detail = _resolution(part)
    block = {"type": "image", "mime_type": image.media_type, "base64": image.base64}
    return block | ({"media_resolution": detail} if detail else {})
