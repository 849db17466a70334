from __future__ import annotations

import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from optical_memory.errors import ImageError, InputError, LimitError
from optical_memory.renderers import png
from optical_memory.renderers.base import Raster

RNG = np.random.default_rng(7)
BILEVEL = RNG.integers(0, 2, (33, 41), np.uint8) * np.uint8(255)
LEVELS = RNG.integers(0, 16, (33, 41), np.uint8) * np.uint8(17)
GREY = RNG.integers(0, 256, (33, 41), np.uint8)


def colour(count: int) -> Raster:
    palette = np.stack([np.arange(count) % 256, np.arange(count) // 256, np.full(count, 9)], 1).astype(np.uint8)
    return palette[np.arange(64 * 61).reshape(64, 61) % count]


@pytest.mark.parametrize(
    ("raster", "mode", "depth"),
    [
        (BILEVEL, "1", 1),
        (LEVELS, "L", 4),
        (GREY, "L", 8),
        (colour(2), "P", 1),
        (colour(3), "P", 2),
        (colour(16), "P", 4),
        (colour(256), "P", 8),
        (colour(257), "RGB", 8),
    ],
)
def test_each_raster_gets_the_smallest_form_and_comes_back(raster: Raster, mode: str, depth: int) -> None:
    data = png.encode(raster)
    assert data[24] == depth
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == mode
        independent = np.asarray(image.convert("L" if raster.ndim == 2 else "RGB"))
    assert (independent == raster).all()
    assert (png.decode(data) == raster).all()
    assert png.decode(data).shape == raster.shape


@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 17, 255]), st.booleans(), st.integers(0, 2**32))
def test_any_raster_comes_back(height: int, width: int, step: int, in_colour: bool, seed: int) -> None:
    shape = (height, width, 3) if in_colour else (height, width)
    raster = (np.random.default_rng(seed).integers(0, 255 // step + 1, shape) * step).astype(np.uint8)
    assert (png.decode(png.encode(raster)) == raster).all()
    assert (png.decode(png.encode(raster[::-1, ::-1])) == raster[::-1, ::-1]).all()


def test_bytes_are_the_same_everywhere() -> None:
    raster = (np.add.outer(np.arange(200), np.arange(300)) // 7 % 16 * 17).astype(np.uint8)
    digest = hashlib.sha256(png.encode(raster)).hexdigest()
    assert digest == "7d5b57ae11972b9b3235085d4c5db641145afd2cda39eb922b196cef2a0eb001"


@pytest.mark.parametrize("raster", [np.zeros((0, 5), np.uint8), np.zeros((5, 5, 4), np.uint8), np.zeros((5, 5))])
def test_arrays_of_another_shape_are_refused(raster: Raster) -> None:
    with pytest.raises(InputError, match="not a raster"):
        png.encode(raster)


def save(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def test_other_programs_images_are_read() -> None:
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    assert png.decode(save(half))[0, 0].tolist() == [255, 127, 127]
    assert png.decode(save(Image.new("LA", (4, 4), (0, 0))))[0, 0].tolist() == [255, 255, 255]
    deep = Image.fromarray(np.full((4, 4), 0x80FF, np.uint16))
    assert png.decode(save(deep)).tolist() == [[0x80] * 4] * 4


GOOD = png.encode(LEVELS)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a" + GOOD,
        GOOD[:40],
        GOOD[:-30],
        GOOD[:60] + b"\0\0\0\0" + GOOD[64:],
        GOOD[:20] + b"\0\0\0\0" + GOOD[24:],
        GOOD.replace(b"IDAT", b"IDOT"),
    ],
)
def test_damaged_images_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        png.decode(data)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_flipped_byte_escapes_the_errors(place: int, flip: int) -> None:
    data = bytearray(GOOD)
    data[place] ^= flip
    try:
        raster = png.decode(bytes(data))
    except (ImageError, LimitError):
        return
    assert raster.dtype == np.uint8


def test_a_decompression_bomb_is_not_opened() -> None:
    side = 100_000
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 1) * 100))
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    with pytest.raises(LimitError, match="100000 x 100000 px"):
        png.decode(b"\x89PNG\r\n\x1a\n" + body)
