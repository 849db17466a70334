"""Whole requests: the official SDKs' types know them, and their clients send them to a server that checks them."""

from __future__ import annotations

import json
import warnings
from typing import Any

import anthropic
import openai
import provider_rules
import pytest
from provider_server import Provider

from optical_memory import OpticalMemory, profiles
from optical_memory.budget import get_profile
from optical_memory.errors import InputError, NotFoundError
from optical_memory.formats import FORMATS, to_turns
from optical_memory.formats.openai import GATEWAYS
from optical_memory.formats.request import OPENING, build_request
from optical_memory.recall import RecallTool
from optical_memory.turns import Turn

Conversations = dict[str, list[dict[str, Any]]]
RECALL = RecallTool(lambda **asked: [])
WEATHER = {"type": "object", "properties": {"place": {"type": "string"}}}
SHAPES = {
    "plain": {"name": "weather", "description": "Tell it.", "parameters": WEATHER},
    "openai": {"type": "function", "function": {"name": "weather", "description": "Tell it.", "parameters": WEATHER}},
    "responses": {
        "type": "function", "name": "weather", "description": "Tell it.", "parameters": WEATHER, "strict": False,
    },
    "anthropic": {"name": "weather", "description": "Tell it.", "input_schema": WEATHER},
    "gemini": {
        "functionDeclarations": [{"name": "weather", "description": "Tell it.", "parametersJsonSchema": WEATHER}]
    },
}  # fmt: skip


def send(format: str, request: dict[str, Any], url: str) -> str:
    """Send a request with the provider's own client, and return what the model says."""
    if format == "anthropic":
        with anthropic.Anthropic(api_key="k", base_url=url, max_retries=0) as client:
            return client.messages.create(model="claude", max_tokens=9, **request).content[0].text
    if format == "gemini":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from google import genai
        with genai.Client(api_key="k", http_options={"base_url": url}) as client:
            return client.models.generate_content(model="gemini-3-pro", **request).text or ""
    with openai.OpenAI(api_key="k", base_url=f"{url}/v1", max_retries=0) as client:
        if format == "responses":
            return client.responses.create(model="gpt-5", **request).output_text
        return client.chat.completions.create(model="gpt-5", **request).choices[0].message.content or ""


CLIENTS = ("openai", "responses", "anthropic", "gemini")


@pytest.mark.parametrize("target", CLIENTS)
@pytest.mark.parametrize("source", FORMATS)
def test_the_real_clients_send_every_conversation(
    source: str, target: str, conversations: Conversations, provider: Provider
) -> None:
    turns = to_turns(conversations[source], source)
    request = build_request(turns, target, tools=[RECALL, SHAPES["plain"]])
    provider.signatures.update(provider_rules.signatures(conversations[source]))
    assert send(target, request, provider.url) == "Done.", provider.refused
    ((name, arrived),) = provider.requests
    assert name == target
    given = [data.translate(provider_rules.URLSAFE) for _, data in provider_rules.inline_images(arrived)]
    assert given == [data for _, data in provider_rules.inline_images(request)] and given


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_requests_hold_the_librarys_types(source: str, target: str, conversations: Conversations) -> None:
    turns = to_turns(conversations[source], source)
    request = build_request(turns, target, tools=[RECALL])
    assert json.loads(json.dumps(request)) == request
    provider_rules.check(target, request)
    for start in range(len(turns)):
        for end in (start + 1, start + 3, len(turns)):
            part = [turn for turn in turns[start:end] if not turn.tool_calls or end == len(turns)]
            provider_rules.check(target, build_request(part, target))


@pytest.mark.parametrize("target", FORMATS)
def test_requests_of_real_transcripts(target: str, airline_sessions: list[dict[str, Any]]) -> None:
    for session in airline_sessions[:4]:
        messages = session["messages"]
        for end in range(1, len(messages) + 1):
            if not messages[end - 1].get("tool_calls"):
                provider_rules.check(target, build_request(to_turns(messages[:end]), target, tools=[RECALL]))


