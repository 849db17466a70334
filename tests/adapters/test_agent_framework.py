"""Microsoft Agent Framework: its agent and sessions, a chat client of its own base classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

pytest.importorskip("agent_framework")

from agent_framework import (
    Agent,
    BaseChatClient,
    ChatMiddlewareLayer,
    ChatResponse,
    CompactionProvider,
    Content,
    FunctionInvocationLayer,
    InMemoryHistoryProvider,
    Message,
    SlidingWindowStrategy,
)
from agent_framework.exceptions import AgentFrameworkException
from conformance import *  # noqa: F403
from driver import Chat, Driver, MakeDriver

from optical_memory import OpticalMemory
from optical_memory.adapters.agent_framework import OpticalContextProvider


class Scripted(FunctionInvocationLayer[Any], ChatMiddlewareLayer[Any], BaseChatClient[Any]):
    """Keeps what it is sent; asks ``recall`` where it has a question and no result yet."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[list[Message]] = []
        self.question = ""

    async def _inner_get_response(  # type: ignore[override]
        self, *, messages: Sequence[Message], stream: bool, options: Mapping[str, Any], **more: Any
    ) -> ChatResponse:
        self.sent.append(list(messages))
        asked = any(content.name == "recall" for message in messages for content in message.contents)
        if self.question and not asked:
            arguments = {"question": self.question, "k": 1}
            call = Content.from_function_call("call-recall", "recall", arguments=arguments)
            return ChatResponse(messages=[Message("assistant", [call])])
        return ChatResponse(messages=[Message("assistant", ["Done."])])


class FrameworkDriver(Driver):
    error = AgentFrameworkException

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.provider = OpticalContextProvider(**settings)
        self.client = Scripted()
        self.agent = Agent(client=self.client, context_providers=[self.provider])

    def objects(self, history: Sequence[Chat]) -> list[Message]:
        out = []
        for message in history:
            if message["role"] == "tool":
                contents = [Content.from_function_result(message["tool_call_id"], result=message["content"])]
            else:
                contents = [Content.from_text(message["content"])] if message.get("content") else []
                for call in message.get("tool_calls") or ():
                    function = call["function"]
                    contents.append(
                        Content.from_function_call(call["id"], function["name"], arguments=function["arguments"])
                    )
            out.append(Message(message["role"], contents))
        return out

    def chat(self, messages: Sequence[Message]) -> list[Chat]:
        out: list[Chat] = []
        for message in messages:
            parts: list[Chat] = []
            calls = []
            for content in message.contents:
                if content.type == "function_result":
                    out.append({"role": "tool", "tool_call_id": content.call_id, "content": content.result})
                elif content.type == "function_call":
                    function = {"name": content.name, "arguments": content.arguments}
                    calls.append({"id": content.call_id, "type": "function", "function": function})
                elif content.type == "text":
                    parts.append({"type": "text", "text": content.text})
                else:
                    detail = content.additional_properties.get("detail", "auto")
                    parts.append({"type": "image_url", "image_url": {"url": content.uri, "detail": detail}})
            if parts or calls:
                texts = all(part["type"] == "text" for part in parts)
                said: Any = "\n".join(part["text"] for part in parts) if texts else parts
                out.append({"role": message.role, "content": said} | ({"tool_calls": calls} if calls else {}))
        return out

    async def send(self, thread: str, given: list[Message]) -> list[Message]:
        session = self.agent.create_session(session_id=thread)
        await self.agent.run(given, session=session)
        same = {id(message.contents[0]): message for message in given}  # the agent copies messages, not their contents
        return [same.get(id(message.contents[0]), message) for message in self.client.sent[-1]]

    async def recall(self, thread: str, given: list[Message], question: str) -> str:
        self.client.question = question
        await self.send(thread, given)
        contents = [content for message in self.client.sent[-1] for content in message.contents]
        (result,) = [c for c in contents if c.type == "function_result" and c.call_id == "call-recall"]
        return str(result.result)

    def strange(self, words: str) -> Message:
        return Message("assistant", [Content.from_error(message=words)])

    def memory(self, thread: str) -> OpticalMemory:
        return self.provider.memory(thread)

    def close(self) -> None:
        self.provider.close()


@pytest.fixture
def make_driver() -> MakeDriver:
    return FrameworkDriver


async def test_the_frameworks_own_compaction_before_it_is_followed(memory_settings: dict[str, Any]) -> None:
    provider, client = OpticalContextProvider(**memory_settings), Scripted()
    own = CompactionProvider(before_strategy=SlidingWindowStrategy(keep_last_groups=4))
    agent = Agent(client=client, context_providers=[InMemoryHistoryProvider(), own, provider])
    session = agent.create_session(session_id="t")
    for number in range(10):
        await agent.run(f"Note {number}.", session=session)
    shown = [message.text for message in client.sent[-1]]
    assert shown[-1] == "Note 9." and "Note 8." in shown and "Note 0." not in shown
    assert [turn.text for turn in provider.memory("t").turns()] == shown
    provider.close()
