"""``previous_response_id`` resolved by the proxy: with a provider that stores nothing, over replicas, in streams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
from provider_server import Body, Reply
from proxying import proxied
from server import served

LONG = "The harbour log of the day, line by line: " + "wind, tide and cargo were noted by the clerk. " * 260


def remembering(name: str, request: Body) -> Reply:
    """Say how many user messages there are in all, which only who sees the whole list can."""
    said = [item for item in request["input"] if item.get("role") == "user"]
    return Reply(text=f"I see {len(said)} messages.")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("store", [False, True], ids=["unstored", "stored"])
def test_a_chain_goes_on(tmp_path: Path, store: bool, stream: bool) -> None:
    with proxied(tmp_path, format="responses", script=remembering) as found:
        client, before = found.openai(), None
        for number in range(5):
            asked: dict[str, Any] = {"model": "gpt-5", "input": f"Message {number}", "store": store}
            if stream:
                with client.responses.create(stream=True, previous_response_id=before, **asked) as events:
                    *_, last = events
                    answer = last.response
            else:
                answer = client.responses.create(previous_response_id=before, **asked)
            assert answer.output_text == f"I see {number + 1} messages."
            before = answer.id
        assert found.provider.refused == []
        sent = [b'"previous_response_id":"resp' in body.replace(b" ", b"") for body in found.provider.bodies]
        assert sent == [False, *[store] * 4], "what the provider has, it is asked for by name; what it has not is sent"


def test_a_long_chain_is_compressed_and_branches(tmp_path: Path) -> None:
    with proxied(tmp_path, format="responses", proxy_budget=4_000) as found:
        client, before, first = found.openai(), None, ""
        done = []
        for number in range(6):
            raw = client.responses.with_raw_response.create(
                model="gpt-5", input=f"Report {number}. {LONG}", previous_response_id=before, store=False
            )
            before = raw.parse().id
            first = first or before
            done.append(raw.headers["x-optical-memory"])
        assert done[0].startswith("passed") and done[-1] == "compressed"
        assert int(raw.headers["x-optical-memory-tokens-after"]) < int(raw.headers["x-optical-memory-tokens-before"])
        assert found.provider.refused == []
        again = client.responses.create(model="gpt-5", input="And now?", previous_response_id=first, store=False)
        assert again.output_text == "Done."
        said = [item for item in found.provider.requests[-1][1]["input"] if item.get("role") == "user"]
        assert len(said) == 2, "the branch from the first response holds what led to it alone"


def test_another_replica_goes_on_and_another_tenant_does_not(tmp_path: Path) -> None:
    with proxied(tmp_path, format="responses", script=remembering) as found:
        one = found.openai().responses.create(model="gpt-5", input="Message 0", store=False)
        settings = {
            "store": f"sqlite:///{tmp_path / 'memory.db'}",
            "proxy": "on",
            "proxy_openai_url": found.provider.url,
        }
        with served(**settings) as second:
            given: dict[str, Any] = {"base_url": f"{second.url}/v1", "api_key": "sk", "max_retries": 0}
            with openai.OpenAI(default_headers=found.headers, **given) as client:
                two = client.responses.create(model="gpt-5", input="1", previous_response_id=one.id, store=False)
                assert two.output_text == "I see 2 messages."
            other = {"X-Optical-Memory-Key": second.key("other")}
            with openai.OpenAI(default_headers=other, **given) as client, pytest.raises(openai.BadRequestError) as no:
                client.responses.create(model="gpt-5", input="1", previous_response_id=one.id, store=False)
            assert "not found" in str(no.value) and no.value.response.headers["x-optical-memory"].endswith(
                "response-unknown"
            )
