"""SAM's attention with relative positions, within windows or everywhere, read from the map as it lies in memory.

The bias of a query for a key is ``rows[q, key's row] + columns[q, key's column]``, both products of the query with
tables of offsets. One kernel computes these for all queries; another attends, without a table of scores.

*Everywhere*: a tile of keys is one row of the map, so that the rows' term is one number for each query, and the
columns' a tile that stays in registers. A row that is no power of two is two tiles.
*Windows*: the bias is a product too, of the query's 2w numbers with one-hot vectors of the key's row and column, added
by the matrix units. Windows are never cut out: a place outside the map has the projection's bias for key and value, as
if zeros had been put there before the projection.

Shapes: B images, H x W places, A heads, C channels of a head, D = A*C, w the side of a window, S = w*w.
"""

# Triton has no stubs, and its functions take pointers and constants, not Python values.
# mypy: disable-error-code="import-not-found,import-untyped,untyped-decorator"
# mypy: disable-error-code="no-untyped-def,no-untyped-call,no-any-return"

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

_LOG2E = 1.4426950408889634


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """How a kernel is cut: ``queries`` of a program, ``keys`` taken at a time (windows), ``registers`` at most."""

    queries: int = 64
    keys: int = 32
    registers: int | None = None
    warps: int = 4
    stages: int = 3


DEFAULT = Tile()
EVERYWHERE = {64: Tile(registers=128, stages=2)}
"""Tiles by the map's width where another than :data:`DEFAULT` was measured to be faster."""
WINDOWS = Tile()