def as_openai_takes_it(request: dict[str, Any], details: list[str]) -> dict[str, Any]:
    """Return a request with the settings for Gemini, which a gateway hands on to it, as one that OpenAI has."""
    text = json.dumps(request)
    for detail in details:
        text = text.replace(f'"detail": "{GATEWAYS[detail]}"', '"detail": "high"')
    changed: dict[str, Any] = json.loads(text)
    return changed


@pytest.mark.parametrize("name", profiles())
def test_a_memorys_pages_arrive_at_every_provider(
    name: str, coding_session: dict[str, Any], provider: Provider
) -> None:
    profile = get_profile(name)
    with OpticalMemory(profile=name, budget=16_000, renderer="dense") as memory:
        memory.extend(coding_session["messages"])
        context = memory.context(draw=True)
        turns, pages = context.turns(), context.pages
    for target in FORMATS:
        request = build_request(turns, target, tools=[RECALL])
        if target in ("openai", "responses"):
            request = as_openai_takes_it(request, [detail for detail in profile.detail.values() if detail in GATEWAYS])
        provider_rules.check(target, request, images=profile.max_images, side=profile.max_side(len(pages)))
        assert len(list(provider_rules.inline_images(request))) == len(pages) > 0
        if target in CLIENTS:
            assert send(target, request, provider.url) == "Done.", provider.refused


def test_the_shapes() -> None:
    turns = to_turns(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "developer", "content": "Use metric units."},
            {"role": "assistant", "content": "Hello."},
        ]
    )
    openai_messages = build_request(turns, "openai")["messages"]
    assert [message["role"] for message in openai_messages] == ["system", "user", "developer", "assistant"]
    assert build_request(turns, "responses") == {
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": "Hi"},
            {"role": "developer", "content": "Use metric units."},
            {"role": "assistant", "content": "Hello."},
        ],
    }
    assert build_request(turns, "anthropic") == {
        "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Use metric units."}],
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}],
    }
    assert build_request(turns[:2], "anthropic")["system"] == "Be brief."
    assert build_request(turns, "gemini", tools=[SHAPES["plain"]]) == {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": [{"text": "Hello."}]}],
        "config": {
            "system_instruction": {"parts": [{"text": "Be brief."}, {"text": "Use metric units."}]},
            "tools": [SHAPES["gemini"]],
        },
    }
    assert build_request(turns[1:2], "gemini").keys() == {"contents"}
    assert build_request(turns, "huggingface").keys() == {"messages"}


@pytest.mark.parametrize("target", FORMATS)
def test_a_request_begins_with_the_user(target: str) -> None:
    system, call = Turn(id="s", role="system", text="Be brief."), {"id": "c", "type": "function"}
    greeting = {"role": "assistant", "content": "How can I help?"}
    made = {"role": "assistant", "content": None, "tool_calls": [call | {"function": {"name": "f", "arguments": "{}"}}]}
    answer = {"role": "tool", "tool_call_id": "c", "content": "ok"}
    for messages in ([], [greeting], [made, answer], [answer], [greeting, {"role": "user", "content": "Hi"}]):
        turns = [system, *to_turns(messages)]
        request = build_request(turns, target)
        provider_rules.check(target, request)
        opened = bool(messages) and messages[0] is answer  # an answer alone is a user's record
        assert json.dumps(request).count(OPENING) == (not opened)
        assert build_request(turns, target) == request
    with_user = build_request(to_turns([{"role": "user", "content": "Hi"}, greeting]), target)
    assert OPENING not in json.dumps(with_user)


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_functions_of_any_shape_become_the_targets(shape: str, target: str) -> None:
    written = build_request([], target, tools=[SHAPES[shape]])
    tools = written["config"]["tools"] if target == "gemini" else written["tools"]
    assert tools == [SHAPES["openai" if target == "huggingface" else target]]
    provider_rules.check(target, written)


def test_tools_in_the_providers_own_shape_pass_as_they_are() -> None:
    own = {
        "openai": [{"type": "function", "function": {"name": "f", "strict": True, "parameters": WEATHER}}],
        "responses": [{"type": "web_search"}, SHAPES["responses"] | {"strict": True}],
        "anthropic": [
            {"type": "web_search_20250305", "name": "web_search"},
            SHAPES["anthropic"] | {"cache_control": {"type": "ephemeral"}},
        ],
        "gemini": [{"googleSearch": {}}],
    }
    for target, tools in own.items():
        request = build_request([], target, tools=tools)
        provider_rules.check(target, request)
        assert (request["config"] if target == "gemini" else request)["tools"] == tools


