"""Google ADK: its runner, its requests, a model of its own base class."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

pytest.importorskip("google.adk")

from conformance import *  # noqa: F403
from driver import Chat, Driver, MakeDriver
from google.adk.agents import LlmAgent
from google.adk.agents.callback_context import CallbackContext
from google.adk.agents.invocation_context import InvocationContext
from google.adk.apps import App
from google.adk.events import Event
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.plugins.context_filter_plugin import ContextFilterPlugin
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService, Session
from google.genai import types

from optical_memory import OpticalMemory
from optical_memory.adapters.google_adk import OpticalMemoryPlugin
from optical_memory.budget import count_message, get_profile
from optical_memory.formats import from_turns, to_turns
from optical_memory.turns import Turn

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


class Model(BaseLlm):
    """Keeps what it is sent; asks ``recall`` where it has a question and no result yet."""

    sent: list[LlmRequest]
    question: str = ""

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        self.sent.append(llm_request)
        parts = [part for content in llm_request.contents for part in content.parts or ()]
        part = types.Part(text="Done.")
        if self.question and not any(p.function_response and p.function_response.name == "recall" for p in parts):
            call = types.FunctionCall(name="recall", args={"question": self.question, "k": 1})
            part = types.Part(function_call=call)
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


class AdkDriver(Driver):
    def __init__(self, **settings: Any) -> None:
        settings["profile"] = "gemini-3"
        if settings["budget"] == 6_000:  # its images are dear: what others keep in 6,000 tokens takes more
            settings["budget"] = 8_000
        super().__init__(**settings)
        self.model = Model(model="scripted", sent=[])
        self.agent = LlmAgent(name="helper", model=self.model, instruction="Be brief.")
        self.plugin = OpticalMemoryPlugin(**settings)
        self.sessions = InMemorySessionService()  # type: ignore[no-untyped-call]

    def objects(self, history: Sequence[Chat]) -> list[types.Content]:
        return [types.Content.model_validate(one) for one in from_turns(to_turns(history, "openai"), "gemini")]

    def as_turns(self, messages: Sequence[types.Content]) -> list[Turn]:
        return to_turns([one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in messages], "gemini")

    def chat(self, messages: Sequence[types.Content]) -> list[Chat]:
        return from_turns(self.as_turns(messages), "openai", repair=False)

    def turns(self, history: Sequence[Chat]) -> int:
        return len(self.as_turns(self.objects(history)))

    def recount(self, messages: Sequence[types.Content]) -> int:
        return sum(count_message(turn, get_profile("gemini-3")) for turn in self.as_turns(messages))

    async def send(self, thread: str, given: list[types.Content]) -> list[types.Content]:
        session = Session(id=thread, app_name="app", user_id="user")
        invocation = InvocationContext(
            invocation_id="i", session_service=self.sessions, session=session, agent=self.agent
        )
        request = LlmRequest(model="scripted", contents=list(given))
        request.contents = list(given)  # validation copies
        answer = await self.plugin.before_model_callback(
            callback_context=CallbackContext(invocation), llm_request=request
        )
        assert answer is None
        return request.contents

    async def recall(self, thread: str, given: list[types.Content], question: str) -> str:
        self.model.question = question
        session = await self.sessions.create_session(app_name="app", user_id="user", session_id=thread)
        for content in given:
            author = "helper" if content.role == "model" else "user"
            await self.sessions.append_event(session, Event(author=author, content=content, invocation_id="before"))
        app = App(name="app", root_agent=self.agent, plugins=[self.plugin])
        runner = Runner(app=app, session_service=self.sessions)
        asked = types.Content(role="user", parts=[types.Part(text="Look it up.")])
        async for _ in runner.run_async(user_id="user", session_id=thread, new_message=asked):
            pass
        parts = [part for content in self.model.sent[-1].contents for part in content.parts or ()]
        (result,) = [p.function_response for p in parts if p.function_response and p.function_response.name == "recall"]
        return str(result.response)

    def strange(self, words: str) -> types.Content:
        code = types.ExecutableCode(code=words, language=types.Language.PYTHON)
        return types.Content(role="model", parts=[types.Part(executable_code=code)])

    def memory(self, thread: str) -> OpticalMemory:
        return self.plugin.memory(f"app/user/{thread}/helper")

    def close(self) -> None:
        self.plugin._bridge.close()


@pytest.fixture
def make_driver() -> MakeDriver:
    return AdkDriver


async def test_adks_own_filter_before_it_is_followed(memory_settings: dict[str, Any]) -> None:
    plugin = OpticalMemoryPlugin(**{**memory_settings, "profile": "gemini-3"})
    model = Model(model="scripted", sent=[])
    agent = LlmAgent(name="helper", model=model, instruction="Be brief.")
    app = App(name="app", root_agent=agent, plugins=[ContextFilterPlugin(num_invocations_to_keep=2), plugin])
    sessions = InMemorySessionService()  # type: ignore[no-untyped-call]
    await sessions.create_session(app_name="app", user_id="user", session_id="t")
    runner = Runner(app=app, session_service=sessions)
    for number in range(6):
        asked = types.Content(role="user", parts=[types.Part(text=f"Note {number}.")])
        async for _ in runner.run_async(user_id="user", session_id="t", new_message=asked):
            pass
    shown = [part.text for content in model.sent[-1].contents for part in content.parts or ()]
    assert shown == ["Note 4.", "Done.", "Note 5."]
    assert [turn.text for turn in plugin.memory("app/user/t/helper").turns()] == shown
    await plugin.close()
