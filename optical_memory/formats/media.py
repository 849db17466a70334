"""Media inside messages: data URLs, and the size of an image from its first bytes."""

from __future__ import annotations

import base64
import binascii
import struct
from urllib.parse import unquote_to_bytes, urlsplit

MIME_BY_SUFFIX = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "wav": "audio/wav",
    "mp3": "audio/mp3",
    "mp4": "video/mp4",
    "pdf": "application/pdf",
    "txt": "text/plain",
}
HEADER_CHARACTERS = 1 << 18
"""Base64 characters of an image that are searched for its size: a JPEG may hold long metadata before it."""


def data_url(mime: str, data: str) -> str:
    """Return the data URL of ``data`` (base64)."""
    return f"data:{mime};base64,{data}"


def png_url(png: bytes) -> str:
    """Return the data URL of a PNG file."""
    return data_url("image/png", base64.b64encode(png).decode("ascii"))


def split_data_url(url: str) -> tuple[str, str] | None:
    """Return media type and base64 data of a data URL, or None for any other URL."""
    if url[:5].lower() != "data:":
        return None
    head, comma, data = url[5:].partition(",")
    mime, *options = head.split(";")
    if not comma:
        return None
    if "base64" not in options:
        data = base64.b64encode(unquote_to_bytes(data)).decode("ascii")
    return mime or "text/plain", data


def is_web_url(url: str) -> bool:
    """Whether a provider can fetch this URL by itself."""
    return url[:7].lower() == "http://" or url[:8].lower() == "https://"


def mime_of_url(url: str, default: str) -> str:
    """Guess a media type from the suffix of a URL's path. The table is fixed: the same on every machine."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return default
    return MIME_BY_SUFFIX.get(path.rpartition(".")[2].lower(), default)


def image_size(url: str) -> tuple[int, int] | None:
    """Return width and height in px of a PNG, JPEG, GIF or WebP in a data URL; None where they cannot be told."""
    parts = split_data_url(url[: HEADER_CHARACTERS + 64])
    if parts is None:
        return None
    data = parts[1][:HEADER_CHARACTERS]
    try:
        head = base64.b64decode(data[: len(data) // 4 * 4])
        return _size(head)
    except (binascii.Error, struct.error, ValueError, IndexError):
        return None


def _size(head: bytes) -> tuple[int, int] | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n") and head[12:16] == b"IHDR":
        return struct.unpack(">II", head[16:24])
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return struct.unpack("<HH", head[6:10])
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp_size(head)
    if head[:2] == b"\xff\xd8":
        return _jpeg_size(head)
    return None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", head[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    place = 2
    while place + 9 <= len(head) and head[place] == 0xFF:
        marker = head[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack(">HH", head[place + 5 : place + 9])
            return width, height
        else:
            place += 2 + max(2, int.from_bytes(head[place + 2 : place + 4], "big"))
    return None
