"""Bodies that came compressed are read within a bound, or pass as they are."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from proxying import proxied
from replayed import Replay, body_of

from optical_memory.service.proxy.encodings import decoded

TEXT = b'{"messages": []}' * 1_000


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "identity", ""])
def test_what_was_packed_is_read(encoding: str) -> None:
    packed = TEXT
    if encoding == "gzip":
        packed = gzip.compress(TEXT)
    elif encoding == "deflate":
        packed = zlib.compress(TEXT)
    elif encoding == "zstd":
        packed = zstandard.compress(TEXT)
    assert decoded(packed, encoding, len(TEXT)) == TEXT


def test_a_bomb_is_not_unpacked() -> None:
    bomb = bytes(64 << 20)
    assert decoded(gzip.compress(bomb), "gzip", 1 << 20) is None
    assert decoded(zstandard.compress(bomb), "zstd", 1 << 20) is None


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "br", "gzip, gzip"])
def test_what_cannot_be_read_is_none(encoding: str) -> None:
    assert decoded(b"no such thing", encoding, 1_000) is None


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
def test_a_packed_request_is_compressed_or_passes_as_it_came(
    coding_session: dict[str, Any], tmp_path: Path, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    replay = Replay.of(coding_session["messages"], "anthropic")
    bodies = [json.dumps(body_of(replay, messages)).encode() for messages in replay.requests()]
    packed = [pack(body) for body in (bodies[0], bodies[-1])]  # gzip writes the time into it
    with proxied(tmp_path) as found:
        head = {"content-encoding": encoding, "content-type": "application/json"}
        for body, done in zip(packed, ("passed; reason=short", "compressed"), strict=True):
            answer = found.http().post("/v1/messages", content=body, headers=head)
            assert answer.status_code == 200 and answer.headers["x-optical-memory"] == done
        passed, made = found.provider.packed
        assert passed == packed[0] and found.provider.heads[0][1]["content-encoding"] == encoding
        assert made == found.provider.bodies[1] and json.loads(made)["model"] == "claude-opus-5-5"
        assert "content-encoding" not in found.provider.heads[1][1]
        assert found.provider.refused == []
