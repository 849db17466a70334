"""LlamaIndex: its agent, its memory, its own mock of a model that calls functions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("llama_index.core")

from conformance import *  # noqa: F403
from driver import Chat, Driver, MakeDriver
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock, ThinkingBlock, ToolCallBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.memory import Memory
from llama_index.core.workflow import WorkflowRuntimeError

from optical_memory import OpticalMemory
from optical_memory.adapters.llama_index import OpticalChatMemory, OpticalMemoryBlock

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
]


class LlamaDriver(Driver):
    identity = False
    error = WorkflowRuntimeError

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.memories: dict[str, OpticalChatMemory] = {}

    def chat_memory(self, thread: str) -> OpticalChatMemory:
        if thread not in self.memories:
            self.memories[thread] = OpticalChatMemory.from_defaults(session=thread, **self.settings)
        return self.memories[thread]

    def objects(self, history: Sequence[Chat]) -> list[ChatMessage]:
        out = []
        for message in history:
            calls = [
                ToolCallBlock(
                    tool_call_id=c["id"], tool_name=c["function"]["name"], tool_kwargs=c["function"]["arguments"]
                )
                for c in message.get("tool_calls") or ()
            ]
            said = [TextBlock(text=message["content"])] if message.get("content") else []
            more = {"tool_call_id": message["tool_call_id"]} if message["role"] == "tool" else {}
            out.append(ChatMessage(role=message["role"], blocks=[*said, *calls], additional_kwargs=more))
        return out

    def chat(self, messages: Sequence[ChatMessage]) -> list[Chat]:
        out: list[Chat] = []
        for message in messages:
            parts: list[Chat] = []
            calls = []
            for block in message.blocks:
                if isinstance(block, TextBlock):
                    parts.append({"type": "text", "text": block.text})
                elif isinstance(block, ImageBlock):
                    url = f"data:{block.image_mimetype};base64,{block.resolve_image(as_base64=True).read().decode()}"
                    parts.append({"type": "image_url", "image_url": {"url": url, "detail": block.detail or "auto"}})
                elif isinstance(block, ToolCallBlock):
                    given = block.tool_kwargs
                    arguments = given if isinstance(given, str) else json.dumps(given)
                    function = {"name": block.tool_name, "arguments": arguments}
                    calls.append({"id": block.tool_call_id, "type": "function", "function": function})
            texts = all(part["type"] == "text" for part in parts)
            content = "\n".join(part["text"] for part in parts) if texts else parts
            one: Chat = {"role": message.role.value, "content": content}
            if calls:
                one["tool_calls"] = calls
            if message.role.value == "tool":
                one["tool_call_id"] = message.additional_kwargs["tool_call_id"]
            out.append(one)
        return out

    async def send(self, thread: str, given: list[ChatMessage]) -> list[ChatMessage]:
        memory = self.chat_memory(thread)
        await memory.aset(given)
        return await memory.aget()

    async def recall(self, thread: str, given: list[ChatMessage], question: str) -> str:
        memory = self.chat_memory(thread)
        await memory.aset(given)
        sent: list[Sequence[ChatMessage]] = []

        def answer(messages: Sequence[ChatMessage], **more: Any) -> ChatMessage:
            sent.append(messages)
            if any(message.additional_kwargs.get("tool_call_id") == "call-recall" for message in messages):
                return ChatMessage(role="assistant", content="Done.")
            call = ToolCallBlock(
                tool_call_id="call-recall", tool_name="recall", tool_kwargs={"question": question, "k": 1}
            )
            return ChatMessage(role="assistant", blocks=[call])

        llm = MockFunctionCallingLLM(response_generator=answer, is_chat_model=True)
        agent = FunctionAgent(tools=[memory.recall_tool()], llm=llm, streaming=False)
        await agent.run("Look it up.", memory=memory)
        (result,) = [one for one in sent[-1] if one.additional_kwargs.get("tool_call_id") == "call-recall"]
        return str(result.content)

    def strange(self, words: str) -> ChatMessage:
        return ChatMessage(role="assistant", blocks=[ThinkingBlock(content=words)])

    def memory(self, thread: str) -> OpticalMemory:
        return self.chat_memory(thread).memory

    def close(self) -> None:
        for memory in self.memories.values():
            memory.memory.close()


@pytest.fixture
def make_driver() -> MakeDriver:
    return LlamaDriver


async def test_every_message_comes_back_exactly(memory_settings: dict[str, Any]) -> None:
    memory = OpticalChatMemory.from_defaults(session="s", **memory_settings)
    call = ToolCallBlock(tool_call_id="c1", tool_name="look", tool_kwargs={"where": "shelf"})
    messages = [
        ChatMessage(role="user", content="hi", additional_kwargs={"mood": "good"}),
        ChatMessage(role="assistant", blocks=[TextBlock(text="I look."), call]),
        ChatMessage(role="tool", content="a box", additional_kwargs={"tool_call_id": "c1"}),
    ]
    await memory.aput_messages(messages)
    assert await memory.aget_all() == messages and await memory.aget() == messages
    await memory.areset()
    assert await memory.aget_all() == []
    memory.memory.close()


async def test_a_block_shows_what_left_the_short_term_memory(memory_settings: dict[str, Any]) -> None:
    block = OpticalMemoryBlock.over(**{**memory_settings, "budget": 2_000})
    memory = Memory.from_defaults(
        session_id="s", token_limit=6_000, chat_history_token_ratio=0.3, memory_blocks=[block], token_flush_size=500
    )
    for number in range(30):
        role = "assistant" if number % 2 else "user"
        await memory.aput(ChatMessage(role=role, content=f"Note {number}, code-{number:04}. " * 40))
    kept = block.memory("s").turns()
    shown = await memory.aget()
    assert len(kept) > 10 and kept[0].text == "Note 0, code-0000. " * 40
    assert any(isinstance(one, ImageBlock) for message in shown for one in message.blocks)
    assert "Note 29" in str(shown[-1].content)
    assert "code-0000" in block.memory("s").recall("code-0000", k=1)[0].text
    full = await block.aget(session_id="s")
    less = await block.atruncate(full, 800)
    assert less is not None and block.memory("s").peek().tokens <= 2_000 - 800
    assert await block.atruncate(full, 1_990) is None
    block.close()
    engine = memory.sql_store._async_engine
    assert engine is not None
    await engine.dispose()
