"""CrewAI: its agent, its executor, a model of its own base class."""

from __future__ import annotations

import os
from typing import Any

import pytest

os.environ["CREWAI_DISABLE_TELEMETRY"] = os.environ["OTEL_SDK_DISABLED"] = "true"
pytest.importorskip("crewai")

from crewai import Agent, BaseLLM, Crew, Task
from crewai.hooks import (
    HookAborted,
    clear_after_llm_call_hooks,
    get_before_llm_call_hooks,
    register_after_llm_call_hook,
)
from crewai.tools import tool

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


def test_a_memory_that_fails_is_an_error_that_reaches_the_caller(memory_settings: dict[str, Any]) -> None:
    registered = register_optical_memory(**{**memory_settings, "budget": 8})
    try:
        with pytest.raises(HookAborted, match="budget"):
            work(Model(model="scripted", sent=[]), [shelf], registered)
    finally:
        registered.unregister()
