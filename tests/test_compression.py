"""Compression without a session: equal bytes for equal lists, a stable beginning for lists that grow."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from typing import Any

import pytest

from optical_memory import Compressor, compress
from optical_memory.budget import count_message, count_tokens, get_profile
from optical_memory.errors import BudgetError, InputError, NotFoundError
from optical_memory.formats import to_turns

SETTINGS: dict[str, Any] = {"profile": "mini", "budget": 4_000, "renderer": "dense"}


@pytest.fixture(scope="module")
def messages(airline_sessions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    own = [message for session in airline_sessions[:6] for message in session["messages"][1:]]
    return [{"role": "system", "content": "You are a travel agent."}, *own]


def digest(request: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request).encode()).hexdigest()


def test_a_list_that_grew_gives_what_a_fresh_process_gives(messages: list[dict[str, Any]]) -> None:
    """Whether a beginning was seen before changes no byte."""
    grown = Compressor()
    for end in range(3, len(messages), 7):
        kept = digest(grown.compress(messages[:end], **SETTINGS))
        if end % 5 == 0:
            assert kept == digest(Compressor().compress(messages[:end], **SETTINGS))
    code = (
        "import sys, json, hashlib; from optical_memory import compress;"
        "request = compress(json.load(sys.stdin), profile='mini', budget=4000, renderer='dense');"
        "print(hashlib.sha256(json.dumps(request).encode()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(messages), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == digest(grown.compress(messages, **SETTINGS))


def test_the_beginning_stays_between_epochs(messages: list[dict[str, Any]]) -> None:
    compressor, before, changed = Compressor(), list[str](), 0
    for end in range(2, len(messages)):
        now = [json.dumps(message) for message in compressor.compress(messages[:end], **SETTINGS)["messages"]]
        changed += now[: len(before)] != before
        before = now
    assert 0 < changed <= len(messages) / 15


def test_every_format_is_compressed_as_it_came(messages: list[dict[str, Any]]) -> None:
    from optical_memory.formats import from_turns, to_turns

    for format, key in (("anthropic", "messages"), ("gemini", "contents"), ("responses", "input")):
        given = from_turns(to_turns(messages, "openai"), format)
        request = compress(given, format=format, **SETTINGS)
        assert len(json.dumps(request[key])) > 1_000
        assert request == compress(given, format=format, **SETTINGS)


def test_tools_count_within_the_budget(messages: list[dict[str, Any]]) -> None:
    tool: dict[str, Any] = {
        "type": "function",
        "function": {"name": "f", "description": "word " * 900, "parameters": {}},
    }
    plain = compress(messages, **SETTINGS)
    request = compress(messages, tools=[tool], **SETTINGS)
    assert request["tools"] == [tool]
    profile = get_profile(SETTINGS["profile"])
    described = count_tokens(tool["function"]["description"], profile)
    with_tool, without = (
        sum(count_message(turn, profile) for turn in to_turns(sent["messages"], "openai")) for sent in (request, plain)
    )
    assert described > 800 and with_tool + described <= SETTINGS["budget"] and without <= SETTINGS["budget"]
    assert with_tool < without


def test_a_compressor_keeps_a_bounded_number_of_lists(messages: list[dict[str, Any]]) -> None:
    compressor = Compressor(most=2)
    for start in range(5):
        compressor.compress(messages[start : start + 4], **SETTINGS)
    assert len(compressor._kept) == 2


def test_threads_get_the_same_bytes(messages: list[dict[str, Any]]) -> None:
    compressor, found = Compressor(), set[str]()

    def work() -> None:
        for end in (20, 40, 60):
            found.add(f"{end} {digest(compressor.compress(messages[:end], **SETTINGS))}")

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3


def test_bad_input_is_refused_and_the_next_call_works(messages: list[dict[str, Any]]) -> None:
    compressor = Compressor()
    with pytest.raises(NotFoundError):
        compressor.compress(messages, profile="no-model")
    with pytest.raises(InputError):
        compressor.compress([{"role": "user"}, 7], **SETTINGS)
    with pytest.raises(BudgetError):
        compressor.compress([{"role": "system", "content": "word " * 9_000}], **(SETTINGS | {"budget": 500}))
    assert compressor.compress([], **SETTINGS)["messages"]
    assert compressor.compress(messages[:5], **SETTINGS)["messages"]
