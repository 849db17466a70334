"""Agents that run through the proxy as they stand: LangChain's loop, and one that thinks, with signatures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from provider_server import Body, Reply
from proxying import KEY, proxied

pytest.importorskip("langchain")
pytest.importorskip("langchain_openai")

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

STEPS = 30


def answers(request: Body) -> int:
    """Count the model's calls that are in a request, or on its pages, by what the newest result says."""
    newest = json.dumps(request["messages"][-1])
    return int(newest.partition("step=")[2].partition(";")[0]) if "step=" in newest else 0


@tool
def read_file(path: str) -> str:
    """Read a file."""
    number = int(path.rpartition("_")[2])
    lines = [f"def handler_{number}_{line}(request): return response_{line}({number})" for line in range(60)]
    return f"step={number};\n" + "\n".join(lines)


def working(name: str, request: Body) -> Reply:
    """Read one file after the other, until there are no more."""
    newest = json.dumps(request["messages"][-1])
    if "pages" in newest or "image" in newest:  # the newest result is on pages: what it was is in its call
        calls = [call for message in request["messages"] for call in message.get("tool_calls") or ()]
        done = int(json.loads(calls[-1]["function"]["arguments"])["path"].rpartition("_")[2])
    else:
        done = answers(request)
    return Reply(text="All read.") if done >= STEPS else Reply(tool="read_file", arguments={"path": f"file_{done + 1}"})


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_langchain_agent_works_through_the_proxy(tmp_path: Path, stream: bool) -> None:
    with proxied(
        tmp_path, format="openai", script=working, proxy_budget=8_000, proxy_from_tokens=2_000, proxy_recall=not stream
    ) as found:
        model = ChatOpenAI(
            model="gpt-5", base_url=f"{found.url}/v1", api_key="sk-own", default_headers={KEY: found.key},
            streaming=stream, max_retries=0,
        )  # fmt: skip
        agent = create_agent(model, tools=[read_file])
        state = agent.invoke({"messages": [HumanMessage("Read all files.")]}, {"recursion_limit": 200})
        assert state["messages"][-1].text == "All read."
        assert len(state["messages"]) == 2 + 2 * STEPS, "the agent's own history is whole"
        assert found.provider.refused == [] and len(found.provider.requests) == STEPS + 1
        assert "image/png" in json.dumps(found.provider.requests[-1][1])
        shares = [one.cached / one.total for one in found.provider.counted[-8:]]
        assert sum(shares) / len(shares) > 0.5


def thinking(name: str, request: Body) -> Reply:
    """Think before each step."""
    calls = [
        block
        for message in request["messages"]
        if message["role"] == "assistant"
        for block in message["content"]
        if block["type"] == "tool_use"
    ]
    done = int(calls[-1]["input"]["path"].rpartition("_")[2]) if calls else 0
    if done >= STEPS:
        return Reply(text="All read.", thinking="That was the last.")
    return Reply(tool="read_file", arguments={"path": f"file_{done + 1}"}, thinking=f"File {done + 1} comes next.")


def test_thoughts_come_back_signed_as_they_were(tmp_path: Path) -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"path": {"type": "string"}}}
    tools = [{"name": "read_file", "description": "Read a file.", "input_schema": schema}]
    with proxied(tmp_path, script=thinking, proxy_budget=8_000, proxy_from_tokens=2_000) as found:
        client, messages, done = found.anthropic(), [{"role": "user", "content": "Read all files."}], []
        for _ in range(STEPS + 1):
            with client.messages.stream(
                model="claude-opus-5-5", max_tokens=4_000, thinking={"type": "enabled", "budget_tokens": 2_000},
                tools=tools, messages=messages, cache_control={"type": "ephemeral"},
            ) as stream:  # fmt: skip
                answer = stream.get_final_message()
                done.append(stream.response.headers["x-optical-memory"])
            messages.append({"role": "assistant", "content": [block.model_dump() for block in answer.content]})
            if answer.stop_reason != "tool_use":
                break
            call = answer.content[-1]
            result = {"type": "tool_result", "tool_use_id": call.id, "content": read_file.invoke(call.input)}
            messages.append({"role": "user", "content": [result]})
        assert answer.content[-1].text == "All read." and len(messages) == 2 * STEPS + 2
        assert found.provider.refused == [] and done.count("compressed") > STEPS / 2
        last = found.provider.requests[-1][1]
        assert "image/png" in json.dumps(last), "older steps are pages"
        kept = [block for message in last["messages"] for block in message["content"] if isinstance(block, dict)]
        assert any(block["type"] == "thinking" for block in kept), "the newest thoughts are as they were"
