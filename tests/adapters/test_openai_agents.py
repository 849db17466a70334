"""The OpenAI Agents SDK, with its own runner, sessions, handoffs and a real client against a server of this test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("agents")

from agents import Agent, AgentsException, ModelSettings, Runner, function_tool, set_tracing_disabled
from agents.memory import SessionSettings
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
from agents.models.openai_responses import OpenAIResponsesModel
from agents.run import CallModelData, ModelInputData
from conformance import *  # noqa: F403
from driver import Chat, Driver, MakeDriver
from openai_client import openai_client
from provider_server import Body, Provider, Reply, serving

from optical_memory import OpticalMemory
from optical_memory.adapters.openai_agents import OpticalSession
from optical_memory.formats import from_turns, to_turns

set_tracing_disabled(True)


def agent_for(server: Provider, session: OpticalSession, *, chat: bool = False, **more: Any) -> Agent[Any]:
    client = openai_client(server)
    kind: Any = OpenAIChatCompletionsModel if chat else OpenAIResponsesModel
    settings = ModelSettings(store=None)
    tools = [session.recall_tool, *more.pop("tools", ())]
    return Agent("helper", model=kind("gpt-5", client), tools=tools, model_settings=settings, **more)


def asks_once(question: str) -> Any:
    def script(name: str, request: Body) -> Reply:
        answered = any(item.get("name") == "recall" for item in request["input"])
        return Reply(text="Done.") if answered else Reply(tool="recall", arguments={"question": question, "k": 1})

    return script


class AgentsDriver(Driver):
    error = AgentsException

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.sessions: dict[str, OpticalSession] = {}

    def session(self, thread: str) -> OpticalSession:
        if thread not in self.sessions:
            self.sessions[thread] = OpticalSession(thread, **self.settings)
        return self.sessions[thread]

    def objects(self, history: Sequence[Chat]) -> list[Any]:
        return list(from_turns(to_turns(history, "openai"), "responses"))

    def chat(self, messages: Sequence[Any]) -> list[Chat]:
        return from_turns(to_turns(messages, "responses"), "openai", repair=False)

    def turns(self, history: Sequence[Chat]) -> int:
        return len(self.objects(history))

    async def send(self, thread: str, given: list[Any]) -> list[Any]:
        agent: Agent[Any] = Agent("helper", instructions="Be brief.")
        data = CallModelData(ModelInputData(list(given), "Be brief."), agent, None)
        return list((await self.session(thread).call_model_input_filter(data)).input)

    async def recall(self, thread: str, given: list[Any], question: str) -> str:
        session = self.session(thread)
        with serving(asks_once(question)) as server:
            agent = agent_for(server, session)
            await Runner.run(agent, given, run_config=session.run_config())
            items = server.requests[-1][1]["input"]
        (call,) = [item for item in items if item.get("name") == "recall"]
        (result,) = [item for item in items if item.get("call_id") == call["call_id"] and item is not call]
        return str(result["output"])

    def strange(self, words: str) -> Any:
        return {"type": "divination", "id": "div_1", "vision": words}

    def memory(self, thread: str) -> OpticalMemory:
        return self.session(thread).memory

    def close(self) -> None:
        for session in self.sessions.values():
            session.close()


@pytest.fixture
def make_driver() -> MakeDriver:
    return AgentsDriver


@function_tool
def shelf(number: int) -> str:
    """Look at a shelf."""
    return f"shelf {number}: " + "boxes and their contents; " * 150


@pytest.mark.parametrize("chat", [False, True])
async def test_a_session_keeps_exact_items_and_the_model_sees_the_bounded_context(
    chat: bool, memory_settings: dict[str, Any]
) -> None:
    settings = {**memory_settings, "budget": 3_000}

    def script(name: str, request: Body) -> Reply:
        listed = request["messages"] if name == "openai" else request["input"]
        last = listed[-1]
        if last.get("role") == "user" and "look" in str(last["content"])[:200]:
            return Reply(tool="shelf", arguments={"number": 7})
        return Reply(text="Noted, with many words. " * 20)

    session = OpticalSession("s", **settings)
    with serving(script) as server:
        agent = agent_for(server, session, chat=chat, tools=[shelf], instructions="Be brief.")
        for number in range(12):
            await Runner.run(agent, f"{number}: look, please", session=session, run_config=session.run_config())
        assert not server.refused
        assert "image_url" in str(server.requests[-1][1])
        assert len(str(server.requests[-1][1].get("input") or "")) < 400_000
    items = await session.get_items()
    assert [item.get("content") for item in items if item.get("role") == "user"] == [
        f"{number}: look, please" for number in range(12)
    ]
    outputs = [item["output"] for item in items if item.get("type") == "function_call_output"]
    assert outputs == ["shelf 7: " + "boxes and their contents; " * 150] * 12
    assert session.memory.store.count("s") == len(items), "the items were stored twice"
    session.close()

    again = OpticalSession("s", **settings)
    assert await again.get_items() == items
    assert await again.get_items(limit=3) == items[-3:]
    assert await again.pop_item() == items[-1] and await again.get_items() == items[:-1]
    await again.clear_session()
    assert await again.get_items() == [] and again.memory.store.count("s") == 0
    again.close()


async def test_a_handoff_goes_on_in_the_same_session(memory_settings: dict[str, Any]) -> None:
    session = OpticalSession("s", **memory_settings)

    def script(name: str, request: Body) -> Reply:
        tools = {tool["name"] for tool in request["tools"]}
        return Reply(tool="transfer_to_expert") if "transfer_to_expert" in tools else Reply(text="Expert here.")

    with serving(script) as server:
        expert = agent_for(server, session)
        expert.name = "expert"
        agent = agent_for(server, session, handoffs=[expert])
        result = await Runner.run(agent, "Hello.", session=session, run_config=session.run_config())
        assert result.final_output == "Expert here." and not server.refused
    kinds = [item.get("type") or item.get("role") for item in await session.get_items()]
    assert kinds == ["user", "function_call", "function_call_output", "message"]
    session.close()


async def test_reasoning_stays_with_what_it_led_to(memory_settings: dict[str, Any]) -> None:
    items: list[Any] = []
    for number in range(30):
        items += [
            {"role": "user", "content": f"Question {number}. " + "With many words. " * 30},
            {"type": "reasoning", "id": f"rs_{number}", "summary": [], "encrypted_content": "c2VjcmV0" * 8},
            {
                "type": "message",
                "id": f"msg_{number}",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "Answer. " * 30, "annotations": []}],
            },
        ]
    session = OpticalSession("s", **{**memory_settings, "budget": 3_000})
    for end in range(2, len(items), 3):
        given = [*items[:end]]
        data = CallModelData(ModelInputData(given, None), Agent("helper"), None)
        shown = list((await session.call_model_input_filter(data)).input)
        for place, item in enumerate(shown):
            if item.get("type") == "reasoning" and end - 1 > items.index(item):
                assert shown[place + 1].get("id") == f"msg_{item['id'][3:]}"
            if str(item.get("id")).startswith("msg_"):
                assert shown[place - 1].get("id") == f"rs_{item['id'][4:]}"
    session.close()


async def test_a_failed_run_is_followed_by_a_good_one(memory_settings: dict[str, Any]) -> None:
    """The model saw a question that the session never saved; the next run saves only its own."""
    session = OpticalSession("s", **memory_settings)
    with serving(lambda name, request: Reply(text="Fine.")) as server:
        agent = agent_for(server, session)
        await Runner.run(agent, "One.", session=session, run_config=session.run_config())
        data = CallModelData(ModelInputData([{"role": "user", "content": "Lost."}], None), agent, None)
        await session.call_model_input_filter(data)
        await Runner.run(agent, "Two.", session=session, run_config=session.run_config())
    said = [item.get("content") for item in await session.get_items() if item.get("role") == "user"]
    assert said == ["One.", "Two."]
    assert [turn.text for turn in session.memory.superseded()] == ["Lost."]
    session.close()


async def test_a_limit_of_the_sdks_own_is_followed(memory_settings: dict[str, Any]) -> None:
    """The model sees the newest items alone; the session still holds all."""
    session = OpticalSession("s", **memory_settings)
    session.session_settings = SessionSettings(limit=2)
    with serving(lambda name, request: Reply(text="Fine.")) as server:
        agent = agent_for(server, session)
        for number in range(6):
            await Runner.run(agent, f"Note {number}.", session=session, run_config=session.run_config())
        shown = str(server.requests[-1][1]["input"])
    assert "Note 5." in shown and "Note 4." in shown and "Note 3." not in shown
    said = [item.get("content") for item in await session.get_items() if item.get("role") == "user"]
    assert said == [f"Note {number}." for number in range(6)]
    session.close()
