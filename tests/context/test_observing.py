"""What the provider counts, and what a session costs: reported, and heeded where it matters."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types import Usage
from openai.types import CompletionUsage

from optical_memory import OpticalMemory
from optical_memory.errors import InputError

SETTINGS: dict[str, Any] = {"profile": "mini", "renderer": "dense", "budget": 4_000}


def test_each_providers_usage_is_understood() -> None:
    with OpticalMemory(**SETTINGS) as memory:
        memory.add("user", "How far is it to Oslo? " * 40)
        memory.request("openai")
        ours = memory.observe(CompletionUsage(prompt_tokens=300, completion_tokens=1, total_tokens=301)).ours
        assert ours >= memory.context().tokens
        cached = Usage(input_tokens=100, output_tokens=1, cache_creation_input_tokens=50, cache_read_input_tokens=150)
        assert memory.observe(cached).theirs == 300
        assert memory.observe({"promptTokenCount": 300}).ratio == pytest.approx(ours / 300)
        for usage in ({}, None, {"prompt_tokens": "many"}):
            with pytest.raises(InputError, match="hand over the answer's usage"):
                memory.observe(usage)


def test_where_the_provider_counts_more_the_budget_is_kept_by_its_count(airline_sessions: list[dict[str, Any]]) -> None:
    with OpticalMemory(**SETTINGS) as memory:
        before: list[dict[str, Any]] = []
        most = 0.0
        for number, session in enumerate(airline_sessions[:10]):
            for message in session["messages"][1:]:
                memory.extend([message])
                sent, epoch = memory.messages(), memory.context().epoch
                tokens = memory.context().tokens
                memory.observe({"prompt_tokens": int(tokens * 1.2)})
                if before and epoch == memory.context().epoch:
                    assert memory.messages()[: len(sent)] == sent, "what was sent does not change"
                if number > 2:
                    most = max(most, tokens * 1.2)
                before = sent
        assert most <= 4_000


def test_advice_compares_three_ways_and_names_one(airline_sessions: list[dict[str, Any]]) -> None:
    messages = [message for session in airline_sessions[:10] for message in session["messages"][1:]]
    with OpticalMemory(profile="claude", renderer="dense", budget=16_000) as memory:
        memory.extend(messages[:4])
        short = memory.advice()
        assert short.recommended == "full text" and short.full_text.most < 16_000
        epoch = memory.peek().epoch
        memory.extend(messages[4:])
        advice = memory.advice()
        assert advice.memory.most <= 16_000 < advice.full_text.most
        assert advice.truncation.lost > 0
        assert advice.recommended in ("memory", "full text") and advice.reason in advice.explain()
        assert memory.peek().epoch == epoch, "advice starts no epoch"
