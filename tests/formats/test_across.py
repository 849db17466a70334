"""What travels from one format to another, held against the providers' own libraries."""

from __future__ import annotations

import base64
import json
import warnings
from io import BytesIO
from typing import Any

import provider_rules
import pytest
from PIL import Image

from optical_memory.formats import FORMATS, from_turns, get_format, split_system, to_turns
from optical_memory.turns import Turn, open_calls

Conversations = dict[str, list[dict[str, Any]]]
PAIRS = [(source, target) for source in FORMATS for target in FORMATS if source != target]


def assert_accepted(messages: list[dict[str, Any]], name: str) -> None:
    """Raise where the provider's own library does not know these shapes."""
    system, rest = split_system(messages, name)
    if name in ("openai", "responses", "anthropic"):
        provider_rules.typed(f"{name} {'input' if name == 'responses' else 'messages'}", rest)
        assert system is None or isinstance(system, str) or all(block["type"] == "text" for block in system)
    elif name == "gemini":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from google.genai.types import Content
        for content in [*rest, *([system] if system else [])]:
            Content.model_validate_json(json.dumps(content))
    else:
        assert all(isinstance(message["content"], list) for message in rest)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_libraries_accept_what_leaves(source: str, target: str, conversations: Conversations) -> None:
    assert_accepted(from_turns(to_turns(conversations[source], source), target), target)


@pytest.mark.parametrize("target", [name for name in FORMATS if name != "openai"])
def test_libraries_accept_real_transcripts(target: str, airline_sessions: list[dict[str, Any]]) -> None:
    for session in airline_sessions[:6]:
        assert_accepted(from_turns(to_turns(session["messages"]), target), target)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_texts_calls_and_results_travel(source: str, target: str, conversations: Conversations) -> None:
    turns = to_turns(conversations[source], source)
    there = to_turns(from_turns(turns, target), target)
    written = json.dumps(from_turns(turns, target), ensure_ascii=False)
    for turn in turns:
        for line in turn.text.split("\n"):
            assert json.dumps(line, ensure_ascii=False)[1:-1] in written
    calls = [(call.id, call.name) for turn in turns for call in turn.tool_calls]
    assert [(call.id, call.name) for turn in there for call in turn.tool_calls] == calls
    results = {turn.tool_call_id: turn.text for turn in turns if turn.role == "tool"}
    for turn in there:
        if turn.role == "tool":  # where a result takes text alone, a placeholder stands for its image
            assert turn.text.replace("[image 64×48]", "").rstrip() == results.pop(turn.tool_call_id).rstrip()
    assert results == {}
    assert open_calls(there) == {}


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_users_images_stay_images(source: str, target: str, conversations: Conversations) -> None:
    def images(turns: list[Turn]) -> list[str]:
        return [part.url for turn in turns if turn.role == "user" for part in turn.parts if part.kind == "image"]

    turns = to_turns(conversations[source], source)
    there = to_turns(from_turns(turns, target), target)
    given = [url for url in images(turns) if url]
    assert images(there)[: len(given)] == given and given


@pytest.mark.parametrize("target", FORMATS)
def test_images_of_results_travel(target: str, conversations: Conversations, png_base64: str) -> None:
    for source in ("responses", "anthropic"):
        assert png_base64 in json.dumps(from_turns(to_turns(conversations[source][2:], source), target))


def test_where_images_of_results_go_in_openai(conversations: Conversations) -> None:
    messages = from_turns(to_turns(conversations["anthropic"], "anthropic"), "openai")
    assert [message["role"] for message in messages][2:7] == ["assistant", "tool", "tool", "user", "user"]
    assert messages[5]["content"][0]["text"] == "[images of the tool result toolu_A]"
    assert messages[5]["content"][1]["type"] == "image_url"


