"""Pydantic AI: its agent, its messages, its own function model for a model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("pydantic_ai")

from conformance import *  # noqa: F403
from driver import Chat, Driver, MakeDriver
from openai import AsyncOpenAI
from openai_client import openai_client
from provider_server import Body, Reply, serving
from pydantic_ai import Agent
from pydantic_ai.capabilities import ProcessHistory
from pydantic_ai.exceptions import AgentRunError
from pydantic_ai.messages import (
    CompactionPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from optical_memory import OpticalMemory
from optical_memory.adapters.pydantic_ai import OpticalMemoryCapability, PydanticShape
from optical_memory.turns import Part, Turn


class PydanticDriver(Driver):
    error = AgentRunError

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.capability = OpticalMemoryCapability(**settings)
        self.sent: list[list[ModelMessage]] = []
        self.question = ""
        self.agent = Agent(FunctionModel(self.answer), capabilities=[self.capability])
        self.mapping = OpenAIChatModel("gpt-5", provider=OpenAIProvider(openai_client=AsyncOpenAI(api_key="none")))

    def answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.sent.append(messages)
        asked = any(getattr(part, "tool_name", None) == "recall" for message in messages for part in message.parts)
        if self.question and not asked:
            return ModelResponse(parts=[ToolCallPart("recall", {"question": self.question, "k": 1}, "call-recall")])
        return ModelResponse(parts=[TextPart("Done.")])

    def objects(self, history: Sequence[Chat]) -> list[Any]:
        out: list[Any] = []
        names: dict[str, str] = {}
        for message in history:
            calls = message.get("tool_calls") or ()
            names |= {call["id"]: call["function"]["name"] for call in calls}
            if message["role"] == "assistant":
                said = [TextPart(message["content"])] if message.get("content") else []
                made = [
                    ToolCallPart(call["function"]["name"], call["function"]["arguments"], call["id"]) for call in calls
                ]
                out.append(ModelResponse(parts=[*said, *made]))
            elif message["role"] == "tool":
                part = ToolReturnPart(names[message["tool_call_id"]], message["content"], message["tool_call_id"])
                if out and isinstance(out[-1], ModelRequest) and isinstance(out[-1].parts[-1], ToolReturnPart):
                    out[-1].parts = [*out[-1].parts, part]
                else:
                    out.append(ModelRequest(parts=[part]))
            else:
                out.append(ModelRequest(parts=[UserPromptPart(message["content"])]))
        return out

    def chat(self, messages: Sequence[Any]) -> list[Chat]:
        """Map as the framework's model of OpenAI's does."""
        mapped = self.mapping._map_messages(list(messages), ModelRequestParameters())
        with ThreadPoolExecutor(1) as thread:  # a loop runs on this one
            out: list[Chat] = thread.submit(asyncio.run, mapped).result()
        return out

    async def send(self, thread: str, given: list[Any]) -> list[Any]:
        await self.agent.run(message_history=given, conversation_id=thread)
        got = self.sent[-1]
        return [
            next((one for one in given if one is message or one.parts is message.parts), message) for message in got
        ]

    async def recall(self, thread: str, given: list[Any], question: str) -> str:
        self.question = question
        await self.agent.run(message_history=given, conversation_id=thread)
        (result,) = [
            part
            for message in self.sent[-1]
            for part in message.parts
            if isinstance(part, ToolReturnPart) and part.tool_name == "recall"
        ]
        return str(result.content)

    def strange(self, words: str) -> ModelMessage:
        return ModelResponse(parts=[CompactionPart(content=words)])

    def memory(self, thread: str) -> OpticalMemory:
        return self.capability.memory(thread)

    def close(self) -> None:
        self.capability.close()


@pytest.fixture
def make_driver() -> MakeDriver:
    return PydanticDriver


async def test_the_runs_history_stays_whole_and_pages_travel_with_their_detail(memory_settings: dict[str, Any]) -> None:
    def script(name: str, request: Body) -> Reply:
        return Reply(text="Noted, with many words. " * 40)

    with serving(script) as server:
        client = openai_client(server)
        capability = OpticalMemoryCapability(**{**memory_settings, "budget": 3_000})
        model = OpenAIChatModel("gpt-5", provider=OpenAIProvider(openai_client=client))
        agent = Agent(model, capabilities=[capability], instructions="Be brief.")
        history: list[ModelMessage] = []
        for number in range(12):
            result = await agent.run(f"Note {number}. " * 30, message_history=history, conversation_id="c")
            history = result.all_messages()
        assert not server.refused
        last = server.requests[-1][1]
    assert len(history) == 24 and len(last["messages"]) < 20
    urls = [
        part["image_url"]
        for m in last["messages"]
        if isinstance(m["content"], list)
        for part in m["content"][1:]
        if part["type"] == "image_url"
    ]
    pages = capability.memory("c").peek().pages
    assert urls and len(urls) >= len(pages) - 1
    assert {url.get("detail") for url in urls} <= {"low", "high", "auto", "original", None}
    capability.close()


def test_googles_setting_of_an_image_is_written_as_its_model_takes_it() -> None:
    png = "data:image/png;base64,iVBORw0KGgo="
    image = Part(kind="image", url=png, raw={"detail": "media_resolution_high"})
    (made,) = PydanticShape().made([Turn(id="p", role="user", parts=(image,))])
    (content,) = made.parts[0].content  # type: ignore[union-attr]
    assert content.vendor_metadata == {"media_resolution": {"level": "MEDIA_RESOLUTION_HIGH"}}


async def test_a_history_processor_before_it_is_followed(memory_settings: dict[str, Any]) -> None:
    capability = OpticalMemoryCapability(**memory_settings)
    sent: list[list[ModelMessage]] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        sent.append(messages)
        return ModelResponse(parts=[TextPart("Noted.")])

    def newest(messages: list[ModelMessage]) -> list[ModelMessage]:
        return messages[-3:]

    agent = Agent(FunctionModel(answer), capabilities=[ProcessHistory(newest), capability])
    history: list[ModelMessage] = []
    for number in range(8):
        result = await agent.run(f"Note {number}.", message_history=history, conversation_id="c")
        history = result.all_messages()
    assert len(sent[-1]) == 3
    assert [turn.text for turn in capability.memory("c").turns()] == ["Note 6.", "Noted.", "Note 7."]
    capability.close()
