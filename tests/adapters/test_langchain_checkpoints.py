"""Threads of LangGraph's checkpointers: forks, time travel, interrupts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain")
pytest.importorskip("langgraph.checkpoint.sqlite")

import redis
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_model import Model, said, send, thread
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command
from redis_server import RedisServer

from optical_memory.adapters.langchain import OpticalMemoryMiddleware


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
