"""The code in the adapters' documents runs as it stands, with the framework's own objects for a model and tools."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from provider_server import Provider

DOCS = Path(__file__).resolve().parents[2] / "docs" / "adapters"
BLOCKS = [
    (path.stem, number, block)
    for path in sorted(DOCS.glob("*.md"))
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.DOTALL))
]
NEEDS = {
    "crewai": "crewai",
    "agent_framework": "agent_framework",
    "haystack": "haystack",
    "google_adk": "google.adk",
    "langchain": "langchain",
    "llama_index": "llama_index.core",
    "mcp": "mcp.server.mcpserver",
    "openai_agents": "agents",
    "pydantic_ai": "pydantic_ai",
}
"""The package of each document's framework."""


def given(name: str, server: Provider) -> dict[str, Any]:
    """Return what a document's code takes for granted."""
    if name == "langchain":
        from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
        from langgraph.checkpoint.memory import InMemorySaver

        class Fake(GenericFakeChatModel):
            def bind_tools(self, tools: Any, **kwargs: Any) -> Fake:
                return self

        return {"model": Fake(messages=iter(["Hi."])), "tools": [], "checkpointer": InMemorySaver()}
    if name == "openai_agents":
        from agents import OpenAIResponsesModel, set_tracing_disabled
        from openai_client import openai_client

        set_tracing_disabled(True)
        return {"model": OpenAIResponsesModel("gpt-5", openai_client(server))}
    if name == "pydantic_ai":
        from pydantic_ai.models.test import TestModel

        return {"model": TestModel(call_tools=[])}
    if name == "llama_index":
        from llama_index.core.llms.mock import MockFunctionCallingLLM

        return {"llm": MockFunctionCallingLLM()}
    if name == "haystack":
        from haystack.components.generators.chat import MockChatGenerator

        return {"generator": MockChatGenerator()}
    if name == "agent_framework":
        from agent_framework import BaseChatClient

        class Client(BaseChatClient[Any]):
            async def _inner_get_response(self, **more: Any) -> Any:
                raise NotImplementedError

        return {"client": Client()}
    return {}


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")  # in frameworks
@pytest.mark.parametrize(("name", "number", "block"), BLOCKS, ids=[f"{name}-{number}" for name, number, _ in BLOCKS])
def test_block_runs(
    name: str, number: int, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: Provider
) -> None:
    pytest.importorskip(NEEDS[name])
    monkeypatch.chdir(tmp_path)
    exec(compile(block, f"{name}.md, block {number + 1}", "exec"), given(name, provider))
