"""Bodies that came compressed."""

from __future__ import annotations

import zlib

from optical_memory.errors import MissingExtraError

try:
    import zstandard
except ImportError as error:
    raise MissingExtraError("zstandard", "service") from error


def decoded(body: bytes, encoding: str, most: int) -> bytes | None:
    """Return a body without its compression, or None where it cannot be read here or is larger than ``most``."""
    if encoding in ("", "identity"):
        return body
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _inflated(body, most)
    return _from_zstd(body, most) if encoding == "zstd" else None


def _inflated(body: bytes, most: int) -> bytes | None:
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        out = unpacking.decompress(body, most + 1)
    except zlib.error:
        return None
    whole = unpacking.eof and not unpacking.unused_data
    return out if whole and len(out) <= most else None


def _from_zstd(body: bytes, most: int) -> bytes | None:
    try:
        with zstandard.ZstdDecompressor().stream_reader(body) as reader:
            out = reader.read(most + 1)
    except zstandard.ZstdError:
        return None
    return out if len(out) <= most else None