@triton.jit
def _bias(
    qkv_at, down_at, across_at, rows_at, columns_at, total, height, width, factor,
    rows_n, rows_a, rows_p, rows_e, columns_n, columns_a, columns_p, columns_e,
    HEADS: tl.constexpr, SIDE: tl.constexpr, OFFSETS: tl.constexpr, C: tl.constexpr, QUERIES: tl.constexpr,
):  # fmt: skip
    """Multiply queries (places of all images, flat) with the tables of offsets; store what falls within the window."""
    head = tl.program_id(1)
    place = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)  # (Q,)
    offset, channel = tl.arange(0, OFFSETS), tl.arange(0, C)  # (O,), (C,)
    known = place < total
    at = place.to(tl.int64) * (3 * HEADS * C) + head * C  # (Q,)
    q = tl.load(qkv_at + at[:, None] + channel[None, :], mask=known[:, None], other=0.0)  # (Q, C)
    image, inner = (place // (height * width)).to(tl.int64), place % (height * width)  # (Q,) each
    table, real = offset[None, :] * C + channel[:, None], (offset < 2 * SIDE - 1)[None, :]  # (C, O), (1, O)
    products = tl.dot(q, tl.load(down_at + table, mask=real, other=0.0)) * factor  # (Q, O)
    row = ((inner // width) % SIDE)[:, None] + SIDE - 1 - offset[None, :]  # (Q, O) the key's row in the window
    inside = known[:, None] & (row >= 0) & (row < SIDE)
    to = rows_at + (image * rows_n + head * rows_a + inner * rows_p)[:, None] + row * rows_e  # (Q, O)
    tl.store(to, products.to(rows_at.dtype.element_ty), mask=inside)
    products = tl.dot(q, tl.load(across_at + table, mask=real, other=0.0)) * factor  # (Q, O)
    column = ((inner % width) % SIDE)[:, None] + SIDE - 1 - offset[None, :]  # (Q, O)
    inside = known[:, None] & (column >= 0) & (column < SIDE)
    to = columns_at + (image * columns_n + head * columns_a + inner * columns_p)[:, None] + column * columns_e  # (Q, O)
    tl.store(to, products.to(columns_at.dtype.element_ty), mask=inside)


@triton.jit
def _everywhere(
    qkv_at, one_at, two_at, rows_at, columns_at, out_at, places, scale,
    HEADS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, ONE: tl.constexpr, TWO: tl.constexpr,
    C: tl.constexpr, QUERIES: tl.constexpr,
):  # fmt: skip
    """Take one block of queries of one head through all rows of keys, each in a second tile too where TWO is not 0."""
    D: tl.constexpr = HEADS * C
    image, head = tl.program_id(1) // HEADS, tl.program_id(1) % HEADS
    query, channel = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES), tl.arange(0, C)  # (Q,), (C,)
    known = query < places
    column = tl.arange(0, ONE)  # (W,)
    asked = image.to(tl.int64) * places + query  # (Q,)
    q_at = qkv_at + asked[:, None] * (3 * D) + head * C + channel[None, :]  # (Q, C)
    q = tl.load(q_at, mask=known[:, None], other=0.0)  # (Q, C)
    columns_at += (tl.program_id(1).to(tl.int64) * places + query)[:, None] * WIDTH  # (Q, 1)
    inside = known[:, None] & (column < WIDTH)[None, :]
    across = tl.load(columns_at + column[None, :], mask=inside, other=0.0).to(tl.float32)  # (Q, W), powers of two
    if ONE > WIDTH:
        across = tl.where((column < WIDTH)[None, :], across, float("-inf"))
    if TWO > 0:
        more = ONE + tl.arange(0, TWO)  # (V,)
        across2 = tl.load(columns_at + more[None, :], mask=known[:, None] & (more < WIDTH)[None, :], other=0.0)
        across2 = tl.where((more < WIDTH)[None, :], across2.to(tl.float32), float("-inf"))  # (Q, V)
    rows_at += tl.program_id(1).to(tl.int64) * HEIGHT * places + query  # (Q,)
    best = tl.full((QUERIES,), -1e30, tl.float32)
    total = tl.zeros((QUERIES,), tl.float32)
    mixed = tl.zeros((QUERIES, C), tl.float32)
    first = image * places
    for row in range(HEIGHT):
        at = first + row * WIDTH
        down = tl.load(rows_at + row * places, mask=known, other=0.0).to(tl.float32)  # (Q,)
        k = one_at.load([at, D + head * C])  # (W, C)
        products = tl.dot(q, k.T)
        v = one_at.load([at, 2 * D + head * C])  # (W, C)
        scores = products * scale + across  # (Q, W), without the row's term, which is one number for each query
        top = tl.maximum(best, tl.max(scores, 1) + down)  # (Q,)
        if TWO > 0:
            k2 = two_at.load([at + ONE, D + head * C])  # (V, C)
            v2 = two_at.load([at + ONE, 2 * D + head * C])  # (V, C)
            scores2 = tl.dot(q, k2.T) * scale + across2  # (Q, V)
            top = tl.maximum(top, tl.max(scores2, 1) + down)  # (Q,)
            weight2 = tl.math.exp2(scores2 - (top - down)[:, None])  # (Q, V)
        weight = tl.math.exp2(scores - (top - down)[:, None])  # (Q, W)
        keep = tl.math.exp2(best - top)  # (Q,)
        mixed = tl.dot(weight.to(v.dtype), v, mixed * keep[:, None])  # (Q, C)
        total = total * keep + tl.sum(weight, 1)  # (Q,)
        if TWO > 0:
            mixed = tl.dot(weight2.to(v.dtype), v2, mixed)  # (Q, C)
            total += tl.sum(weight2, 1)  # (Q,)
        best = top
    to = out_at + asked[:, None] * D + head * C + channel[None, :]  # (Q, C)
    tl.store(to, (mixed / total[:, None]).to(out_at.dtype.element_ty), mask=known[:, None])


@triton.jit
def _windows(
    qkv_at, missing_at, bias_at, where_at, out_at, height, width, across, down, scale,
    HEADS: tl.constexpr, SIDE: tl.constexpr, T: tl.constexpr, C: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """Take one block of queries of one head of one window through the window's keys."""
    D: tl.constexpr = HEADS * C
    S: tl.constexpr = SIDE * SIDE
    window, head = tl.program_id(1) // HEADS, tl.program_id(1) % HEADS
    image = (window // (down * across)).to(tl.int64) * height * width
    top_row, left = (window // across) % down * SIDE, window % across * SIDE
    channel, t = tl.arange(0, C), tl.arange(0, T)  # (C,), (T,)
    tall, wide = tl.minimum(SIDE, height - top_row), tl.minimum(SIDE, width - left)  # of the window, on the map
    if tl.program_id(0) * QUERIES >= tall * wide:
        return
    place = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)  # (Q,) among those on the map
    known = place < tall * wide
    at = image + (top_row + place // wide) * width + left + place % wide  # (Q,) in all maps
    q = tl.load(qkv_at + at[:, None] * (3 * D) + head * C + channel[None, :], mask=known[:, None], other=0.0)  # (Q, C)
    asked = known[:, None] & (t < 2 * SIDE)[None, :]
    bias = tl.load(bias_at + (at * HEADS + head)[:, None] * T + t[None, :], mask=asked, other=0.0)  # (Q, T)
    if T > 2 * SIDE:  # the next of the one-hot vectors' places is far below zero for keys that are none
        bias = tl.where((t == 2 * SIDE)[None, :], tl.full((), 1, bias.dtype), bias)  # (Q, T)
    best = tl.full((QUERIES,), -1e30, tl.float32)
    total = tl.zeros((QUERIES,), tl.float32)
    mixed = tl.zeros((QUERIES, C), tl.float32)
    for first in range(0, S, KEYS):
        key = first + tl.arange(0, KEYS)  # (K,)
        key_y, key_x = top_row + key // SIDE, left + key % SIDE  # (K,) each
        inside = (key_y < height) & (key_x < width)
        here = (image + key_y * width + key_x) * (3 * D)  # (K,)
        there = missing_at + D + head * C  # keys, then values, of places outside the map
        k_at = tl.where(inside[:, None], qkv_at + here[:, None] + (D + head * C), there) + channel[None, :]  # (K, C)
        k = tl.load(k_at, mask=(key < S)[:, None], other=0.0)  # (K, C)
        v = tl.load(k_at + D, mask=(key < S)[:, None], other=0.0)  # (K, C)
        where = tl.load(where_at + key[:, None] * T + t[None, :])  # (K, T)
        scores = tl.dot(bias, where.T, tl.dot(q, k.T))  # (Q, K)
        if T == 2 * SIDE:
            scores = tl.where((key < S)[None, :], scores, float("-inf"))
        top = tl.maximum(best, tl.max(scores, 1) * scale)  # (Q,)
        weight = tl.math.exp2(scores * scale - top[:, None])  # (Q, K)
        keep = tl.math.exp2(best - top)  # (Q,)
        mixed = tl.dot(weight.to(v.dtype), v, mixed * keep[:, None])  # (Q, C)
        total = total * keep + tl.sum(weight, 1)  # (Q,)
        best = top
    to = out_at + (at * D + head * C)[:, None] + channel[None, :]  # (Q, C)
    tl.store(to, (mixed / total[:, None]).to(out_at.dtype.element_ty), mask=known[:, None])


def _attend_everywhere(qkv: Tensor, rows: Tensor, columns: Tensor, out: Tensor, heads: int, tile: Tile) -> None:
    images, height, width = qkv.shape[:3]
    channels, places = out.shape[-1] // heads, height * width
    one, two = _tiles(width)
    flat = qkv.view(-1, qkv.shape[-1])
    maps = [TensorDescriptor.from_tensor(flat, [each or one, channels]) for each in (one, two)]
    more = {} if tile.registers is None else {"maxnreg": tile.registers}
    _everywhere[(triton.cdiv(places, tile.queries), images * heads)](
        qkv, *maps, rows, columns, out, places, channels**-0.5 * _LOG2E,
        HEADS=heads, HEIGHT=height, WIDTH=width, ONE=one, TWO=two, C=channels,
        QUERIES=tile.queries, num_warps=tile.warps, num_stages=tile.stages, **more,
    )  # fmt: skip


def _tiles(width: int) -> tuple[int, int]:
    """Return the widths of the one or two tiles that a row is taken in: powers of two, 16 at least."""
    whole = max(16, triton.next_power_of_2(width))
    most = whole // 2
    rest = max(16, triton.next_power_of_2(max(1, width - most)))
    return (most, rest) if 16 <= most < width and most + rest < whole else (whole, 0)


def _attend_windows(
    qkv: Tensor, missing: Tensor, bias: Tensor, where: Tensor, out: Tensor, heads: int, side: int, tile: Tile
) -> None:
    images, height, width = qkv.shape[:3]
    down, across = triton.cdiv(height, side), triton.cdiv(width, side)
    channels = out.shape[-1] // heads
    _windows[(triton.cdiv(side * side, tile.queries), images * down * across * heads)](
        qkv, missing, bias, where, out, height, width, across, down, channels**-0.5 * _LOG2E,
        HEADS=heads, SIDE=side, T=bias.shape[-1], C=channels,
        QUERIES=tile.queries, KEYS=tile.keys, num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip


def _biases(
    qkv: Tensor, tables: tuple[Tensor, Tensor], rows: Tensor, columns: Tensor, heads: int, side: int, factor: float
) -> None:
    """Fill ``rows`` and ``columns``, strides (image, head, place, key's row or column)."""
    images, height, width, triple = qkv.shape
    total = images * height * width
    _bias[(triton.cdiv(total, 64), heads)](
        qkv, *tables, rows, columns, total, height, width, factor, *rows.stride(), *columns.stride(),
        HEADS=heads, SIDE=side, OFFSETS=max(16, triton.next_power_of_2(2 * side - 1)), C=triple // 3 // heads,
        QUERIES=64, num_warps=4,
    )  # fmt: skip


def one_hot_places(side: int, width: int, count: int, like: Tensor) -> Tensor:
    """Return for each place of a window its row and column as one-hot vectors, for what is no place a far negative.

    (count, width); that number stands behind the two vectors, where ``width`` leaves room for it.
    """
    place = torch.arange(count, device=like.device)[:, None]  # (count, 1)
    slot = torch.arange(width, device=like.device)  # (T,)
    real = (slot == place // side) | (slot == side + place % side)  # (count, T)
    none = (place >= side * side) & (slot == 2 * side)  # (count, T)
    return torch.where(place < side * side, real.to(like.dtype), -30_000.0 * none.to(like.dtype))  # (count, T)


@torch.library.custom_op("optical_memory::relative_attention", mutates_args=())
def _relative_attention(qkv: Tensor, missing: Tensor, down: Tensor, across: Tensor, heads: int, side: int) -> Tensor:
    images, height, width, triple = qkv.shape
    qkv, tables, places = qkv.contiguous(), (down.contiguous(), across.contiguous()), height * width
    out = qkv.new_empty(images, height, width, triple // 3)
    channels = triple // 3 // heads
    if side == height == width:
        rows = qkv.new_empty(images, heads, side, places).transpose(2, 3)  # (B, A, S, H), queries adjacent
        columns = qkv.new_empty(images, heads, places, side)  # (B, A, S, W)
        _biases(qkv, tables, rows, columns, heads, side, _LOG2E)
        _attend_everywhere(qkv, rows, columns, out, heads, EVERYWHERE.get(width, DEFAULT))
        return out
    slots = max(16, triton.next_power_of_2(2 * side))
    bias = qkv.new_empty(images, places, heads, slots)
    rows, columns = bias.transpose(1, 2).tensor_split((side,), dim=3)  # (B, A, S, w or more)
    _biases(qkv, tables, rows, columns, heads, side, channels**0.5)
    count = triton.cdiv(side * side, WINDOWS.keys) * WINDOWS.keys
    where = one_hot_places(side, slots, count, qkv)
    _attend_windows(qkv, missing, bias, where, out, heads, side, WINDOWS)
    return out


@_relative_attention.register_fake
def _(qkv: Tensor, missing: Tensor, down: Tensor, across: Tensor, heads: int, side: int) -> Tensor:
    return qkv.new_empty(*qkv.shape[:3], qkv.shape[3] // 3)


def relative_attention(qkv: Tensor, missing: Tensor, tables: tuple[Tensor, Tensor], *, heads: int, side: int) -> Tensor:
    """Attend within windows of ``side`` x ``side`` places, or everywhere where that is the map: -> (B, H, W, D).

    ``qkv`` (B, H, W, 3D) is all heads' queries, then keys, then values, the projection's bias added; ``missing`` (3D,)
    is what stands outside the map; ``tables`` are (2 * side - 1, C) each, for rows and columns. C is a power of two of
    at least 16. An operator of its own, so that a compiled layer takes it as it is.
    """
    return _relative_attention(qkv, missing, *tables, heads, side)
