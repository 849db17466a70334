"""The published forward pass stated once more, over published names, with nothing fused, stacked or shared.

Written from the papers and the public configuration, one image or sequence at a time: a second opinion for sizes that
no golden numbers are at hand for. ``test_plain_forward.py`` holds it to those that are.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Tensors = Mapping[str, Tensor]


def linear(t: Tensors, name: str, x: Tensor) -> Tensor:
    return F.linear(x, t[f"{name}.weight"], t.get(f"{name}.bias"))


def norm(t: Tensors, name: str, x: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"], eps)


def bicubic(grid: Tensor, side: int) -> Tensor:
    """(L, L, D) -> (side, side, D)."""
    if len(grid) == side:
        return grid
    out = F.interpolate(grid.permute(2, 0, 1)[None], size=(side, side), mode="bicubic", antialias=True)
    return out[0].permute(1, 2, 0)


def relative_table(table: Tensor, side: int) -> Tensor:
    """(2L - 1, C) -> (side, side, C), indexed by query and key."""
    if len(table) != 2 * side - 1:
        table = F.interpolate(table.T[None], size=2 * side - 1, mode="linear", align_corners=False)[0].T
    return torch.stack([table[query : query + side].flip(0) for query in range(side)])  # the last key comes first


def attend_with_relative_places(t: Tensors, name: str, x: Tensor, heads: int) -> Tensor:
    """Attention of SAM on one square of places: (s, s, D) -> (s, s, D), head by head."""
    side, width = len(x), x.shape[-1]
    down, across = (relative_table(t[f"{name}.rel_pos_{axis}"], side) for axis in "hw")
    q, k, v = linear(t, f"{name}.qkv", x).reshape(side * side, 3, heads, -1).unbind(1)
    out = []
    for head in range(heads):
        mine = q[:, head]
        scores = (mine * mine.shape[-1] ** -0.5) @ k[:, head].T
        square = mine.reshape(side, side, -1)
        scores = scores.reshape(side, side, side, side)  # the query's row and column, the key's row and column
        scores = scores + torch.einsum("hwc,hkc->hwk", square, down)[:, :, :, None]
        scores = scores + torch.einsum("hwc,wkc->hwk", square, across)[:, :, None, :]
        out.append(scores.reshape(side * side, -1).softmax(-1) @ v[:, head])
    return linear(t, f"{name}.proj", torch.cat(out, -1).reshape(side, side, width))


def sam(t: Tensors, pixels: Tensor, everywhere: tuple[int, ...] = (2, 5, 8, 11), window: int = 14) -> Tensor:
    """(3, S, S) -> (1024, S/64, S/64), for the published depth, heads and windows."""
    m = "model.sam_model"
    x = F.conv2d(pixels[None], t[f"{m}.patch_embed.proj.weight"], t[f"{m}.patch_embed.proj.bias"], stride=16)
    x = x[0].permute(1, 2, 0)
    side = len(x)
    x = x + bicubic(t[f"{m}.pos_embed"][0], side)
    for index in range(12):
        block = f"{m}.blocks.{index}"
        y = norm(t, f"{block}.norm1", x, 1e-6)
        if index in everywhere:
            y = attend_with_relative_places(t, f"{block}.attn", y, 12)
        else:
            filled = -(-side // window) * window
            y, padded = torch.empty_like(y), F.pad(y, (0, 0, 0, filled - side, 0, filled - side))
            for top in range(0, filled, window):
                for left in range(0, filled, window):
                    part = padded[top : top + window, left : left + window]
                    part = attend_with_relative_places(t, f"{block}.attn", part, 12)
                    to = y[top : top + window, left : left + window]
                    to.copy_(part[: to.shape[0], : to.shape[1]])
        x = x + y
        y = norm(t, f"{block}.norm2", x, 1e-6)
        x = x + linear(t, f"{block}.mlp.lin2", F.gelu(linear(t, f"{block}.mlp.lin1", y)))
    x = x.permute(2, 0, 1)[None]
    for convolution, normal in (("neck.0", "neck.1"), ("neck.2", "neck.3")):
        weight = t[f"{m}.{convolution}.weight"]
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        mean, spread = x.mean(1, keepdim=True), x.var(1, keepdim=True, correction=0)
        x = (x - mean) / (spread + 1e-6).sqrt()
        x = x * t[f"{m}.{normal}.weight"][:, None, None] + t[f"{m}.{normal}.bias"][:, None, None]
    for name in ("net_2", "net_3"):
        x = F.conv2d(x, t[f"{m}.{name}.weight"], stride=2, padding=1)
    return x[0]


def clip(t: Tensors, local: Tensor) -> Tensor:
    """(1024, g, g) -> (1 + g*g, 1024)."""
    m = "model.vision_model"
    table, side = t[f"{m}.embeddings.position_embedding.weight"], local.shape[-1]
    places = torch.cat((table[:1], bicubic(table[1:].reshape(16, 16, -1), side).flatten(0, 1)))
    x = torch.cat((t[f"{m}.embeddings.class_embedding"][None], local.flatten(1).T)) + places
    x = norm(t, f"{m}.pre_layrnorm", x, 1e-5)
    for index in range(24):
        layer = f"{m}.transformer.layers.{index}"
        y = linear(t, f"{layer}.self_attn.qkv_proj", norm(t, f"{layer}.layer_norm1", x, 1e-5))
        q, k, v = y.reshape(len(x), 3, 16, 64).permute(1, 2, 0, 3)
        y = ((q * 0.125) @ k.transpose(1, 2)).softmax(-1) @ v
        x = x + linear(t, f"{layer}.self_attn.out_proj", y.transpose(0, 1).flatten(1))
        y = linear(t, f"{layer}.mlp.fc1", norm(t, f"{layer}.layer_norm2", x, 1e-5))
        x = x + linear(t, f"{layer}.mlp.fc2", y * torch.sigmoid(1.702 * y))
    return x


def vision_tokens(t: Tensors, pixels: Tensor) -> Tensor:
    """(3, S, S) -> (N, 1280)."""
    local = sam(t, pixels)
    both = torch.cat((clip(t, local)[1:], local.flatten(1).T), -1)
    return linear(t, "model.projector.layers", both)


def page_rows(t: Tensors, view: Tensor, tiles: list[list[Tensor]]) -> Tensor:
    """Put together the rows of a page, token by token: ``tiles[row][column]`` and the view are (N, D)."""
    newline, out = t["model.image_newline"], []
    for line in tiles:
        side = round(len(line[0]) ** 0.5)
        for row in range(side):
            for tile in line:
                out += list(tile[row * side : (row + 1) * side])
            out.append(newline)
    side = round(len(view) ** 0.5)
    for row in range(side):
        out += [*view[row * side : (row + 1) * side], newline]
    return torch.stack([*out, t["model.view_seperator"]])


def logits(t: Tensors, ids: list[int], *, layers: int, heads: int, experts: int, taken: int) -> Tensor:
    """(T,) ids -> (T, V): layer 0 dense, the others with experts and shared experts; expert by expert."""

    def rms(name: str, x: Tensor) -> Tensor:
        return t[f"{name}.weight"] * x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt()

    def mlp(name: str, x: Tensor) -> Tensor:
        return linear(
            t, f"{name}.down_proj", F.silu(linear(t, f"{name}.gate_proj", x)) * linear(t, f"{name}.up_proj", x)
        )

    x = t["model.embed_tokens.weight"][ids]
    channels = x.shape[1] // heads
    speed = 10_000.0 ** (-torch.arange(0, channels, 2, dtype=x.dtype) / channels)
    angle = torch.outer(torch.arange(len(ids), dtype=x.dtype), torch.cat((speed, speed)))

    def turned(y: Tensor) -> Tensor:
        first, second = y.chunk(2, -1)
        return y * angle.cos() + torch.cat((-second, first), -1) * angle.sin()

    for index in range(layers):
        layer = f"model.layers.{index}"
        y = rms(f"{layer}.input_layernorm", x)
        q, k, v = (
            linear(t, f"{layer}.self_attn.{part}_proj", y).reshape(len(ids), heads, channels).transpose(0, 1)
            for part in "qkv"
        )
        scores = turned(q) @ turned(k).transpose(1, 2) * channels**-0.5
        scores = scores + torch.full((len(ids),) * 2, float("-inf")).triu(1)
        x = x + linear(t, f"{layer}.self_attn.o_proj", (scores.softmax(-1) @ v).transpose(0, 1).flatten(1))
        y = rms(f"{layer}.post_attention_layernorm", x)
        if index == 0:
            x = x + mlp(f"{layer}.mlp", y)
            continue
        shares = linear(t, f"{layer}.mlp.gate", y).softmax(-1)
        out = mlp(f"{layer}.mlp.shared_experts", y)
        for expert in range(experts):
            mine = (shares >= shares.topk(taken).values[:, -1:])[:, expert].nonzero()[:, 0]
            if len(mine):
                part = mlp(f"{layer}.mlp.experts.{expert}", y[mine]) * shares[mine, expert, None]
                out = out.index_add(0, mine, part)
        x = x + out
    return linear(t, "lm_head", rms("model.norm", x))
