"""LlamaIndex's messages as OpenAI's and back, each with the framework's own beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock, ToolCallBlock
from llama_index.core.workflow import WorkflowRuntimeError

from optical_memory.adapters import chat
from optical_memory.context.base import Context
from optical_memory.errors import OpticalMemoryError
from optical_memory.formats import get_format
from optical_memory.formats.repair import repaired
from optical_memory.turns import Part, Turn

WHOLE = "optical_memory.message"
"""Key under which the framework's own message travels with OpenAI's, so that it comes back exactly."""

MEDIA = {"audio": "audio", "video": "video", "document": "data"}
"""Kinds of blocks that hold a file, and the field with its bytes."""


class MemoryFailedError(WorkflowRuntimeError, OpticalMemoryError):
    """The memory failed; ``__cause__`` says how: StoreError, BudgetError."""


class LlamaShape:
    """Converts messages; each keeps the framework's own beside it."""

    format = "openai"

    def written(self, message: ChatMessage) -> Sequence[Mapping[str, Any]]:
        """Return a message in OpenAI's shape. Blocks of kinds that it does not have count as their JSON."""
        role = {"chatbot": "assistant", "model": "assistant", "function": "tool"}.get(message.role, message.role)
        calls = [
            chat.call(block.tool_call_id, block.tool_name, block.tool_kwargs)
            for block in message.blocks
            if isinstance(block, ToolCallBlock)
        ]
        said = [block for block in message.blocks if not isinstance(block, ToolCallBlock)]
        parts = [_block(block) for block in said if block.block_type != "cache"]
        more = message.additional_kwargs
        if role == "assistant" and not calls:
            calls = [json.loads(json.dumps(call, default=_dumped)) for call in more.get("tool_calls", ())]
        out = chat.message(str(getattr(role, "value", role)), parts, calls)
        if role == "tool":
            out["tool_call_id"] = str(more.get("tool_call_id") or "")
        return [out | {WHOLE: message.model_dump(mode="json")}]

    def shortened(self, message: ChatMessage, turn: Turn) -> ChatMessage:
        """Return a copy with another text."""
        return message.model_copy(update={"blocks": [TextBlock(text=turn.text)]})

    def made(self, turns: Sequence[Turn]) -> list[ChatMessage]:
        """Return turns as messages: the framework's own where the turn holds it."""
        return [self._made(turn) for turn in turns]

    def _made(self, turn: Turn) -> ChatMessage:
        if turn.raw is not None and WHOLE in turn.raw:
            return ChatMessage.model_validate(turn.raw[WHOLE])
        more = {"tool_call_id": turn.tool_call_id, "name": turn.name} if turn.role == "tool" else {}
        blocks: list[Any] = [_shown(part) for part in turn.content]
        calls = [ToolCallBlock(tool_call_id=c.id, tool_name=c.name, tool_kwargs=c.arguments) for c in turn.tool_calls]
        return ChatMessage(role=turn.role, blocks=[*blocks, *calls], additional_kwargs=more)


def sent_turns(context: Context) -> list[Turn]:
    """Return what is sent; a turn that is shown otherwise than it is does not hold the framework's message any more."""
    exact = {turn.seq: turn for turn in context.recent}
    out = []
    for turn in repaired(context.turns(), get_format(LlamaShape.format)):
        same = turn.is_instruction or exact.get(turn.seq) == turn
        out.append(turn if same else replace(turn, raw=None, raw_format=None))
    return out


def _dumped(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else str(value)


def _block(block: Any) -> dict[str, Any]:
    if isinstance(block, TextBlock):
        return chat.text(block.text)
    if isinstance(block, ImageBlock) and (url := _url(block)):
        return chat.image(url, block.detail)
    if block.block_type in MEDIA:
        data = getattr(block, MEDIA[block.block_type], None)
        inline = f"data:application/octet-stream;base64,{data.decode('ascii')}" if isinstance(data, bytes) else ""
        return chat.file(str(block.url or inline or block.path or ""), getattr(block, "title", None))
    return chat.told(block.block_type, block.model_dump(mode="json", exclude={"block_type"}, exclude_none=True))


def _url(block: ImageBlock) -> str:
    if block.url:
        return str(block.url)
    if not isinstance(block.image, bytes):
        return ""
    return f"data:{block.image_mimetype or 'image/png'};base64,{block.image.decode('ascii')}"


def _shown(part: Part) -> TextBlock | ImageBlock:
    if part.kind != "image":
        return TextBlock(text=part.text or part.label)
    image = chat.picture(part)
    if image is None:
        return ImageBlock(url=part.url, detail=chat.detail_of(part))
    return ImageBlock(image=image.base64.encode("ascii"), image_mimetype=image.media_type, detail=image.detail)
