"""A model of LangChain's own class for the tests of its agents, and what they have in common."""

from __future__ import annotations

from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult


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


def send(text: str) -> str:
    """Send a text."""
    return f"sent {text}"


def said(messages: list[BaseMessage]) -> str:
    return "\n".join(message.text for message in messages)


def thread(name: str = "t") -> dict[str, Any]:
    return {"configurable": {"thread_id": name}}
