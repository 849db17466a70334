"""What LangChain's clients of three providers send over HTTP."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest

pytest.importorskip("langchain")
pytest.importorskip("langchain_openai")

from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_model import send, thread
from langchain_openai import ChatOpenAI
from PIL import Image
from provider_server import Body, Reply, serving

from optical_memory.adapters.langchain import OpticalMemoryMiddleware
from optical_memory.budget import count_message, get_profile
from optical_memory.formats import to_turns


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
