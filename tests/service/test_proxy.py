"""The proxy between the providers' real clients and a provider that refuses what the real ones refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from proxying import KEY, asking, proxied
from replayed import IDENTITY, Replay, body_of, path_of

FORMATS = ("openai", "responses", "anthropic", "gemini")
Session = dict[str, Any]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_long_session_is_compressed_on_its_way(
    coding_session: Session, tmp_path: Path, format: str, stream: bool
) -> None:
    replay = Replay.of(coding_session["messages"], format)
    with proxied(tmp_path, format=format, budget=2_000) as found:
        ask = asking(found, format, stream=stream)
        done = []
        for messages in list(replay.requests())[::6]:
            said, headers = ask(body_of(replay, messages))
            assert said == "Done."
            done.append(headers["x-optical-memory"] if headers is not None else "")
        provider = found.provider
    assert provider.refused == []
    assert done[0] == "passed; reason=short" and done[-1] == "compressed" and done.count("compressed") > len(done) / 2
    name, last = provider.requests[-1]
    assert name == format and "image/png" in json.dumps(last)
    late = provider.counted[len(provider.counted) // 2 :]  # one of them may be an epoch's first
    assert sum(one.cached > 0.5 * one.total for one in late) > len(late) / 2


@pytest.mark.parametrize("format", FORMATS)
def test_what_needs_no_change_passes_byte_for_byte(tmp_path: Path, format: str) -> None:
    sent = b' {"messages" : [ {"role":"user","content":"caf\\u00e9 1.50"} ],\n"input":"hi",'
    sent += b' "contents":[{"parts":[{"text":"x"}]}],'
    sent += b' "model":"gpt-5", "x_unknown":1.50, "x_unknown":2}\n'
    beta = {"anthropic-beta": "context-1m-2025-08-07,files-api-2025-04-14", "anthropic-version": "2023-06-01"}
    own = {
        "x-api-key": "sk-ant-own",
        "authorization": "Bearer sk-own",
        "user-agent": "agent/1",
        "accept-encoding": "br",
    }
    with proxied(tmp_path, format=format) as found:
        found.provider.checked = False
        path = path_of(format)
        answer = httpx.post(
            found.url + path + ("&" if "?" in path else "?") + "beta=true&q=%2F%20",
            content=sent,
            headers={**beta, **own, "content-type": "application/json", KEY: found.key},
            timeout=120,
        )
        why = "not-understood" if format == "responses" else "short"  # it names a field twice
        assert answer.headers["x-optical-memory"] == f"passed; reason={why}"
        assert answer.headers["request-id"] == "req_1"
        assert found.provider.bodies == [sent]
        got_path, got = found.provider.heads[-1]
        assert got_path.endswith("beta=true&q=%2F%20")
        assert {name: got[name] for name in {**beta, **own}} == {**beta, **own}
        assert not [name for name in got if "optical" in name.lower()] and found.key not in str(got)
        assert got["host"] == found.provider.url.removeprefix("http://")


def test_claude_codes_marks_system_and_newest_messages_stay_as_they_came(
    coding_session: Session, tmp_path: Path
) -> None:
    replay = Replay.of(coding_session["messages"], "anthropic")
    with proxied(tmp_path) as found:
        client = found.http()
        for messages in list(replay.requests())[1::8]:
            body = body_of(replay, messages)
            raw = json.dumps(body, ensure_ascii=False)  # with spaces, unlike what is made here
            answer = client.post("/v1/messages", content=raw.encode())
            got = found.provider.bodies[-1].decode()
            assert got.count('"cache_control"') <= raw.count('"cache_control"')
            head = raw.partition('"tools": ')[0]
            assert got.startswith(head) and json.loads(got)["system"][0] == {"type": "text", "text": IDENTITY}
            newest = json.dumps(body["messages"][-2], ensure_ascii=False)
            if answer.headers["x-optical-memory"] == "compressed":
                assert newest in got, "what the model said last keeps its bytes"
        assert answer.headers["x-optical-memory"] == "compressed"
        assert answer.headers["x-optical-memory-session"].startswith("5f0c2a9e-6f1d-4a57-9d0e-1f2e3d4c5b6a.")
        before, after = (int(answer.headers[f"x-optical-memory-tokens-{when}"]) for when in ("before", "after"))
        assert after < before / 2
        assert found.provider.counted[-1].total == pytest.approx(after, rel=0.1)
        assert found.provider.refused == []
