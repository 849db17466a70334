"""Asking a memory through an endpoint: the recall loop, sources, certainty, and what is not there."""

from __future__ import annotations

import gc
import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from provider_server import Body, Provider, Reply
from typer.testing import CliRunner

from optical_memory import AsyncOpticalMemory, OpticalMemory
from optical_memory.cli import app
from optical_memory.endpoint import Endpoint
from optical_memory.errors import EndpointError, InputError, LimitError

SETTINGS: dict[str, Any] = {"profile": "gpt-5", "renderer": "dense", "budget": 4_000}


def reading(name: str, request: Body) -> Reply:
    """A model that looks the question up, and answers with the code that the recalled turns hold."""
    last = request["messages"][-1]
    if last["role"] == "user":
        question = str(last["content"]).rpartition("Question: ")[2]
        return Reply(tool="recall", arguments={"question": question})
    found = re.search(r"locker is ([A-Z0-9-]+)", last["content"])
    return Reply(text=f"{found[1]}." if found else "That is not in the memory.")


@pytest.fixture
def memory(airline_sessions: list[dict[str, Any]]) -> Any:
    with OpticalMemory(**SETTINGS) as memory:
        memory.add("user", "Note this: the code of my locker is QX7-4402-TT.", id="locker")
        for session in airline_sessions[:4]:
            memory.extend(session["messages"][1:])
            memory.context()
        yield memory


def test_an_answer_names_the_turn_it_rests_on(memory: OpticalMemory, provider: Provider) -> None:
    provider.script = reading
    reply = memory.ask("What is the code of my locker?", model=Endpoint(f"{provider.url}/v1", model="m"))
    assert (reply.text, reply.found, reply.certainty) == ("QX7-4402-TT.", True, 1.0)
    assert reply.unproven == () and reply.caution == ""
    assert reply.sources[0].turn_id == "locker"
    assert reply.usage.requests == 2 and not provider.refused
    page = reply.sources[0].page
    if page is not None:
        assert "locker" in {turn.id for turn in memory.recall(page=page, line=reply.sources[0].line)}
    first = json.dumps(provider.requests[0][1]["messages"])
    assert "data:image/png" in first and "Question: What is the code" in first


def test_a_question_can_be_asked_while_the_agent_waits_for_results(memory: OpticalMemory, provider: Provider) -> None:
    provider.script = reading
    call = {"id": "open", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    memory.extend([{"role": "assistant", "content": None, "tool_calls": [call]}], format="openai")
    reply = memory.ask("What is the code of my locker?", model=Endpoint(f"{provider.url}/v1", model="m"))
    assert reply.text == "QX7-4402-TT." and not provider.refused


async def test_what_is_not_there_is_said(memory: OpticalMemory, provider: Provider) -> None:
    provider.script = reading
    own = AsyncOpticalMemory(memory=memory)
    reply = await own.ask("What is the colour of my boat?", model=Endpoint(f"{provider.url}/v1", model="m"))
    assert not reply.found and reply.sources == () and reply.certainty == 0.0


def test_a_value_that_stands_nowhere_lowers_the_certainty(memory: OpticalMemory, provider: Provider) -> None:
    provider.script = lambda name, request: Reply(text="The locker has the code ZZ9-0000-AA.")
    reply = memory.ask("What is the code of my locker?", model=Endpoint(f"{provider.url}/v1", model="m"))
    assert reply.certainty == 0.0 and reply.unproven == ("ZZ9-0000-AA",)
    assert reply.caution == "in none of these turns word for word: ZZ9-0000-AA"


def test_bad_input_and_a_model_that_only_calls(memory: OpticalMemory, provider: Provider) -> None:
    endpoint = Endpoint(f"{provider.url}/v1", model="m")
    for question in ("", " ", "word " * 20_000):
        with pytest.raises(LimitError):
            memory.ask(question, model=endpoint)
    with pytest.raises(InputError, match="does not answer"):
        memory.ask("What?", model=object())
    provider.script = lambda name, request: Reply(tool="recall", arguments={"question": "x"})
    with pytest.raises(EndpointError, match="answered nothing"):
        memory.ask("What?", model=endpoint)
    with pytest.raises(EndpointError):
        memory.ask("What?", model=Endpoint("http://127.0.0.1:9/v1", model="m", retries=0))
    assert "key" not in repr(Endpoint(provider.url, model="m", key="secret-key"))


def test_an_endpoint_that_nobody_closes_leaves_no_connection(provider: Provider) -> None:
    messages = [{"role": "user", "content": "What?"}]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        Endpoint(f"{provider.url}/v1", model="m").complete(messages, max_tokens=9)
        gc.collect()
    assert not [warning for warning in caught if f", {provider.url.rpartition(':')[2]})" in str(warning.message)]
    held = Endpoint(f"{provider.url}/v1", model="m")
    held.complete(messages, max_tokens=9)
    held.close()
    held.close()


def test_the_command_answers_and_says_where(memory: OpticalMemory, provider: Provider, tmp_path: Path) -> None:
    provider.script = reading
    store = f"sqlite:///{tmp_path / 'memory.db'}"
    with OpticalMemory("trip", store=store, **SETTINGS) as kept:
        kept.add("user", "The code of my locker is QX7-4402-TT.", id="locker")
    common = ["ask", "trip", "What is the code of my locker?", "--store", store, "--profile", "gpt-5"]
    common += ["--renderer", "dense", "--url", f"{provider.url}/v1", "--model", "m"]
    result = CliRunner().invoke(app, common)
    assert result.exit_code == 0, result.output
    assert "QX7-4402-TT." in result.stdout and "from turn locker" in result.stdout
    assert "word for word" not in result.stdout
    figures = json.loads(CliRunner().invoke(app, [*common, "--json"]).stdout)
    assert figures["sources"][0]["turn_id"] == "locker" and figures["found"]
    provider.script = lambda name, request: Reply(text="It is ZZ9-0000-AA.")
    assert "in none of these turns word for word: ZZ9-0000-AA" in CliRunner().invoke(app, common).stdout
    for wrong in (["ask", "none", "What?", "--store", store, "--renderer", "dense"], [*common[:-2]]):
        assert CliRunner().invoke(app, wrong).exit_code == 1
