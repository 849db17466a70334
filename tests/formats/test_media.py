"""Data URLs and the sizes of images, real and damaged."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from optical_memory.formats.media import data_url, image_size, is_web_url, mime_of_url, split_data_url


def file_of(kind: str, **options: Any) -> bytes:
    file = BytesIO()
    Image.effect_noise((123, 45), 50).convert("RGB").save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "file",
    [
        file_of("PNG"),
        file_of("GIF"),
        file_of("JPEG"),
        file_of("JPEG", progressive=True, comment=b"x" * 60_000),
        file_of("WEBP"),
        file_of("WEBP", lossless=True),
        file_of("WEBP", exif=b"Exif\0\0"),
    ],
)
def test_sizes(file: bytes) -> None:
    assert image_size(data_url("image/x", base64.b64encode(file).decode())) == (123, 45)
    for length in range(0, 64, 5):
        image_size(data_url("image/x", base64.b64encode(file[:length]).decode()))  # cut short: no error


@pytest.mark.parametrize("url", ["", "https://example.com/a.png", "data:", "data:image/png;base64,====", "data:,x"])
def test_no_size(url: str) -> None:
    assert image_size(url) is None


@given(st.binary(max_size=80), st.sampled_from([b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8", b"RIFF0000WEBPVP8X"]))
def test_any_bytes(tail: bytes, magic: bytes) -> None:
    size = image_size(data_url("image/x", base64.b64encode(magic + tail).decode()))
    assert size is None or len(size) == 2


def test_data_urls() -> None:
    assert split_data_url("data:image/png;base64,AAAA") == ("image/png", "AAAA")
    assert split_data_url("DATA:text/plain;charset=utf-8,a%20b") == ("text/plain", base64.b64encode(b"a b").decode())
    assert split_data_url("data:;base64,AAAA") == ("text/plain", "AAAA")
    assert split_data_url("data:image/png;base64") is None and split_data_url("https://x/data:") is None
    assert is_web_url("HTTPS://x") and not is_web_url("ftp://x")
    assert mime_of_url("https://x/a.PNG?size=1", "?") == "image/png"
    assert mime_of_url("https://[x", "?") == "?"
