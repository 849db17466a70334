"""Reading X11 bitmap fonts in the Portable Compiled Format (.pcf.gz).

Layout of the format: the table of contents in the first bytes names each table's type, format, size and offset;
https://fontforge.org/docs/techref/pcf-format.html (read 2026-11-24).
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

_METRICS, _BITMAPS, _ENCODINGS = 1 << 2, 1 << 3, 1 << 5
_PCF_COMPRESSED_METRICS, _PCF_BIG_ENDIAN_BYTES, _PCF_BIG_ENDIAN_BITS = 0x100, 4, 8


def read_pcf(path: Path, width: int, height: int, ascent: int) -> dict[int, npt.NDArray[np.uint8]]:
    """Return code point -> (height, width) of 0 and 1, with the baseline ``ascent`` px below the top."""
    data = gzip.decompress(path.read_bytes())
    tables = {}
    for index in range(struct.unpack_from("<i", data, 4)[0]):
        kind, form, _, offset = struct.unpack_from("<4i", data, 8 + 16 * index)
        tables[kind] = (form, offset + 4)  # each table repeats its format first
    metrics = _metrics(data, *tables[_METRICS])
    bitmaps = _bitmaps(data, *tables[_BITMAPS], metrics)
    glyphs = {}
    for code, index in _encodings(data, *tables[_ENCODINGS]).items():
        left, _, _, up, _ = metrics[index]
        cell = np.zeros((height, width), np.uint8)
        rows, columns = np.nonzero(bitmaps[index])
        rows, columns = rows + ascent - up, columns + left
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        cell[rows[inside], columns[inside]] = 1
        glyphs[code] = cell
    return glyphs


def _order(form: int) -> str:
    return ">" if form & _PCF_BIG_ENDIAN_BYTES else "<"


def _metrics(data: bytes, form: int, offset: int) -> list[tuple[int, int, int, int, int]]:
    """Return (left, right, advance, ascent, descent) of each glyph, px."""
    order = _order(form)
    if form & _PCF_COMPRESSED_METRICS:
        count = struct.unpack_from(order + "H", data, offset)[0]
        raw = np.frombuffer(data, np.uint8, count * 5, offset + 2).reshape(count, 5).astype(int) - 0x80
    else:
        count = struct.unpack_from(order + "I", data, offset)[0]
        raw = np.frombuffer(data, order + "i2", count * 6, offset + 4).reshape(count, 6)[:, :5].astype(int)
    return [tuple(row) for row in raw.tolist()]


def _bitmaps(data: bytes, form: int, offset: int, metrics: list[tuple[int, ...]]) -> list[npt.NDArray[np.uint8]]:
    order = _order(form)
    count = struct.unpack_from(order + "I", data, offset)[0]
    offsets = np.frombuffer(data, order + "u4", count, offset + 4)
    start = offset + 4 + 4 * count + 16
    padding = 1 << (form & 3)
    out = []
    for begin, (left, right, _, ascent, descent) in zip(offsets.tolist(), metrics, strict=True):
        stride = -(-(right - left) // (8 * padding)) * padding
        rows = np.frombuffer(data, np.uint8, stride * (ascent + descent), start + begin)
        bit_order = "big" if form & _PCF_BIG_ENDIAN_BITS else "little"
        bits = np.unpackbits(rows.reshape(ascent + descent, stride), axis=1, bitorder=bit_order)
        out.append(bits[:, : right - left])
    return out


def _encodings(data: bytes, form: int, offset: int) -> dict[int, int]:
    order = _order(form)
    first_low, last_low, first_high, last_high, _ = struct.unpack_from(order + "5h", data, offset)
    width = last_low - first_low + 1
    indexes = np.frombuffer(data, order + "u2", width * (last_high - first_high + 1), offset + 10)
    return {
        ((first_high + place // width) << 8) + first_low + place % width: index
        for place, index in enumerate(indexes.tolist())
        if index != 0xFFFF
    }
