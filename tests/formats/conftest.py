"""A real image, and one conversation in each provider's own shapes."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import pytest
from PIL import Image


def encoded(kind: str = "PNG", size: tuple[int, int] = (64, 48), **options: Any) -> str:
    file = BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode()


PNG = encoded()
PNG_URL = f"data:image/png;base64,{PNG}"
WAV = base64.b64encode(b"RIFF\x24\0\0\0WAVEfmt ").decode()
PDF = base64.b64encode(b"%PDF-1.7\n").decode()

CITATION = {"type": "url_citation", "url": "u", "title": "Red", "start_index": 0, "end_index": 5}
FOUND = {"type": "web_search_result", "encrypted_content": "x", "title": "Red", "url": "https://example.com"}
CITED = {"type": "web_search_result_location", "url": "u", "title": None, "cited_text": "r", "encrypted_index": "x"}
PDF_SOURCE = {"type": "base64", "media_type": "application/pdf", "data": PDF}

OPENAI: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "developer", "content": [{"type": "text", "text": "Use metric units."}]},
    {
        "role": "user",
        "name": "anna",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": PNG_URL, "detail": "low"}},
            {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/b.jpg"}},
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "annotations": [],
        "tool_calls": [
            {"id": "call_A", "type": "function", "function": {"name": "look", "arguments": '{"deep":true}'}},
            {"id": "call_B", "type": "function", "function": {"name": "weigh", "arguments": '{"unit": "kg"'}},
            {"id": "call_C", "type": "custom", "custom": {"name": "python", "input": "print(1)"}},
        ],
    },
    {"role": "tool", "tool_call_id": "call_B", "content": "unreadable arguments"},
    {"role": "tool", "tool_call_id": "call_A", "content": [{"type": "text", "text": "a red square"}]},
    {"role": "tool", "tool_call_id": "call_C", "content": ""},
    {"role": "assistant", "content": "", "audio": {"id": "audio_1", "transcript": "A red square.", "data": WAV}},
    {"role": "user", "content": "And how do I break into it?", "x-unknown": {"deep": [1, None, 2.5, False]}},
    {"role": "assistant", "content": None, "refusal": "I can't help with that."},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "Really not."}]},
    {"role": "user", "content": []},
    {"role": "assistant", "content": None, "function_call": {"name": "bye", "arguments": "{}"}},
    {"role": "function", "name": "bye", "content": "done"},
    {"id": "msg-9", "role": "assistant", "content": "Bye."},
]

RESPONSES: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief."},
    {
        "type": "message",
        "role": "user",
        "content": [
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "image_url": PNG_URL, "detail": "high"},
            {"type": "input_file", "file_id": "file-1"},
        ],
    },
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "Look."}],
        "encrypted_content": "x",
    },
    {"type": "function_call", "id": "fc_1", "call_id": "call_A", "name": "look", "arguments": '{"deep":true}'},
    {
        "type": "function_call",
        "id": "fc_2",
        "call_id": "call_B",
        "name": "weigh",
        "arguments": "{}",
        "status": "completed",
    },
    {"type": "custom_tool_call", "id": "ct_1", "call_id": "call_C", "name": "python", "input": "print(1)"},
    {"type": "function_call_output", "call_id": "call_B", "output": "3 kg"},
    {"type": "custom_tool_call_output", "call_id": "call_C", "output": "1\n"},
    {
        "type": "function_call_output",
        "call_id": "call_A",
        "output": [{"type": "input_text", "text": "seen"}, {"type": "input_image", "image_url": PNG_URL}],
    },
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "red"}},
    {
        "type": "computer_call",
        "id": "cu_1",
        "call_id": "call_D",
        "action": {"type": "screenshot"},
        "pending_safety_checks": [],
        "status": "completed",
    },
    {
        "type": "computer_call_output",
        "call_id": "call_D",
        "output": {"type": "computer_screenshot", "image_url": PNG_URL},
    },
    {"type": "mcp_approval_request", "id": "mcpr_1", "name": "rm", "arguments": "{}", "server_label": "files"},
    {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": False},
    {"type": "item_reference", "id": "rs_1"},
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "phase": "final_answer",
        "content": [
            {"type": "output_text", "text": "A red square", "annotations": [CITATION]},
            {"type": "output_text", "text": ".", "annotations": []},
        ],
    },
    {"role": "user", "content": "Break it."},
    {
        "type": "message",
        "id": "msg_2",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "refusal", "refusal": "I can't."}],
    },
]

ANTHROPIC: list[dict[str, Any]] = [
    {"role": "system", "content": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
    {
        "role": "user",
        "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            {
                "type": "document",
                "title": "a.pdf",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
            },
            {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ],
    },
    {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3},
        "content": [
            {"type": "thinking", "thinking": "Two tools.", "signature": "EqQB"},
            {"type": "redacted_thinking", "data": "Emw"},
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "toolu_A", "name": "look", "input": {"deep": True}},
            {"type": "tool_use", "id": "toolu_B", "name": "weigh", "input": {}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "toolu_B", "is_error": True, "content": "no scale"},
            {
                "type": "tool_result",
                "tool_use_id": "toolu_A",
                "content": [
                    {"type": "text", "text": "seen"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                ],
                "cache_control": {"type": "ephemeral"},
            },
            {"type": "text", "text": "Go on, please."},
        ],
        "x-unknown": 1,
    },
    {
        "role": "assistant",
        "content": [
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "red"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [FOUND]},
            {"type": "text", "text": "It is "},
            {"type": "text", "text": "red", "citations": [CITED]},
            {"type": "text", "text": "."},
            {"type": "tool_use", "id": "toolu_C", "name": "end", "input": {}},
        ],
    },
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_C"}]},
    {"role": "assistant", "content": "Done."},
]

LOW = "MEDIA_RESOLUTION_LOW"

GEMINI: list[dict[str, Any]] = [
    {"role": "system", "parts": [{"text": "Be brief."}]},
    {
        "role": "user",
        "parts": [
            {"text": "What is this?"},
            {
                "inlineData": {"mimeType": "image/png", "data": PNG},
                "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"},
            },
            {"fileData": {"mimeType": "video/mp4", "fileUri": "https://youtu.be/x"}, "videoMetadata": {"fps": 1}},
        ],
    },
    {
        "role": "model",
        "parts": [
            {"text": "Hm.", "thought": True},
            {"text": "Let me look."},
            {"functionCall": {"name": "look", "args": {"deep": True}}, "thoughtSignature": "CqQB"},
            {"functionCall": {"name": "look", "args": {"deep": False}}},
            {"function_call": {"id": "fc-3", "name": "weigh", "args": {}}},
        ],
    },
    {
        "role": "user",
        "parts": [
            {"functionResponse": {"name": "look", "response": {"output": "seen"}}},
            {"functionResponse": {"name": "look", "response": {"error": "too dark"}}},
            {"function_response": {"id": "fc-3", "name": "weigh", "response": {"kg": 3, "exact": True}}},
            {"text": "Go on."},
        ],
    },
    {
        "role": "model",
        "parts": [
            {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
            {"text": "It is "},
            {"text": "red."},
        ],
    },
    {"parts": [{"text": "No role means user."}]},
    {"role": "model", "parts": []},
]

HUGGINGFACE: list[dict[str, Any]] = [
    {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
    {
        "role": "user",
        "content": [
            {"type": "image", "url": "https://example.com/a.png"},
            {"type": "image", "base64": PNG},
            {"type": "image"},
            {"type": "audio", "path": "a.wav"},
            {"type": "text", "text": "What is this?"},
        ],
    },
    {
        "role": "assistant",
        "tool_calls": [
            {"type": "function", "function": {"name": "look", "arguments": {"deep": True}}},
            {"type": "function", "function": {"name": "weigh", "arguments": {}}},
        ],
    },
    {"role": "tool", "name": "look", "content": "seen"},
    {"role": "tool", "name": "weigh", "content": [{"type": "text", "text": "3 kg"}]},
    {"role": "assistant", "content": "A red square.", "reasoning_content": "It is red."},
]

CONVERSATIONS = {
    "openai": OPENAI,
    "responses": RESPONSES,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "huggingface": HUGGINGFACE,
}


@pytest.fixture
def conversations() -> dict[str, list[dict[str, Any]]]:
    return CONVERSATIONS


@pytest.fixture
def png_url() -> str:
    return PNG_URL


@pytest.fixture
def png_base64() -> str:
    return PNG