def test_sound_and_files_travel_where_they_can(conversations: Conversations) -> None:
    turns = to_turns(conversations["openai"][2:3], "openai")
    gemini = from_turns(turns, "gemini")[0]["parts"]
    assert [part["inlineData"]["mimeType"] for part in gemini if "inlineData" in part] == [
        "image/png",
        "audio/wav",
        "application/pdf",
    ]
    assert gemini[1]["mediaResolution"] == {"level": "MEDIA_RESOLUTION_LOW"}
    assert gemini[4] == {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/b.jpg"}}
    anthropic = from_turns(turns, "anthropic")[0]["content"]
    assert [block["type"] for block in anthropic] == ["text", "image", "text", "document", "image"]
    assert anthropic[2]["text"] == "[audio]" and anthropic[3]["title"] == "a.pdf"
    responses = from_turns(turns, "responses")[0]["content"]
    assert [part["type"] for part in responses] == [
        "input_text",
        "input_image",
        "input_text",
        "input_file",
        "input_image",
    ]
    assert responses[1]["detail"] == "low" and responses[3]["filename"] == "a.pdf"
    back = to_turns(from_turns(to_turns(from_turns(turns, "gemini"), "gemini"), "openai"), "openai")
    assert [part.url for part in back[0].parts] == [part.url for part in turns[0].parts]
    file = to_turns(conversations["responses"][1:2], "responses")
    assert from_turns(file, "openai")[0]["content"][2] == {"type": "file", "file": {"file_id": "file-1"}}


def test_refusals_travel_as_refusals_between_openai_formats(conversations: Conversations) -> None:
    refusal = to_turns([conversations["openai"][9]])
    item = from_turns(refusal, "responses")[0]
    assert item["content"] == [{"type": "refusal", "refusal": "I can't help with that."}]
    assert from_turns(to_turns([item]), "openai") == [
        {"role": "assistant", "content": None, "refusal": "I can't help with that."}
    ]
    assert from_turns(refusal, "anthropic")[0]["content"] == [{"type": "text", "text": "I can't help with that."}]


def test_words_and_a_refusal_stay_apart() -> None:
    (turn,) = to_turns([{"role": "assistant", "content": "Well.", "refusal": "No."}])
    assert turn.text == "Well.\nNo."
    assert from_turns([turn], "responses") == [{"role": "assistant", "content": "Well.\nNo."}]


def test_errors_travel_between_anthropic_and_gemini(conversations: Conversations) -> None:
    gemini = from_turns(to_turns(conversations["anthropic"], "anthropic"), "gemini")
    answers = [
        part["functionResponse"] for message in gemini for part in message["parts"] if "functionResponse" in part
    ]
    assert answers[1] == {"id": "toolu_B", "name": "weigh", "response": {"error": "no scale"}}
    anthropic = from_turns(to_turns(conversations["gemini"], "gemini"), "anthropic")
    results = [block for block in anthropic[3]["content"] if block["type"] == "tool_result"]
    assert [block.get("is_error", False) for block in results] == [False, True, False]


def test_reasoning_stays_with_the_model_that_wrote_it(conversations: Conversations) -> None:
    for source, secret in (("anthropic", "Two tools."), ("gemini", "Hm."), ("responses", "Look.")):
        turns = to_turns(conversations[source], source)
        for target in FORMATS:
            assert (secret in json.dumps(from_turns(turns, target))) is (target == source)


def test_calls_of_other_models_carry_the_documented_signature(conversations: Conversations) -> None:
    contents = from_turns(to_turns(conversations["openai"], "openai"), "gemini")
    calls = [part for content in contents for part in content["parts"] if "functionCall" in part]
    assert [part.get("thoughtSignature") for part in calls] == [
        "skip_thought_signature_validator",
        None,
        None,
        "skip_thought_signature_validator",
    ]


def test_arguments_that_are_no_object_come_back_as_they_were(conversations: Conversations) -> None:
    turns = to_turns(conversations["openai"], "openai")
    for name in ("anthropic", "gemini", "huggingface"):
        back = to_turns(from_turns(turns, name), name)
        given = [call.arguments for turn in back for call in turn.tool_calls]
        assert given[1:3] == ['{"unit": "kg"', "print(1)"] and json.loads(given[0]) == {"deep": True}


def test_split_system() -> None:
    text = [{"role": "system", "content": "One."}, {"role": "developer", "content": "Two."}]
    turns = to_turns([*text[:1], {"role": "user", "content": "Hi"}, *text[1:]])
    user = {"role": "user", "content": "Hi"}
    assert split_system(from_turns(turns[:2], "anthropic"), "anthropic") == ("One.", [user])
    blocks = [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    assert split_system(from_turns(turns, "anthropic"), "anthropic") == (blocks, [user])
    instruction = {"parts": [{"text": "One."}, {"text": "Two."}]}
    contents = [{"role": "user", "parts": [{"text": "Hi"}]}]
    assert split_system(from_turns(turns, "gemini"), "gemini") == (instruction, contents)
    assert split_system(from_turns(turns[1:2], "gemini"), "gemini") == (None, contents)
    for name in ("openai", "responses", "huggingface"):
        messages = from_turns(turns, name)
        assert split_system(messages, name) == (None, messages)


@pytest.mark.parametrize("name", FORMATS)
def test_composed_user_messages_are_accepted(name: str) -> None:
    file = BytesIO()
    Image.new("L", (512, 256), 255).save(file, "PNG")
    target = get_format(name)
    parts = [target.text_part("Page 1"), target.image_part(file.getvalue())]
    message = target.user_message([*parts, target.image_part(file.getvalue(), detail="high")])
    assert_accepted([message], name)
    (turn,) = to_turns([message], name)
    assert [part.kind for part in turn.parts] == ["text", "image", "image"]
    assert (turn.parts[1].width, turn.parts[1].height) == (512, 256)
    assert base64.b64decode(turn.parts[1].url.partition(",")[2]) == file.getvalue()
    hinted = {"openai": "high", "responses": "high", "gemini": "high"}.get(name)
    assert (turn.parts[2].raw or {}).get("detail") == hinted


def test_transformers_loads_the_images() -> None:
    from transformers.image_utils import load_image

    file = BytesIO()
    Image.new("RGB", (40, 30), (1, 2, 3)).save(file, "PNG")
    loaded = load_image(get_format("huggingface").image_part(file.getvalue())["url"])
    assert loaded.size == (40, 30) and loaded.getpixel((0, 0)) == (1, 2, 3)
