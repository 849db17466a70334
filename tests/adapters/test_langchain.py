"""The LangChain adapter against the real langchain: create_agent, threads, tools, sync and async."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver

from optical_memory.adapters.langchain import OpticalChatMessageHistory, OpticalMemoryMiddleware


class Recorder(BaseChatModel):
    """A chat model that keeps what it is sent, calls the tool when asked to look, and answers otherwise."""

    sent: list[list[BaseMessage]]
    tools: list[Any]

    @property
    def _llm_type(self) -> str:
        return "recorder"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Recorder:
        self.tools[:] = tools
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.sent.append(list(messages))
        last = messages[-1]
        if isinstance(last, HumanMessage) and "look" in str(last.content):
            call = {"name": "shelf", "args": {"number": 7}, "id": f"call-{len(self.sent)}"}
            message = AIMessage(content="", tool_calls=[call])
        elif isinstance(last, HumanMessage) and "recall" in str(last.content):
            call = {"name": "recall", "args": {"question": "blue parrot"}, "id": f"call-{len(self.sent)}"}
            message = AIMessage(content="", tool_calls=[call])
        else:
            message = AIMessage(content=f"answer {len(self.sent)} " + "with many words " * 30)
        return ChatResult(generations=[ChatGeneration(message=message)])


def shelf(number: int) -> str:
    """Look at a shelf."""
    return f"shelf {number}: " + "a long list of boxes and their contents; " * 200


def chat(agent: Any, text: str, thread: str) -> dict[str, Any]:
    config = {"configurable": {"thread_id": thread}}
    result: dict[str, Any] = agent.invoke({"messages": [HumanMessage(text)]}, config)
    return result


def build(budget: int = 4_000) -> tuple[Any, Recorder, OpticalMemoryMiddleware]:
    model = Recorder(sent=[], tools=[])
    middleware = OpticalMemoryMiddleware(budget=budget, profile="mini", renderer="dense")
    agent = create_agent(
        model, [shelf], system_prompt="Be brief.", middleware=[middleware], checkpointer=InMemorySaver()
    )
    return agent, model, middleware


def check_pairs(messages: list[BaseMessage]) -> None:
    waiting: set[str] = set()
    for message in messages:
        if isinstance(message, ToolMessage):
            assert message.tool_call_id in waiting
            waiting.discard(message.tool_call_id)
        else:
            assert not waiting
            waiting = {str(call["id"]) for call in message.tool_calls} if isinstance(message, AIMessage) else set()


def test_the_model_sees_a_bounded_context_and_the_state_stays_whole() -> None:
    agent, model, middleware = build()
    for number in range(25):
        state = chat(agent, f"Question {number}: look again, " + "please " * 40, "t1")
    assert len([m for m in state["messages"] if isinstance(m, HumanMessage)]) == 25
    assert middleware.memory("t1").store.count("t1") >= 99
    last = model.sent[-1]
    assert any("image_url" in json.dumps(m.content) for m in last)
    assert len(last) < len(state["messages"])
    for sent in model.sent:
        check_pairs(sent)
    assert {tool.name for tool in model.tools} == {"shelf", "recall"}


def test_threads_are_kept_apart_and_recall_finds_the_past() -> None:
    agent, model, _ = build()
    chat(agent, "My pet is a blue parrot named Cosimo.", "t1")
    for number in range(20):
        chat(agent, f"Note {number}: look, " + "please " * 60, "t1")
    chat(agent, "Another conversation.", "t2")
    assert "Cosimo" not in json.dumps([m.content for m in model.sent[-1]])
    state = chat(agent, "Use recall for my pet.", "t1")
    answers = [m for m in state["messages"] if isinstance(m, ToolMessage) and m.name == "recall"]
    assert answers and "Cosimo" in str(answers[-1].content)
    state = chat(agent, "Use recall for my pet.", "t2")
    answers = [m for m in state["messages"] if isinstance(m, ToolMessage) and m.name == "recall"]
    assert answers and "Cosimo" not in str(answers[-1].content)


async def test_async_agent() -> None:
    agent, model, _ = build()
    config = {"configurable": {"thread_id": "t"}}
    for number in range(12):
        await agent.ainvoke({"messages": [HumanMessage(f"{number}: look " + "please " * 40)]}, config)
    for sent in model.sent:
        check_pairs(sent)
    assert any("image_url" in json.dumps(m.content) for m in model.sent[-1])


def test_removed_messages_leave_the_memory_too() -> None:
    agent, model, middleware = build()
    config = {"configurable": {"thread_id": "t"}}
    state = chat(agent, "My secret is swordfish.", "t")
    agent.update_state(config, {"messages": [RemoveMessage(id=state["messages"][0].id)]})
    chat(agent, "Hello again.", "t")
    assert "swordfish" not in json.dumps([m.content for m in model.sent[-1]])
    assert middleware.memory("t").recall("swordfish") == []


def test_agent_without_threads() -> None:
    model = Recorder(sent=[], tools=[])
    middleware = OpticalMemoryMiddleware(budget=4_000, profile="mini", renderer="dense")
    agent = create_agent(model, [shelf], middleware=[middleware])
    agent.invoke({"messages": [HumanMessage("hello")]})
    assert [m.content for m in model.sent[0]] == ["hello"]


def test_chat_message_history_round_trip() -> None:
    history = OpticalChatMessageHistory("s", profile="mini", renderer="dense", budget=3_000)
    history.add_messages([HumanMessage("hi"), AIMessage("hello there")])
    assert [(m.type, m.content) for m in history.messages] == [("human", "hi"), ("ai", "hello there")]
    for number in range(60):
        history.add_user_message(f"message {number} " + "of many words " * 30)
    assert any("image_url" in json.dumps(m.content) for m in history.messages)
    assert history.memory.context().tokens <= 3_000
    history.clear()
    assert history.messages == []


async def test_chat_message_history_async() -> None:
    history = OpticalChatMessageHistory("s", profile="mini", renderer="dense")
    await history.aadd_messages([HumanMessage("hi")])
    assert [m.content for m in await history.aget_messages()] == ["hi"]
    await history.aclear()
    assert await history.aget_messages() == []
