"""LlamaIndex: a memory for agents and chat engines, and a memory block for what leaves a short-term memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optical_memory.adapters import chat
from optical_memory.adapters.base import Bridge, Failures, OnFailure
from optical_memory.adapters.kept import KeptList
from optical_memory.asynchronous import on_worker
from optical_memory.context.base import Context
from optical_memory.errors import BudgetError, InputError, MissingExtraError, OpticalMemoryError
from optical_memory.formats import get_format
from optical_memory.formats.repair import repaired
from optical_memory.memory import OpticalMemory
from optical_memory.turns import Part, Turn

try:
    from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock, ToolCallBlock
    from llama_index.core.memory import BaseMemory, BaseMemoryBlock
    from llama_index.core.tools import FunctionTool, ToolMetadata
    from llama_index.core.workflow import WorkflowRuntimeError
    from pydantic import PrivateAttr

    from optical_memory.adapters.recall_arguments import RecallArguments
except ImportError as missing:
    raise MissingExtraError("llama-index-core", "llama-index") from missing

__all__ = ["MemoryFailedError", "OpticalChatMemory", "OpticalMemoryBlock"]
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


class OpticalChatMemory(BaseMemory):
    """A memory whose ``get`` is the bounded context of one session; ``get_all`` gives every message exactly.

    ``await agent.run("…", memory=OpticalChatMemory.from_defaults(session="user-17", store="sqlite:///memory.db"))``.
    """

    _memory: OpticalMemory = PrivateAttr()
    _failures: Failures = PrivateAttr()
    _kept: KeptList[ChatMessage] = PrivateAttr()
    _shape: LlamaShape = PrivateAttr(default_factory=LlamaShape)

    @classmethod
    def from_defaults(
        cls, memory: OpticalMemory | None = None, on_failure: OnFailure = "raise", **settings: Any
    ) -> OpticalChatMemory:
        """Return a memory over a ready OpticalMemory, or over a new one with these ``settings`` (session, store, …).

        ``on_failure``: "raise" MemoryFailedError, or "send everything" and log a warning.
        """
        if memory is not None and settings:
            raise InputError("give a memory, or settings for a new one, not both")
        out = cls()
        out._memory = OpticalMemory(**settings) if memory is None else memory
        out._failures = Failures(on_failure, MemoryFailedError)
        out._kept = KeptList(out._memory, out._shape, out._shape.made, out._failures)
        return out

    @property
    def memory(self) -> OpticalMemory:
        """The memory itself, to inspect it, recall or forget."""
        return self._memory

    def get(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:
        """Return what the model should see. Raises MemoryFailedError."""
        try:
            turns = _turns(self._memory.context(draw=True))
        except OpticalMemoryError as error:
            self._failures.seen(error, f"the whole history of session {self._memory.session!r} is sent")
            return self.get_all()
        return self._shape.made(turns)

    async def aget(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:
        """Do :meth:`get` without holding the event loop."""
        return await on_worker(self.get)

    def get_all(self) -> list[ChatMessage]:
        """Return every message of the conversation, exactly."""
        return self._kept.all()

    async def aget_all(self) -> list[ChatMessage]:
        """Do :meth:`get_all` without holding the event loop."""
        return await on_worker(self.get_all)

    def put(self, message: ChatMessage) -> None:
        """Store a message, exactly and durably."""
        self._kept.add([message])

    async def aput(self, message: ChatMessage) -> None:
        """Do :meth:`put` without holding the event loop."""
        await on_worker(lambda: self.put(message))

    def put_messages(self, messages: list[ChatMessage]) -> None:
        """Store messages, exactly and durably."""
        self._kept.add(messages)

    async def aput_messages(self, messages: list[ChatMessage]) -> None:
        """Do :meth:`put_messages` without holding the event loop."""
        await on_worker(lambda: self.put_messages(messages))

    def set(self, messages: list[ChatMessage]) -> None:
        """Make the conversation equal ``messages``; what is not in it is kept as superseded."""
        self._kept.replace(messages)

    async def aset(self, messages: list[ChatMessage]) -> None:
        """Do :meth:`set` without holding the event loop."""
        await on_worker(lambda: self.set(messages))

    def reset(self) -> None:
        """Really delete the conversation."""
        self._kept.clear()

    async def areset(self) -> None:
        """Do :meth:`reset` without holding the event loop."""
        await on_worker(self.reset)

    def recall_tool(self) -> FunctionTool:
        """Return the recall tool, for an agent's tools."""
        tool = self._memory.recall_tool()

        def recall(**asked: Any) -> str:
            return tool({key: value for key, value in asked.items() if value is not None})

        async def recall_async(**asked: Any) -> str:
            return await on_worker(lambda: recall(**asked))

        told = ToolMetadata(name=tool.name, description=tool.description, fn_schema=RecallArguments)
        return FunctionTool(recall, told, async_fn=recall_async)


