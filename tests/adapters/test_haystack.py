"""Haystack: its Agent, its messages, a chat generator of this test's own for a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("haystack")

from conformance import *  # noqa: F403
from driver import Chat, Driver, MakeDriver
from haystack import component
from haystack.components.agents import Agent
from haystack.core.errors import PipelineRuntimeError
from haystack.dataclasses import ChatMessage, ReasoningContent, ToolCall

from optical_memory import OpticalMemory
from optical_memory.adapters.haystack import OpticalMemoryHook


@component
class Scripted:
    """Keeps what it is sent; asks ``recall`` where it has a question and no result yet."""

    def __init__(self) -> None:
        self.sent: list[list[ChatMessage]] = []
        self.question = ""

    @component.output_types(replies=list[ChatMessage])
    def run(self, messages: list[ChatMessage], tools: Any = None) -> dict[str, list[ChatMessage]]:
        self.sent.append(list(messages))
        results = [m.tool_call_result.origin.tool_name for m in messages if m.tool_call_result]
        if self.question and "recall" not in results:
            call = ToolCall("recall", {"question": self.question, "k": 1}, "call-recall")
            return {"replies": [ChatMessage.from_assistant(tool_calls=[call])]}
        return {"replies": [ChatMessage.from_assistant("Done.")]}

    @component.output_types(replies=list[ChatMessage])
    async def run_async(self, messages: list[ChatMessage], tools: Any = None) -> dict[str, list[ChatMessage]]:
        answer: dict[str, list[ChatMessage]] = self.run(messages, tools)
        return answer


class HaystackDriver(Driver):
    error = PipelineRuntimeError

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.hook = OpticalMemoryHook(**settings)
        self.model = Scripted()

    def agent(self, thread: str) -> Agent:
        tools = [self.hook.recall_tool(thread)]
        schema = {"conversation_id": {"type": str}}
        return Agent(chat_generator=self.model, tools=tools, hooks=self.hook.hooks(), state_schema=schema)

    def objects(self, history: Sequence[Chat]) -> list[ChatMessage]:
        out = []
        calls: dict[str, ToolCall] = {}
        for message in history:
            for call in message.get("tool_calls") or ():
                function = call["function"]
                calls[call["id"]] = ToolCall(function["name"], json.loads(function["arguments"]), call["id"])
            if message["role"] == "tool":
                out.append(ChatMessage.from_tool(message["content"], calls[message["tool_call_id"]]))
            elif message["role"] == "assistant":
                made = [calls[call["id"]] for call in message.get("tool_calls") or ()]
                out.append(ChatMessage.from_assistant(message["content"] or None, tool_calls=made))
            else:
                out.append(ChatMessage.from_user(message["content"]))
        return out

    def chat(self, messages: Sequence[ChatMessage]) -> list[Chat]:
        return [message.to_openai_dict_format() for message in messages]

    async def send(self, thread: str, given: list[ChatMessage]) -> list[ChatMessage]:
        result = await self.agent(thread).run_async(messages=given, conversation_id=thread)
        assert result["messages"][:-1] == given, "the run's result does not hold the whole history"
        return self.model.sent[-1]

    async def recall(self, thread: str, given: list[ChatMessage], question: str) -> str:
        self.model.question = question
        asked = [*given, ChatMessage.from_user("Look it up.")]
        result = await self.agent(thread).run_async(messages=asked, conversation_id=thread)
        assert result["messages"][: len(asked)] == asked and len(result["messages"]) == len(asked) + 3
        results = [m.tool_call_result for m in self.model.sent[-1] if m.tool_call_result]
        (found,) = [one for one in results if one.origin.tool_name == "recall"]
        return str(found.result)

    def strange(self, words: str) -> ChatMessage:
        return ChatMessage.from_assistant("Well.", reasoning=ReasoningContent(words))

    def memory(self, thread: str) -> OpticalMemory:
        return self.hook.memory(thread)

    def close(self) -> None:
        self.hook.close()


@pytest.fixture
def make_driver() -> MakeDriver:
    return HaystackDriver


def test_the_hook_is_saved_and_made_anew() -> None:
    hook = OpticalMemoryHook(profile="gpt-5", budget=5_000, renderer="dense")
    again = OpticalMemoryHook.from_dict(hook.to_dict())
    assert again.memory("t").budget == 5_000 and again.memory("t").profile == hook.memory("t").profile
    hook.close()
    again.close()


@pytest.mark.filterwarnings("ignore:.*is an experimental component")
async def test_haystacks_own_compaction_before_it_is_followed(memory_settings: dict[str, Any]) -> None:
    compaction = pytest.importorskip("haystack.hooks.compaction")
    own = compaction.CompactionHook(compaction.SlidingWindowCompactor(), context_window=1_000)
    hook, model = OpticalMemoryHook(**memory_settings), Scripted()
    hooks = {**hook.hooks(), "before_llm": [own, hook]}
    agent = Agent(chat_generator=model, hooks=hooks)
    history = []
    for number in range(20):
        history += [ChatMessage.from_user(f"Note {number}. " * 30), ChatMessage.from_assistant(f"Noted {number}.")]
    await agent.run_async(messages=[*history, ChatMessage.from_user("And now?")])
    shown = [message.text for message in model.sent[-1]]
    assert len(shown) < 30 and shown[-1] == "And now?"
    assert [turn.text for turn in hook.memory("main").turns()] == shown
    hook.close()
