"""Bodies that came compressed are read within a bound, or pass as they are."""

from __future__ import annotations

import gzip
import zlib

import pytest

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
        packed = pytest.importorskip("zstandard").compress(TEXT)
    assert decoded(packed, encoding, len(TEXT)) == TEXT


def test_a_bomb_is_not_unpacked() -> None:
    bomb = bytes(64 << 20)
    assert decoded(gzip.compress(bomb), "gzip", 1 << 20) is None
    assert decoded(pytest.importorskip("zstandard").compress(bomb), "zstd", 1 << 20) is None


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "br", "gzip, gzip"])
def test_what_cannot_be_read_is_none(encoding: str) -> None:
    assert decoded(b"no such thing", encoding, 1_000) is None