class OpticalMemoryBlock(BaseMemoryBlock[list[ChatMessage]]):
    """Keeps what leaves the short-term memory, exactly, and shows it as pages within a budget of its own.

    ``Memory.from_defaults(session_id="…", memory_blocks=[OpticalMemoryBlock.over(store="sqlite:///memory.db")])``.
    """

    name: str = "optical_memory"
    _bridge: Bridge[ChatMessage] = PrivateAttr()
    _shape: LlamaShape = PrivateAttr(default_factory=LlamaShape)

    @classmethod
    def over(cls, memory: OpticalMemory | None = None, *, priority: int = 0, **settings: Any) -> OpticalMemoryBlock:
        """Return a block over a ready memory of one session, or over a memory for each session with these settings.

        ``on_failure`` is one of the settings: "raise" MemoryFailedError, or "send everything" and log a warning.
        """
        out = cls(priority=priority)
        out._bridge = Bridge(out._shape, memory, error=MemoryFailedError, **settings)
        return out

    def memory(self, session_id: str) -> OpticalMemory:
        """Return the memory of a session, to inspect it, recall or forget."""
        return self._bridge.memory(session_id)

    def close(self) -> None:
        """Release the store and the renderer."""
        self._bridge.close()

    async def _aget(self, messages: list[ChatMessage] | None = None, **block_kwargs: Any) -> list[ChatMessage]:
        session = str(block_kwargs.get("session_id") or "main")
        return await on_worker(lambda: self._got(session))

    async def _aput(self, messages: list[ChatMessage]) -> None:
        session = str(messages[-1].additional_kwargs.get("session_id") or "main") if messages else "main"
        bare = [message.model_copy(update={"additional_kwargs": _without_session(message)}) for message in messages]
        written = [one for message in bare for one in self._shape.written(message)]
        try:
            await on_worker(lambda: self.memory(session).extend(written, format=self._shape.format))
        except OpticalMemoryError as error:
            raise MemoryFailedError(str(error)) from error

    async def atruncate(self, content: list[ChatMessage], tokens_to_truncate: int) -> list[ChatMessage] | None:
        """Show less; None where nothing fits."""
        session = str(content[0].additional_kwargs.get("session_id") or "main") if content else "main"
        try:
            return await on_worker(lambda: self._shown(session, max(tokens_to_truncate, 0)))
        except BudgetError:
            return None
        except OpticalMemoryError as error:
            raise MemoryFailedError(str(error)) from error

    def _got(self, session: str) -> list[ChatMessage]:
        try:
            return self._shown(session, 0)
        except OpticalMemoryError as error:
            self._bridge.failures.seen(error, f"all that session {session!r} holds is sent")
        try:
            return self._marked(session, self.memory(session).turns())
        except OpticalMemoryError as error:
            raise MemoryFailedError(str(error)) from error

    def _shown(self, session: str, reserve: int) -> list[ChatMessage]:
        return self._marked(session, _turns(self.memory(session).context(reserve=reserve, draw=True)))

    def _marked(self, session: str, turns: Sequence[Turn]) -> list[ChatMessage]:
        made = self._shape.made(turns)
        marked = {"session_id": session}
        return [one.model_copy(update={"additional_kwargs": one.additional_kwargs | marked}) for one in made]


def _turns(context: Context) -> list[Turn]:
    """Return what is sent; a turn that is shown otherwise than it is does not hold the framework's message any more."""
    exact = {turn.seq: turn for turn in context.recent}
    out = []
    for turn in repaired(context.turns(), get_format(LlamaShape.format)):
        same = turn.is_instruction or exact.get(turn.seq) == turn
        out.append(turn if same else replace(turn, raw=None, raw_format=None))
    return out


def _without_session(message: ChatMessage) -> dict[str, Any]:
    return {key: value for key, value in message.additional_kwargs.items() if key != "session_id"}


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
