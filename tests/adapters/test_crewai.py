"""CrewAI: its agent, its executor, a model of its own base class."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

with pytest.MonkeyPatch.context() as environment:
    environment.setenv("CREWAI_DISABLE_TELEMETRY", "true")  # it is looked at when CrewAI is imported, too
    pytest.importorskip("crewai")

from conformance import *  # noqa: F403
from crewai import Agent, BaseLLM, Crew, Task
from crewai.hooks import (
    HookAborted,
    clear_after_llm_call_hooks,
    clear_before_llm_call_hooks,
    get_before_llm_call_hooks,
    register_after_llm_call_hook,
    register_before_llm_call_hook,
)
from crewai.tools import tool
from crewai.utilities.agent_utils import get_llm_response
from crewai_core.printer import Printer
from driver import Chat, Driver, MakeDriver

from optical_memory import OpticalMemory
from optical_memory.adapters.crewai import register_optical_memory
from optical_memory.budget import count_message, get_profile
from optical_memory.formats import to_turns

pytestmark = pytest.mark.filterwarnings("ignore")


class Model(BaseLLM):
    """Looks at shelf after shelf, then recalls, then answers; keeps what it is sent."""

    sent: list[Any]
    steps: int = 10

    def call(self, messages: Any, tools: Any = None, **more: Any) -> str:
        self.sent.append([dict(message) for message in messages])
        count = len(self.sent)
        if count == self.steps:
            return 'Thought: look up\nAction: recall\nAction Input: {"question": "code-0001 key", "k": 1}'
        if count < self.steps:
            return f'Thought: look\nAction: shelf\nAction Input: {{"number": {count}}}'
        return "Thought: I now know the final answer\nFinal Answer: Done."

    def supports_function_calling(self) -> bool:
        return False


class Asking(BaseLLM):
    """Asks ``recall`` where it has a question and no answer yet; keeps what it is sent."""

    sent: list[Any]
    question: str = ""

    def call(self, messages: Any, tools: Any = None, **more: Any) -> str:
        self.sent.append(list(messages))
        if self.question and len(self.sent) == 1:
            return f'Thought: look up\nAction: recall\nAction Input: {{"question": "{self.question}", "k": 1}}'
        return "Thought: I now know the final answer\nFinal Answer: Done."

    def supports_function_calling(self) -> bool:
        return False


class CrewDriver(Driver):
    """Calls the model as an executor does, hooks and all; each thread is an agent of its own, named by its role."""

    asynchronous = False
    error = HookAborted

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.registered = register_optical_memory(thread=lambda context: str(context.agent.role), **settings)
        self.model = Asking(model="scripted", sent=[])
        self.executors: dict[str, Any] = {}

    def agent(self, thread: str, tools: Sequence[Any] = ()) -> tuple[Agent, Task]:
        agent = Agent(role=thread, goal="look", backstory="short", llm=self.model, tools=list(tools))
        return agent, Task(description="Look it up.", expected_output="a word", agent=agent)

    def objects(self, history: Sequence[Chat]) -> list[Chat]:
        return [dict(message) for message in history]

    def chat(self, messages: Sequence[Chat]) -> list[Chat]:
        return [dict(message) for message in messages]

    async def send(self, thread: str, given: list[Chat]) -> list[Chat]:
        if thread not in self.executors:
            agent, task = self.agent(thread)
            agent.create_agent_executor(task=task)
            self.executors[thread] = agent.agent_executor
        executor = self.executors[thread]
        executor.messages[:] = given
        try:
            get_llm_response(self.model, executor.messages, [], Printer(), executor_context=executor, verbose=False)
        finally:
            assert list(map(id, executor.messages)) == list(map(id, given)), "the executor's list is not whole"
        got: list[Chat] = self.model.sent[-1]
        return got

    async def recall(self, thread: str, given: list[Chat], question: str) -> str:
        """Give an agent at work the history to begin with."""
        self.model.sent.clear()
        self.model.question = question

        def begin(context: Any) -> None:
            if not self.model.sent:
                context.messages[:0] = given

        clear_before_llm_call_hooks()
        register_before_llm_call_hook(begin)
        register_before_llm_call_hook(self.registered.before)
        agent, task = self.agent(thread, [self.registered.recall_tool(thread)])
        await asyncio.to_thread(Crew(agents=[agent], tasks=[task]).kickoff)
        results = [str(m["content"]) for m in self.model.sent[1] if "Observation:" in str(m.get("content"))]
        return results[-1]  # the first is CrewAI's own word on how to call tools

    def strange(self, words: str) -> Chat:
        return {"role": "critic", "content": words}

    def memory(self, thread: str) -> OpticalMemory:
        return self.registered.memory(thread)

    def close(self) -> None:
        self.registered.unregister()
        clear_before_llm_call_hooks()


@pytest.fixture
def make_driver() -> MakeDriver:
    return CrewDriver


@tool("shelf")
def shelf(number: int) -> str:
    """Look at a shelf."""
    return f"shelf {number}: code-{number:04}, " + ("one key" if number == 1 else "boxes and their contents; " * 150)


def work(model: Model, tools: list[Any], registered: Any) -> Task:
    agent = Agent(role="keeper", goal="look", backstory="short", llm=model, tools=tools)
    task = Task(description="Look at the shelves.", expected_output="a word", agent=agent)
    task.tools = [*tools, registered.recall_tool(f"{task.id}/{agent.id}")]
    Crew(agents=[agent], tasks=[task]).kickoff()
    return task


def test_a_long_task_is_bounded_and_the_executors_list_stays_whole(memory_settings: dict[str, Any]) -> None:
    registered = register_optical_memory(**{**memory_settings, "budget": 3_000})
    lengths: list[int] = []
    register_after_llm_call_hook(lambda context: lengths.append(len(context.messages)))
    model = Model(model="scripted", sent=[])
    try:
        task = work(model, [shelf], registered)
    finally:
        registered.unregister()
        clear_after_llm_call_hooks()
    assert registered.before not in get_before_llm_call_hooks()
    profile = get_profile("gpt-5")
    for sent in model.sent:
        assert sum(count_message(turn, profile) for turn in to_turns(sent, "openai")) <= 3_000
    assert lengths == sorted(set(lengths)) and lengths[-1] > len(model.sent[-1]), "the executor lost messages"
    assert "image_url" in str(model.sent[-1])
    assert "code-0001, one key" in str(model.sent[-1][-3:]), "the recall tool did not answer"
    assert "one key" not in str(model.sent[-2]), "it was still in the context"
    assert task.output is not None and task.output.raw == "Done."


def test_a_memory_that_fails_ends_the_kickoff(memory_settings: dict[str, Any]) -> None:
    registered = register_optical_memory(**{**memory_settings, "budget": 8})
    try:
        with pytest.raises(HookAborted, match="budget"):
            work(Model(model="scripted", sent=[]), [shelf], registered)
    finally:
        registered.unregister()
