"""How closely a model looks at an image: one hint in a part, written as each provider spells it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from openai.types.chat.chat_completion_content_part_image_param import ImageURL
from openai.types.responses.response_input_image_param import ResponseInputImageParam
from pydantic import TypeAdapter

from optical_memory.budget import get_profile, profiles
from optical_memory.formats import FORMATS, from_turns, get_format, to_turns
from optical_memory.formats.gemini import RESOLUTIONS
from optical_memory.formats.openai import DETAILS, GATEWAYS
from optical_memory.turns import Part, Turn

OPENAI = ("low", "high", "auto", "original")
GEMINI = ("low", "medium", "high", "ultra_high")
NAMES = sorted({*OPENAI, *GEMINI, *(f"media_resolution_{name}" for name in GEMINI), "gundam", "", "HIGH"})


def shown(detail: Any, png_url: str, role: Any = "user") -> Turn:
    image = Part(kind="image", url=png_url, width=64, height=48, raw={"detail": detail})
    call_id = {"tool_call_id": "c1"} if role == "tool" else {}
    return Turn(id="t", role=role, parts=(Part(kind="text", text="page"), image), **call_id)


def written(turn: Turn, name: str) -> Any:
    """Return the image's setting as the format writes it."""
    (message,) = from_turns([turn], name)
    part = message[get_format(name).body][-1]
    assert "detail" not in {*part} or name == "responses"
    if name == "openai":
        return part["image_url"].get("detail")
    return part.get("mediaResolution", {}).get("level") if name == "gemini" else part.get("detail")


def test_the_settings_are_those_of_the_libraries() -> None:
    from google.genai.types import PartMediaResolutionLevel

    levels = {level.value for level in PartMediaResolutionLevel} - {"MEDIA_RESOLUTION_UNSPECIFIED"}
    assert set(RESOLUTIONS.values()) == levels
    for kind in (ImageURL, ResponseInputImageParam):
        assert set(TypeAdapter(kind).json_schema()["properties"]["detail"]["enum"]) == set(DETAILS)
    assert "detail" in TypeAdapter(ResponseInputImageParam).json_schema()["required"]


@pytest.mark.parametrize("detail", NAMES)
def test_each_format_writes_what_it_knows_and_leaves_out_the_rest(detail: str, png_url: str) -> None:
    turn, word = shown(detail, png_url), detail.lower().removeprefix("media_resolution_")
    expected = word if word in OPENAI or detail in GATEWAYS else None
    assert written(turn, "openai") == expected
    assert written(turn, "responses") == (expected or "auto")
    assert written(turn, "gemini") == (f"MEDIA_RESOLUTION_{word.upper()}" if word in GEMINI else None)
    assert written(turn, "anthropic") is None and written(turn, "huggingface") is None


@pytest.mark.parametrize("detail", [None, 7, True, ["high"], {"level": "high"}])
@pytest.mark.parametrize("name", FORMATS)
def test_a_setting_that_is_no_text_is_left_out(detail: Any, name: str, png_url: str) -> None:
    assert written(shown(detail, png_url), name) == ("auto" if name == "responses" else None)


@pytest.mark.parametrize("profile", profiles())
def test_every_setting_that_a_profile_is_priced_for_is_sent(profile: str, png_url: str) -> None:
    """A tier's setting must reach the provider, or the price is another."""
    target = get_profile(profile)
    formats = {"gemini": ("gemini",), "gpt": ("openai", "responses")}
    names = next((names for start, names in formats.items() if profile.startswith(start)), ())
    assert names or not set(target.detail) - {"gundam"}
    for detail in target.detail.values():
        for name in names:
            expected = detail.upper() if name == "gemini" else detail
            assert written(shown(detail, png_url), name) == expected


def test_images_of_results_carry_it_as_well(png_url: str) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]}  # fmt: skip
    turns = [*to_turns([call]), shown("low", png_url, "tool")]
    answer = from_turns(turns, "gemini")[-1]["parts"][0]["functionResponse"]
    assert answer["parts"][0]["mediaResolution"] == {"level": "MEDIA_RESOLUTION_LOW"}
    (back,) = to_turns(from_turns(turns, "gemini")[-1:], "gemini", before=turns[:1])
    assert back.parts[-1].raw == {"detail": "low"}
    assert from_turns(turns, "responses")[-1]["output"][-1]["detail"] == "low"
    assert from_turns(turns, "openai")[-1]["content"][-1]["image_url"]["detail"] == "low"


@pytest.mark.parametrize("level", ["MEDIA_RESOLUTION_ULTRA_HIGH", "media_resolution_ultra_high"])
@pytest.mark.parametrize("key", ["mediaResolution", "media_resolution"])
def test_geminis_spellings_are_read(level: str, key: str, png_base64: str) -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": png_base64}, key: {"level": level}}
    (turn,) = to_turns([{"role": "user", "parts": [part]}])
    assert turn.parts[0].raw == {"detail": "ultra_high"}
    assert from_turns([turn], "gemini") == [{"role": "user", "parts": [part]}]
    assert from_turns([turn], "openai")[0]["content"][0]["image_url"].keys() == {"url"}


@pytest.mark.parametrize("name", ["openai", "responses", "gemini"])
def test_composed_parts_carry_the_setting(name: str, png_base64: str) -> None:
    target = get_format(name)
    parts = [target.image_part(base64.b64decode(png_base64), detail=detail) for detail in ("low", "gundam")]
    (turn,) = to_turns([target.user_message(parts)], name)
    assert turn.parts[0].raw == {"detail": "low"}
    assert turn.parts[1].raw == ({"detail": "auto"} if name == "responses" else None)
