"""What agents of LangChain do beside plain calls: checkpoints and forks, interrupts, structured answers, streams."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain")
pytest.importorskip("langgraph.checkpoint.sqlite")
pytest.importorskip("langchain_openai")

import redis
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware, SummarizationMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.config import get_store
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore
from langgraph.types import Command
from PIL import Image
from provider_server import Body, Reply, serving
from pydantic import BaseModel
from redis_server import RedisServer

from optical_memory import OpticalMemory
from optical_memory.adapters.langchain import OpticalMemoryMiddleware
from optical_memory.budget import count_message, get_profile
from optical_memory.errors import InputError, OpticalMemoryError
from optical_memory.formats import to_turns


class Model(BaseChatModel):
    """Calls the tool that the last user message names ("call: send"), else answers; keeps what it is sent."""

    sent: list[list[BaseMessage]]

    @property
    def _llm_type(self) -> str:
        return "model"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Model:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.sent.append(list(messages))
        last = messages[-1]
        message = AIMessage(f"answer {len(self.sent)}: " + "some words " * 40)
        if isinstance(last, HumanMessage) and str(last.content).startswith("call: "):
            name = str(last.content).split()[1]
            arguments = {"city": "Oslo", "degrees": 21} if name == "Weather" else {"text": "hello"}
            message = AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call-{len(self.sent)}"}])
        return ChatResult(generations=[ChatGeneration(message=message)])


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int


def send(text: str) -> str:
    """Send a text."""
    return f"sent {text}"


def note(text: str) -> str:
    """Keep a fact for all threads of this person."""
    get_store().put(("person",), "fact", {"text": text})
    return "kept"


def said(messages: list[BaseMessage]) -> str:
    return "\n".join(message.text for message in messages)


def thread(name: str = "t") -> dict[str, Any]:
    return {"configurable": {"thread_id": name}}


@contextmanager
def opened(kind: str, folder: Path, start_redis: Callable[..., RedisServer]) -> Iterator[Any]:
    """Open a checkpointer. Redis's needs the modules JSON and search: Redis 8 brings them, Debian 12's 7.0 does not.

    A server that has them may be given as REDIS_WITH_MODULES=redis://…; the tests write into it.
    """
    if kind == "sqlite":
        with SqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
            yield saver
        return
    redis_saver = pytest.importorskip("langgraph.checkpoint.redis").RedisSaver
    url = os.environ.get("REDIS_WITH_MODULES") or start_redis().url
    with redis.Redis.from_url(url) as client:
        missing = {"search", "ReJSON"} - {str(module["name"]) for module in client.module_list()}
    if missing:
        pytest.skip(
            f"this Redis lacks the modules {sorted(missing)}: RedisSaver fails with \"unknown command 'FT.INFO'\""
        )
    with redis_saver.from_conn_string(url) as saver:
        saver.setup()
        yield saver


SAVERS = pytest.mark.parametrize("kind", ["sqlite", "redis"])


@SAVERS
def test_forks_and_time_travel_on_a_checkpointed_thread(
    kind: str, tmp_path: Path, memory_settings: dict[str, Any], start_redis: Callable[..., RedisServer]
) -> None:
    model = Model(sent=[])
    with opened(kind, tmp_path, start_redis) as saver:
        middleware = OpticalMemoryMiddleware(**{**memory_settings, "budget": 3_000})
        agent = create_agent(model, [send], middleware=[middleware], checkpointer=saver)
        for number in range(12):
            agent.invoke({"messages": [HumanMessage(f"Question {number}, about topic-{number}. " * 20)]}, thread())
        fork = next(
            state.config
            for state in agent.get_state_history(thread())
            if len(state.values.get("messages", ())) == 8 and not state.next
        )
        agent.invoke({"messages": [HumanMessage("Question on the fork.")]}, fork)
        text = said(model.sent[-1])
        assert "Question on the fork." in text and "topic-9" not in text
        assert not any("topic-11" in turn.text for turn in middleware.memory("t").recall("topic-11"))
        assert len(middleware.memory("t").superseded()) == 15  # the last answer was not given to a model yet
        agent.invoke({"messages": [HumanMessage("And on.")]}, thread())
        assert "Question on the fork." in said(model.sent[-1])
        assert agent.get_state(thread()).values["messages"][-2].content == "And on."
        middleware.close()


@SAVERS
def test_an_interrupted_call_waits_for_a_person(
    kind: str, tmp_path: Path, memory_settings: dict[str, Any], start_redis: Callable[..., RedisServer]
) -> None:
    model = Model(sent=[])
    with opened(kind, tmp_path, start_redis) as saver:
        middleware = OpticalMemoryMiddleware(**memory_settings)
        ask = HumanInTheLoopMiddleware(interrupt_on={"send": True})
        agent = create_agent(model, [send], middleware=[middleware, ask], checkpointer=saver)
        state = agent.invoke({"messages": [HumanMessage("call: send")]}, thread())
        assert state["__interrupt__"]
        state = agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), thread())
        assert [type(m) for m in model.sent[-1]] == [HumanMessage, AIMessage, ToolMessage]
        assert state["messages"][2].content == "sent hello"
        middleware.close()


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


@pytest.mark.parametrize(
    ("profile", "form", "setting"),
    [("gpt-5.4", "openai", "detail"), ("claude", "anthropic", None), ("gemini-3", "gemini", "mediaResolution")],
)
def test_the_chat_models_of_three_providers_send_pages_with_their_detail(
    profile: str, form: str, setting: str | None, memory_settings: dict[str, Any]
) -> None:
    """Through LangChain's own clients, over HTTP, to a server that refuses what the provider refuses."""
    pytest.importorskip("langchain_anthropic")
    pytest.importorskip("langchain_google_genai")
    bodies: list[Body] = []

    def script(name: str, request: Body) -> Reply:
        bodies.append(request)
        return Reply(text="Done.")

    settings = {**memory_settings, "profile": profile, "budget": 5_000}
    history: list[BaseMessage] = []
    for number in range(40):
        history += [HumanMessage(f"Note {number}: " + "it is said " * 60), AIMessage(f"Noted {number}. " * 30)]
    picture = BytesIO()
    Image.new("RGB", (64, 48), "red").save(picture, "PNG")
    data = base64.b64encode(picture.getvalue()).decode()
    history.append(
        HumanMessage(
            [{"type": "text", "text": "And this?"}, {"type": "image", "base64": data, "mime_type": "image/png"}]
        )
    )
    history += [AIMessage("Red."), HumanMessage([{"type": "text", "text": "And again?"}, OWN_BLOCKS[form](data)])]
    with serving(script) as server:
        middleware = OpticalMemoryMiddleware(**settings)
        agent = create_agent(chat_model(form, server.url), [send], middleware=[middleware], system_prompt="Be brief.")
        agent.invoke({"messages": history}, thread())
        assert not server.refused
        pages = middleware.memory("t").peek().pages
        middleware.close()
    urls = [page.url.partition(",")[2] for page in pages]
    text = str(bodies[-1]).replace("-", "+").replace("_", "/")  # Google's client writes base64 for URLs
    assert pages and all(url in text for url in (*urls, data))
    if setting:
        assert len(found(bodies[-1], setting)) == len(pages) + (form == "openai")
    listed = bodies[-1]["contents" if form == "gemini" else "messages"]
    assert data in str(listed[-1]).replace("-", "+").replace("_", "/"), "the provider's own block did not arrive"
    counted = [turn for turn in to_turns(json.loads(json.dumps(listed)), form) if not turn.is_instruction]
    assert sum(count_message(turn, get_profile(profile)) for turn in counted) <= settings["budget"], "a recount"


