"""The conformance suite against the real langchain: its agent, its messages, its tool loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("langchain")

from conformance import *  # noqa: F403
from driver import Chat, Driver, MakeDriver
from langchain.agents import create_agent
from langchain_core.exceptions import LangChainException
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    ToolMessage,
    convert_to_messages,
    convert_to_openai_messages,
)
from langchain_core.outputs import ChatGeneration, ChatResult

from optical_memory import OpticalMemory
from optical_memory.adapters.langchain import OpticalMemoryMiddleware, OpticalModelNode


class Scripted(BaseChatModel):
    """Keeps what it is sent; asks ``recall`` where it has a question that no result has answered yet."""

    sent: list[list[BaseMessage]]
    question: str = ""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Scripted:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.sent.append(list(messages))
        message = AIMessage("Done.")
        if self.question and not any(isinstance(one, ToolMessage) and one.name == "recall" for one in messages):
            call = {"name": "recall", "args": {"question": self.question, "k": 1}, "id": "call-recall"}
            message = AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=message)])


class LangChainDriver(Driver):
    error = LangChainException

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.model = Scripted(sent=[])
        self.adapter = self.made(settings)

    def made(self, settings: dict[str, Any]) -> Any:
        middleware = OpticalMemoryMiddleware(**settings)
        self.agent = create_agent(self.model, [], middleware=[middleware])
        return middleware

    def objects(self, history: Sequence[Chat]) -> list[BaseMessage]:
        return convert_to_messages([{**message, "id": f"m{place}"} for place, message in enumerate(history)])

    def chat(self, messages: Sequence[BaseMessage]) -> list[Chat]:
        written: list[Chat] = convert_to_openai_messages(messages)
        return written

    async def send(self, thread: str, given: list[BaseMessage]) -> list[BaseMessage]:
        await self.agent.ainvoke({"messages": given}, {"configurable": {"thread_id": thread}})
        return self.model.sent[-1]

    async def recall(self, thread: str, given: list[BaseMessage], question: str) -> str:
        self.model.question = question
        await self.send(thread, given)
        (result,) = [m for m in self.model.sent[-1] if isinstance(m, ToolMessage) and m.name == "recall"]
        return str(result.content)

    def strange(self, words: str) -> BaseMessage:
        return ChatMessage(role="critic", content=words, id="strange")

    def memory(self, thread: str) -> OpticalMemory:
        memory: OpticalMemory = self.adapter.memory(thread)
        return memory

    def close(self) -> None:
        self.adapter.close()


class GraphDriver(LangChainDriver):
    """A graph built by hand around the node."""

    def made(self, settings: dict[str, Any]) -> Any:
        from langgraph.graph import START, MessagesState, StateGraph
        from langgraph.prebuilt import ToolNode, tools_condition

        node = OpticalModelNode(self.model, **settings)
        graph = StateGraph(MessagesState)
        graph.add_node("model", node)
        graph.add_node("tools", ToolNode(node.tools))
        graph.add_edge(START, "model")
        graph.add_conditional_edges("model", tools_condition)
        graph.add_edge("tools", "model")
        self.agent = graph.compile()
        return node


@pytest.fixture(params=[LangChainDriver, GraphDriver])
def make_driver(request: pytest.FixtureRequest) -> MakeDriver:
    made: MakeDriver = request.param
    return made
