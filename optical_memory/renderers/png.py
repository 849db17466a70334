"""PNG bytes of rasters: the smallest of the simple forms that holds a raster, the same on every machine.

Grey rasters of black and white become 1-bit PNGs, those of 16 levels 4-bit, others 8-bit; colour becomes a palette
where it fits in 256 entries. Rows are not filtered (for text that beats PNG's filters) and deflated by libdeflate,
whose output does not depend on the CPU.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from typing import Final

import deflate
import numpy as np
import numpy.typing as npt
from PIL import Image

from optical_memory.errors import ImageError, InputError, LimitError
from optical_memory.renderers.base import Layout, Raster, Renderer

MAX_PIXELS: Final = 8192 * 8192
"""Largest image that :func:`decode` opens, in px."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _PALETTE = 0, 2, 3
_COMPRESSION_LEVEL = 1  # of 12; level 6 saves 4 % of a dense page and takes twice the time


def paint(renderer: Renderer, layouts: Sequence[Layout], *, size: tuple[int, int]) -> list[bytes]:
    """Return layouts drawn at ``size`` as PNG bytes; by the renderer's own ``paint`` where it has one.

    Errors: those of :meth:`optical_memory.renderers.base.Renderer.draw`.
    """
    own: Callable[..., list[bytes]] | None = getattr(renderer, "paint", None)
    if own is not None:
        return own(layouts, size=size)
    return [encode(raster) for raster in renderer.draw(layouts, size=size)]


def encode(raster: Raster) -> bytes:
    """Return a raster, (H, W) grey or (H, W, 3) RGB, as PNG bytes. Raises InputError for another shape."""
    if raster.dtype != np.uint8 or raster.size == 0 or raster.shape[2:] not in ((), (3,)):
        raise InputError(f"not a raster: {raster.dtype} of shape {raster.shape!r}")
    if raster.ndim == 2:
        depth, rows = _packed_grey(raster)
        return _assemble(raster.shape, depth, _GREY, rows)
    palette, indexes = _indexed(raster)
    if indexes is None:
        return _assemble(raster.shape, 8, _RGB, raster.reshape(len(raster), -1))
    return encode_indexed(indexes, palette)


def encode_indexed(indexes: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8]) -> bytes:
    """Return a raster of ``indexes`` (H, W) into a palette (n, 3) as PNG bytes: quicker than to find its colours."""
    depth = next(depth for depth in (1, 2, 4, 8) if len(palette) <= 1 << depth)
    return _assemble(indexes.shape, depth, _PALETTE, _packed_indexes(indexes, depth), palette.tobytes())


def decode(png: bytes) -> Raster:
    """Return PNG bytes as a raster: (H, W) where the image is grey, else (H, W, 3), transparency laid on white.

    Errors: LimitError above MAX_PIXELS, ImageError for a damaged file or one of another kind.
    """
    if png[:8] != _SIGNATURE or png[12:16] != b"IHDR" or len(png) < 33:
        raise ImageError("not a PNG image")
    width, height = struct.unpack_from(">II", png, 16)
    if width * height > MAX_PIXELS:
        raise LimitError(f"an image of {width} x {height} px; at most {MAX_PIXELS:,} px are decoded")
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            image.load()
            return _raster_of(image)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise ImageError(f"a damaged PNG image: {error}") from error


def _raster_of(image: Image.Image) -> Raster:
    if image.mode in ("1", "L"):
        return np.array(image.convert("L"))
    if image.mode.startswith("I"):  # 16-bit grey
        return (np.array(image, np.int64) >> 8).clip(0, 255).astype(np.uint8)
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _packed_grey(raster: Raster) -> tuple[int, npt.NDArray[np.unsignedinteger]]:
    """Return the bits that hold every grey of a raster, and its rows packed so; each item is the value of a byte."""
    start = raster[:64]
    if _is_bilevel(start) and _is_bilevel(raster):
        return 1, np.packbits(raster, axis=1)
    unequal = raster >> 4  # levels lie 17 apart: both nibbles of a byte are equal
    unequal ^= raster
    unequal &= 15
    if unequal.any():
        return 8, raster
    if raster.shape[1] % 2:
        raster = np.pad(raster, ((0, 0), (0, 1)))
    pairs = np.ascontiguousarray(raster).view("<u2")  # the left px in the low byte
    packed = pairs >> np.uint16(8)
    packed &= np.uint16(0x0F)
    packed |= pairs & np.uint16(0xF0)
    return 4, packed


def _is_bilevel(raster: Raster) -> bool:
    return not ((raster + np.uint8(1)) & np.uint8(0xFE)).any()  # 255 and 0 become 0 and 1


def _indexed(raster: Raster) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8] | None]:
    """Return the palette, (n, 3) in ascending order, and the raster's indexes; None for more than 256 colours."""
    red, green, blue = (np.ascontiguousarray(raster[:, :, channel]) for channel in range(3))
    places = np.flatnonzero((red != green) | (green != blue))  # most pixels of a page are grey, and quickly counted
    coloured = [channel.ravel()[places] for channel in (red, green, blue)]
    counts = np.array(Image.fromarray(red).histogram()) - np.bincount(coloured[0], minlength=256)
    colours = coloured[0].astype(np.uint32) << 16 | coloured[1].astype(np.uint32) << 8 | coloured[2]
    used = np.union1d(np.flatnonzero(counts) * 0x010101, colours)
    palette = np.stack((used >> 16, used >> 8 & 255, used & 255), axis=1).astype(np.uint8)
    if len(used) > 256:
        return palette, None
    of_grey = np.searchsorted(used, np.arange(256) * 0x010101).astype(np.uint8)
    indexes = np.array(Image.fromarray(red).point(of_grey.tolist()))
    indexes.ravel()[places] = np.searchsorted(used, colours)
    return palette, indexes


def _packed_indexes(indexes: npt.NDArray[np.uint8], depth: int) -> npt.NDArray[np.uint8]:
    """Pack palette indexes into ``depth`` bits each, the first of a byte in its high bits."""
    if depth == 8:
        return indexes
    per_byte = 8 // depth
    indexes = np.pad(indexes, ((0, 0), (0, -indexes.shape[1] % per_byte)))
    packed = np.zeros((len(indexes), indexes.shape[1] // per_byte), np.uint8)
    for place in range(per_byte):
        packed |= indexes[:, place::per_byte] << np.uint8(8 - depth * (place + 1))
    return packed


def _assemble(
    shape: tuple[int, ...], depth: int, kind: int, rows: npt.NDArray[np.unsignedinteger], palette: bytes = b""
) -> bytes:
    unfiltered = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    unfiltered[:, 0] = 0
    unfiltered[:, 1:] = rows
    header = struct.pack(">IIBBBBB", shape[1], shape[0], depth, kind, 0, 0, 0)
    data = bytes(deflate.zlib_compress(unfiltered.data, _COMPRESSION_LEVEL))
    chunks = [_chunk(b"IHDR", header), _chunk(b"PLTE", palette)] if palette else [_chunk(b"IHDR", header)]
    return b"".join((_SIGNATURE, *chunks, _chunk(b"IDAT", data), _chunk(b"IEND", b"")))


def _chunk(name: bytes, data: bytes) -> bytes:
    check = deflate.crc32(data, deflate.crc32(name))
    return b"".join((struct.pack(">I", len(data)), name, data, struct.pack(">I", check)))