def test_gemini_takes_all_functions_in_one_tool() -> None:
    tools = [RECALL, SHAPES["gemini"], {"googleSearch": {}}, SHAPES["openai"] | {}]
    functions, search = build_request([], "gemini", tools=tools)["config"]["tools"]
    assert [one["name"] for one in functions["functionDeclarations"]] == ["recall", "weather", "weather"]
    assert search == {"googleSearch": {}}


def test_schemas_in_googles_own_spelling_are_read() -> None:
    schema = {"type": "OBJECT", "properties": {"type": {"type": "ARRAY", "items": {"type": "STRING"}}}}
    tool = {"function_declarations": [{"name": "f", "parameters": schema}]}
    (made,) = build_request([], "anthropic", tools=[tool])["tools"]
    assert made["input_schema"] == {
        "type": "object", "properties": {"type": {"type": "array", "items": {"type": "string"}}}
    }  # fmt: skip
    (bare,) = build_request([], "anthropic", tools=[{"name": "now", "description": "The time."}])["tools"]
    assert bare["input_schema"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("tools", "said"), [("x", "tools must be a list"), ({}, "tools must be"), ([7], r"tools\[0\]")]
)
def test_what_is_no_tool_is_named(tools: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        build_request([], "openai", tools=tools)
    with pytest.raises(NotFoundError, match="there are anthropic"):
        build_request([], "grok")


def test_what_a_provider_refuses_stays_behind() -> None:
    """Answers of the providers' own libraries, put into the history as they came, can be sent again."""
    answer = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
    empty = to_turns([{"role": "user", "content": "Hi"}, answer | {"content": []}, answer | {"id": "msg_2", "content": [
        {"type": "text", "text": " "}, {"type": "text", "text": "Yes."}]}], "anthropic")  # fmt: skip
    assert build_request(empty, "anthropic")["messages"] == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]},
    ]
    signed = {"text": "", "thoughtSignature": "c2ln"}
    parts = [{"text": ""}, signed]
    cut = to_turns([{"parts": [{"text": "Hi"}], "id": "x"}, {"role": "model", "parts": parts}, {"role": "model"}])
    assert build_request(cut, "gemini")["contents"] == [
        {"role": "user", "parts": [{"text": "Hi"}]},
        {"role": "model", "parts": [signed]},
    ]
    chat = to_turns([{"id": "a", "role": "user", "content": "Hi"}, {"role": "assistant", "content": None}])
    assert build_request(chat, "openai")["messages"] == [{"role": "user", "content": "Hi"}]
    items = to_turns([{"type": "message", "role": "user", "content": "Hi", "id": "mine"}])
    assert build_request(items, "responses")["input"] == [{"type": "message", "role": "user", "content": "Hi"}]


def test_every_rule_of_the_server_can_refuse(provider: Provider) -> None:
    """The checks themselves: each broken request is refused by the server, with the client's own error."""
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    user = {"role": "user", "content": "Hi"}
    broken: list[list[dict[str, Any]]] = [
        [],
        [{"role": "assistant", "content": "Hi"}],
        [user, {"role": "assistant", "content": [call]}],
        [user, {"role": "assistant", "content": [call]}, user],
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}],
        [{"role": "user", "content": [{"type": "text", "text": " "}]}],
        [user | {"id": "x"}],
        [{"role": "user", "content": [{"type": "image", "source": {
            "type": "base64", "media_type": "image/png", "data": "AAAA"}}]}],
    ]  # fmt: skip
    for messages in broken:
        with pytest.raises(anthropic.BadRequestError):
            send("anthropic", {"messages": messages}, provider.url)
    with pytest.raises(openai.BadRequestError):
        send("openai", {"messages": [user, {"role": "tool", "tool_call_id": "c", "content": "x"}]}, provider.url)
    with pytest.raises(openai.BadRequestError):
        send(
            "responses",
            {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}]},
            provider.url,
        )
    assert len(provider.refused) == len(broken) + 2 and not provider.requests
