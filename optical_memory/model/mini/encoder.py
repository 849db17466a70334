"""The mini's encoder: windowed stage, two stride-2 convolutions (16 times fewer tokens), global stage.

It has the published DeepEncoder's three stages and none of its classes: the published windowed stage carries
relative-position tables and ImageNet-sized widths, and the published compressor follows a 768-wide neck, which at
this size does not learn (see ``docs/mini.md``).  Here the neck is narrow and the compressor starts as
space-to-depth, so each vision token begins as the concatenation of its 16 patches' codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 16
"""Side of a patch, px."""
TOKEN = 64
"""Side of the square of page that one vision token covers, px."""
WINDOW = 8
"""Side of an attention window, patches."""
HEAD = 64
"""Width of an attention head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Widths and depths. ``code`` is the number of values per patch that pass the neck."""

    width: int = 320
    window_blocks: int = 5
    code: int = 80
    global_width: int = 384
    global_blocks: int = 2

    @property
    def token_width(self) -> int:
        """Values per vision token: the codes of its 16 patches."""
        return 16 * self.code


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) -> the same shape and type."""
        return F.rms_norm(x.float(), (x.shape[-1],), self.weight.float(), 1e-6).to(x.dtype)


def rotary(places: Tensor, base: float = 2000.0) -> tuple[Tensor, Tensor]:
    """Cosines and sines (N, HEAD / 2) for places (N, 2): half of the pairs turn with x, half with y."""
    pairs = HEAD // 4
    rates = base ** (-torch.arange(pairs, device=places.device, dtype=torch.float32) / pairs)
    angles = torch.cat([places[:, :1] * rates, places[:, 1:] * rates], -1)  # (N, HEAD / 2)
    return angles.cos(), angles.sin()


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, -1)
    return torch.cat([left * cos - right * sin, left * sin + right * cos], -1).to(x.dtype)


class Block(nn.Module):
    """Attention and a gated MLP, both added to the input through layers that start at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = width * 8 // 3 // 64 * 64
        self.heads = width // HEAD
        self.norm_attention, self.norm_mlp = RMSNorm(width), RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(B, N, width) -> (B, N, width); ``turn`` holds rotary cosines and sines."""
        b, n, width = x.shape
        qkv = self.qkv(self.norm_attention(x)).view(b, n, 3, self.heads, HEAD).permute(2, 0, 3, 1, 4)  # (3, B, H, N, D)
        q, k, v = qkv
        q, k = F.rms_norm(q, (HEAD,)), F.rms_norm(k, (HEAD,))
        if turn is not None:
            q, k = _turn(q, *turn), _turn(k, *turn)
        attended = F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(attended.transpose(1, 2).reshape(b, n, width))
        gate, value = self.up(self.norm_mlp(x)).chunk(2, -1)
        added: Tensor = self.down(F.silu(gate) * value)
        return x + added


class Windows(nn.Module):
    """Attention blocks over windows of 8 × 8 patches; every other block sees windows shifted by half."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(1, WINDOW * WINDOW, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, width) -> the same; H and W are padded to whole windows and cropped again."""
        rows, columns = x.shape[1], x.shape[2]
        x = F.pad(x, (0, 0, 0, -columns % WINDOW, 0, -rows % WINDOW))
        for index, block in enumerate(self.blocks):
            shift = WINDOW // 2 * (index % 2)
            x = self._over_windows(block, torch.roll(x, (-shift, -shift), (1, 2)) if shift else x)
            x = torch.roll(x, (shift, shift), (1, 2)) if shift else x
        return x[:, :rows, :columns]

    def _over_windows(self, block: nn.Module, x: Tensor) -> Tensor:
        b, rows, columns, width = x.shape
        down, across = rows // WINDOW, columns // WINDOW
        x = x.view(b, down, WINDOW, across, WINDOW, width).transpose(2, 3)  # (B, down, across, 8, 8, width)
        x = block(x.reshape(-1, WINDOW * WINDOW, width) + self.place)
        x = x.view(b, down, across, WINDOW, WINDOW, width).transpose(2, 3)  # (B, down, 8, across, 8, width)
        return x.reshape(b, rows, columns, width)


def start_as_space_to_depth(conv: nn.Conv2d, noise: float = 0.02) -> None:
    """Start a 3 × 3, stride-2 convolution with 4 times as many outputs as inputs as space-to-depth.

    Block k of the outputs carries sub-position (row k // 2, column k % 2) unchanged.
    """
    channels = conv.in_channels
    assert conv.bias is not None and conv.out_channels == 4 * channels
    nn.init.normal_(conv.weight, std=noise / (channels * 9) ** 0.5)
    nn.init.zeros_(conv.bias)
    with torch.no_grad():
        for k in range(4):
            conv.weight[k * channels : (k + 1) * channels, :, 1 + k // 2, 1 + k % 2] += torch.eye(channels)


class Encoder(nn.Module):
    """Ink (B, 1, S, S), 0 paper to 1 ink, S a multiple of 64 -> patches and vision tokens."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, code = config.width, config.code
        self.stem = nn.Sequential(
            nn.Conv2d(1, 64, 4, 4),
            nn.GELU(),
            nn.Conv2d(64, 128, 3, 2, 1),
            nn.GELU(),
            nn.Conv2d(128, width, 3, 2, 1),
        )
        self.windows = Windows(width, config.window_blocks)
        self.norm = RMSNorm(width)
        self.neck = nn.Linear(width, code)
        self.halve = nn.Conv2d(code, 4 * code, 3, 2, 1)
        self.quarter = nn.Conv2d(4 * code, 16 * code, 3, 2, 1)
        start_as_space_to_depth(self.halve)
        start_as_space_to_depth(self.quarter)
        self.enter = nn.Linear(16 * code, config.global_width)
        self.globals = nn.ModuleList(Block(config.global_width) for _ in range(config.global_blocks))
        self.leave = nn.Linear(config.global_width, 16 * code)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.norm_tokens = RMSNorm(16 * code)

    def forward(self, ink: Tensor) -> tuple[Tensor, Tensor]:
        """-> patches (B, S/16, S/16, width) and vision tokens (B, S/64, S/64, 16·code)."""
        patches = self.stem(ink * 2 - 0.5).permute(0, 2, 3, 1)  # (B, S/16, S/16, width)
        patches = self.norm(self.windows(patches))
        codes = self.neck(patches).permute(0, 3, 1, 2)  # (B, code, S/16, S/16)
        y = self.quarter(self.halve(codes)).permute(0, 2, 3, 1)  # (B, S/64, S/64, 16·code)
        return patches, self.norm_tokens(y + self._globally(y))

    def _globally(self, y: Tensor) -> Tensor:
        b, rows, columns, width = y.shape
        down = torch.arange(rows, device=y.device).repeat_interleave(columns)
        across = torch.arange(columns, device=y.device).repeat(rows)
        turn = rotary(torch.stack([across, down], -1).float() * 8 + 4)
        z = self.enter(y.reshape(b, rows * columns, width))
        for block in self.globals:
            z = block(z, turn)
        left: Tensor = self.leave(z)
        return left.view(b, rows, columns, width)