OWN_BLOCKS: dict[str, Callable[[str], dict[str, Any]]] = {
    "openai": lambda data: {
        "type": "image_url",
        "image_url": {"url": f"data:image/png;base64,{data}", "detail": "low"},
    },
    "anthropic": lambda data: {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": data},
    },
    "gemini": lambda data: {"type": "image_url", "image_url": f"data:image/png;base64,{data}"},
}
"""An image as each provider's users write it into a message."""


def found(value: Any, key: str) -> list[Any]:
    """Return what stands under a key anywhere in a request."""
    if isinstance(value, dict):
        own = [value[key]] if key in value else []
        return own + [one for item in value.values() for one in found(item, key)]
    return [one for item in value for one in found(item, key)] if isinstance(value, list) else []


def chat_model(form: str, url: str) -> BaseChatModel:
    if form == "openai":
        return ChatOpenAI(model="gpt-5.4", base_url=f"{url}/v1", api_key="none", use_responses_api=False)
    if form == "anthropic":
        from langchain_anthropic import ChatAnthropic

        return ChatAnthropic(model="claude-opus-5", base_url=url, api_key="none")
    from langchain_google_genai import ChatGoogleGenerativeAI

    return ChatGoogleGenerativeAI(model="gemini-3-pro", base_url=url, api_key="none")


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
