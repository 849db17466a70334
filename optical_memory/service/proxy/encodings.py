"""Bodies that came compressed."""

from __future__ import annotations

import zlib


def decoded(body: bytes, encoding: str, most: int) -> bytes | None:
    """Return a body without its compression, or None where it cannot be read here or is larger than ``most``."""
    if encoding in ("", "identity"):
        return body
    try:
        if encoding in ("gzip", "x-gzip", "deflate"):
            unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)
            out = unpacking.decompress(body, most + 1)
            return out if unpacking.eof and len(out) <= most else None
        if encoding == "zstd":
            import zstandard  # where it is installed

            out = zstandard.ZstdDecompressor().decompressobj().decompress(body)
            return out if len(out) <= most else None
    except (zlib.error, ImportError, ValueError):
        return None
    return None
