"""The windowed half of DeepEncoder: SAM's image encoder (ViT-B) and a convolutional compressor behind it.

Shapes: B images, side S px, patch grid H x W (S/16 each), D channels, A heads, C channels of a head, window w.
Most layers attend within windows of 14 x 14 patches; a few attend everywhere. Two stride-2 convolutions behind the
neck leave one token for 64 x 64 px. Sources: Segment Anything (arXiv 2304.02643), DeepSeek-OCR (arXiv 2510.18234).
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optical_memory.model.blocks import (
    ATTENTION,
    AttentionKind,
    Layers,
    Mixing,
    Mlp,
    Residual,
    fused,
    resized,
    served,
    table,
)
from optical_memory.model.config import SamConfig


class Attention(Mixing):
    """Self-attention with decomposed relative positions, within windows or everywhere (``window`` None)."""

    def __init__(self, config: SamConfig, *, window: int | None, attention: AttentionKind) -> None:
        super().__init__()
        self.heads, self.window, self.attend = config.heads, window, ATTENTION[attention]
        side, channels = window or config.grid, config.width // config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.rel_pos_h = table(2 * side - 1, channels)
        self.rel_pos_w = table(2 * side - 1, channels)

    def mix(self, x: Tensor) -> Tensor:
        """Map (B, H, W, D) to (B, H, W, D)."""
        height, width = x.shape[1:3]
        side = self.window or height
        if self.attend is fused and served(x, channels=self.rel_pos_h.shape[1]):
            from optical_memory.model.kernels.relative import relative_attention

            tables = resampled_table(self.rel_pos_h, side), resampled_table(self.rel_pos_w, side)  # (2*side - 1, C)
            return relative_attention(self.qkv(x), self.qkv.bias, tables, heads=self.heads, side=side)  # (B, H, W, D)
        # The published order is pad, then qkv. A padded place is then the bias alone, which adding the bias after
        # the padding gives as well, without the product over the padding.
        qkv = split_windows(F.linear(x, self.qkv.weight), side) + self.qkv.bias  # (n, w, w, 3D)
        q, k, v = (
            torch.unflatten(qkv, -1, (3, self.heads, -1)).permute(3, 0, 4, 1, 2, 5).unbind()
        )  # (n, A, w, w, C) each
        rows = torch.einsum("naijc,ikc->naijk", q, relative(self.rel_pos_h, side))  # (n, A, w, w, w)
        columns = torch.einsum("naijc,jkc->naijk", q, relative(self.rel_pos_w, side))  # (n, A, w, w, w)
        out = self.attend(*(each.flatten(2, 3) for each in (q, k, v, rows, columns)))  # (n, A, w*w, C)
        out = torch.unflatten(out.transpose(1, 2).flatten(2), 1, (side, side))  # (n, w, w, D)
        return join_windows(out, height, width)  # (B, H, W, D)


class Layer(Residual):
    """A layer of SAM."""

    def __init__(self, config: SamConfig, *, window: int | None, attention: AttentionKind) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.attention = Attention(config, window=window, attention=attention)
        self.norm2 = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.mlp = Mlp(config.width, config.mlp_width, F.gelu)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, D, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, D, H, W) to (B, D, H, W)."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # (B, D, H, W)


class Patches(nn.Conv2d):
    """A convolution whose stride is its size, as the product of squares of pixels with its weights.

    That is the same sum; GPUs have fast convolutions for many channels, and here are three.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, 3, S, S) to (B, D, S/p, S/p)."""
        side = self.stride[0]
        x = torch.unflatten(torch.unflatten(input, 3, (-1, side)), 2, (-1, side))  # (B, 3, H, p, W, p)
        x = x.permute(0, 2, 4, 1, 3, 5).flatten(3)  # (B, H, W, 3*p*p)
        return F.linear(x, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)  # (B, D, H, W)


class Sam(nn.Module):
    """Patches, positions, layers, neck and compressor."""

    def __init__(self, config: SamConfig, *, attention: AttentionKind = "fused") -> None:
        super().__init__()
        self.config = config
        self.patch = Patches(3, config.width, config.patch_size, stride=config.patch_size)
        self.positions = table(1, config.grid, config.grid, config.width)
        windows = [
            None if index in config.global_attn_indexes else config.window_size for index in range(config.layers)
        ]
        self.layers = Layers(Layer(config, window=each, attention=attention) for each in windows)
        neck = config.neck_channels
        self.neck = nn.Sequential(
            nn.Conv2d(config.width, neck, 1, bias=False),
            ChannelNorm(neck, eps=config.layer_norm_eps),
            nn.Conv2d(neck, neck, 3, padding=1, bias=False),
            ChannelNorm(neck, eps=config.layer_norm_eps),
        )
        widths = (neck, *config.downsample_channels)
        self.compressor = nn.Sequential(
            *(nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False) for a, b in pairwise(widths))
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Map normalised pixels (B, 3, S, S) to (B, D_out, S/64, S/64)."""
        x = self.patch(pixels).permute(0, 2, 3, 1)  # (B, H, W, D)
        x = x + resized(self.positions, x.shape[1])  # (B, H, W, D)
        x = self.layers(x)  # (B, H, W, D)
        x = self.neck(x.permute(0, 3, 1, 2))  # (B, 256, H, W)
        out: Tensor = self.compressor(x)  # (B, 1024, H/4, W/4)
        return out


def split_windows(x: Tensor, side: int) -> Tensor:
    """Cut (B, H, W, D) into windows, zeros added below and at the right to fill them: (B*n, side, side, D)."""
    x = F.pad(x, (0, 0, 0, -x.shape[2] % side, 0, -x.shape[1] % side))  # (B, H', W', D)
    x = torch.unflatten(torch.unflatten(x, 2, (-1, side)), 1, (-1, side))  # (B, H'/side, side, W'/side, side, D)
    return x.transpose(2, 3).flatten(0, 2)  # (B*n, side, side, D)


def join_windows(x: Tensor, height: int, width: int) -> Tensor:
    """Undo :func:`split_windows`: (B*n, side, side, D) -> (B, H, W, D)."""
    side = x.shape[1]
    down, across = -(-height // side), -(-width // side)
    x = torch.unflatten(x, 0, (-1, down, across)).transpose(2, 3)  # (B, down, side, across, side, D)
    return x.flatten(1, 2).flatten(2, 3)[:, :height, :width]  # (B, H, W, D)


def relative(offsets: Tensor, side: int) -> Tensor:
    """Look up the vector for each pair of query and key on one axis: (2L - 1, C) -> (side, side, C)."""
    offsets = resampled_table(offsets, side)  # (2*side - 1, C)
    place = torch.arange(side, device=offsets.device)
    return offsets[place.unsqueeze(1) - place + side - 1]  # (side, side, C)


def resampled_table(offsets: Tensor, side: int) -> Tensor:
    """Resample a table made for another side linearly, in float32, as published: (2L - 1, C) -> (2*side - 1, C)."""
    wanted = 2 * side - 1
    if len(offsets) == wanted:
        return offsets
    resampled = F.interpolate(offsets.float().t().unsqueeze(0), size=wanted, mode="linear")  # (1, C, 2*side - 1)
    return resampled.squeeze(0).t().to(offsets.dtype)  # (2*side - 1, C)
