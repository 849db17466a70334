"""What agents of LangChain do beside plain calls: stores, summaries, structured answers, streams, deepagents."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain")
pytest.importorskip("langgraph.checkpoint.sqlite")

from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage
from langchain_model import Model, said, send, thread
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.config import get_store
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore
from pydantic import BaseModel

from optical_memory import OpticalMemory
from optical_memory.adapters.langchain import OpticalMemoryMiddleware
from optical_memory.errors import InputError, OpticalMemoryError


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int


def note(text: str) -> str:
    """Keep a fact for all threads of this person."""
    get_store().put(("person",), "fact", {"text": text})
    return "kept"


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_store_of_facts_for_all_threads_works_beside_it(
    kind: str, tmp_path: Path, memory_settings: dict[str, Any]
) -> None:
    """A store holds facts of all threads, the memory each thread's own words: both keep what is theirs."""
    model = Model(sent=[])
    with ExitStack() as stack:
        store: BaseStore = InMemoryStore()
        if kind == "sqlite":
            store = stack.enter_context(SqliteStore.from_conn_string(str(tmp_path / "facts.db")))
            store.setup()
        middleware = OpticalMemoryMiddleware(**{**memory_settings, "budget": 3_000})
        agent = create_agent(model, [note], middleware=[middleware], store=store)
        history = [HumanMessage(f"Question {number}. " * 40, id=f"q{number}") for number in range(30)]
        agent.invoke({"messages": [*history, HumanMessage("call: note", id="call")]}, thread("one"))
        assert "image_url" in str([message.content for message in model.sent[-1]])
        found = store.get(("person",), "fact")
        assert found is not None and found.value == {"text": "hello"}
        agent.invoke({"messages": [HumanMessage("hi")]}, thread("two"))
        assert [message.text for message in model.sent[-1]] == ["hi"]
        middleware.close()


def test_langchains_own_summariser_before_it_is_followed(tmp_path: Path, memory_settings: dict[str, Any]) -> None:
    model, summariser = Model(sent=[]), Model(sent=[])
    middleware = OpticalMemoryMiddleware(**memory_settings)
    own = SummarizationMiddleware(model=summariser, trigger=("messages", 12), keep=("messages", 4))
    with SqliteSaver.from_conn_string(str(tmp_path / "checkpoints.db")) as saver:
        agent = create_agent(model, [send], middleware=[own, middleware], checkpointer=saver)
        for number in range(20):
            agent.invoke({"messages": [HumanMessage(f"Question {number}, about topic-{number}. ")]}, thread())
        assert summariser.sent, "it never summed up"
        state = agent.get_state(thread()).values["messages"]
        assert said(model.sent[-1]) == said(state[:-1]), "something else than its list was shown"
        assert not any("topic-1." in turn.text for turn in middleware.memory("t").recall("topic-1."))
        assert len(middleware.memory("t").turns()) == len(state) - 1
        middleware.close()


def test_a_structured_answer_and_what_its_schema_costs(memory_settings: dict[str, Any]) -> None:
    model = Model(sent=[])
    middleware = OpticalMemoryMiddleware(**memory_settings)
    agent = create_agent(model, [send], middleware=[middleware], response_format=ToolStrategy(Weather))
    state = agent.invoke({"messages": [HumanMessage("call: Weather")]}, thread())
    assert state["structured_response"] == Weather(city="Oslo", degrees=21)
    plain = create_agent(model, [send], middleware=[middleware])
    plain.invoke({"messages": [HumanMessage("hello")]}, thread("plain"))
    reserved = {name: middleware.memory(name)._view.reserved for name in ("t", "plain")}
    assert reserved["t"] > reserved["plain"] + 20
    middleware.close()


async def test_tokens_stream_through(memory_settings: dict[str, Any]) -> None:
    model = Model(sent=[])
    middleware = OpticalMemoryMiddleware(**memory_settings)
    agent = create_agent(model, [send], middleware=[middleware], checkpointer=None)
    pieces = [
        chunk async for chunk, _ in agent.astream({"messages": [HumanMessage("hi")]}, thread(), stream_mode="messages")
    ]
    assert "answer 1" in "".join(piece.text for piece in pieces)
    middleware.close()


def test_a_ready_memory_serves_one_thread(memory_settings: dict[str, Any]) -> None:
    model = Model(sent=[])
    with OpticalMemory("mine", **memory_settings) as memory:
        agent = create_agent(model, [send], middleware=[OpticalMemoryMiddleware(memory)])
        agent.invoke({"messages": [HumanMessage("hi")]}, thread())
        assert [turn.text for turn in memory.store.turns("mine")] == ["hi"]
        with pytest.raises(OpticalMemoryError, match="each thread gets its own"):
            agent.invoke({"messages": [HumanMessage("hi")]}, thread("other"))
    with pytest.raises(InputError, match="not both"):
        OpticalMemoryMiddleware(memory, budget=5)


def test_messages_of_unknown_kinds_pass_as_they_are_and_are_counted(memory_settings: dict[str, Any]) -> None:
    model = Model(sent=[])
    middleware = OpticalMemoryMiddleware(**memory_settings)
    agent = create_agent(model, [send], middleware=[middleware])
    strange = ChatMessage(role="critic", content="Too long, said the critic.", id="c1")
    agent.invoke({"messages": [strange, HumanMessage("hi")]}, thread())
    assert model.sent[-1][0] is strange
    assert "Too long, said the critic." in middleware.memory("t").recall("critic")[0].text
    middleware.close()


def test_a_large_answer_is_shown_as_pages_within_the_budget(memory_settings: dict[str, Any]) -> None:
    model = Model(sent=[])
    middleware = OpticalMemoryMiddleware(**{**memory_settings, "budget": 3_000})
    agent = create_agent(model, [send], middleware=[middleware])
    large = AIMessage("The report, line by line. " * 1_500, id="large")
    agent.invoke({"messages": [HumanMessage("Write."), large, HumanMessage("Thanks.")]}, thread())
    assert middleware.memory("t").peek().tokens <= 3_000
    assert sum(len(message.text) for message in model.sent[-1]) < 3_000
    assert large.content == "The report, line by line. " * 1_500
    middleware.close()


def test_deepagents_with_its_own_summariser_switched_off(memory_settings: dict[str, Any]) -> None:
    deepagents = pytest.importorskip("deepagents")
    model = Model(sent=[])
    deepagents.register_harness_profile(
        "model", deepagents.HarnessProfile(excluded_middleware=frozenset({"SummarizationMiddleware"}))
    )
    middleware = OpticalMemoryMiddleware(**{**memory_settings, "budget": 16_000})
    agent = deepagents.create_deep_agent(model=model, middleware=[middleware], system_prompt="Be brief.")
    history: list[BaseMessage] = []
    for number in range(60):
        history += [HumanMessage(f"Note {number}: " + "it is said " * 80), AIMessage(f"Noted {number}. " * 30)]
    agent.invoke({"messages": [*history, HumanMessage("And now?")]}, thread())
    assert isinstance(model.sent[-1][0], SystemMessage)
    assert any("image_url" in str(message.content) for message in model.sent[-1])
    assert len(model.sent[-1]) < 60 and model.sent[-1][-1].text == "And now?"
    assert not any("SummarizationMiddleware" in name for name in agent.get_graph().nodes)
    middleware.close()
