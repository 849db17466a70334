"""The global half of DeepEncoder: CLIP's vision transformer (ViT-L/14) over SAM's tokens in place of patches.

Shapes: B images, g x g tokens, N = 1 + g*g with the class token, D channels, A heads, C channels of a head.
Sources: CLIP (arXiv 2103.00020), DeepSeek-OCR (arXiv 2510.18234). No final norm exists in the published model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from optical_memory.model.blocks import (
    ATTENTION,
    AttentionKind,
    Layers,
    Mixing,
    Mlp,
    Residual,
    quick_gelu,
    resized,
    table,
)
from optical_memory.model.config import ClipConfig


class Attention(Mixing):
    """Self-attention over all tokens; queries, keys and values in one matrix."""

    def __init__(self, config: ClipConfig, attention: AttentionKind) -> None:
        super().__init__()
        self.heads, self.attend = config.heads, ATTENTION[attention]
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def mix(self, x: Tensor) -> Tensor:
        """Map (B, N, D) to (B, N, D)."""
        q, k, v = (
            torch.unflatten(self.qkv(x), -1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        )  # (B, A, N, C) each
        return self.attend(q, k, v, None, None).transpose(1, 2).flatten(2)  # (B, N, D)


class Layer(Residual):
    """A layer of CLIP."""

    def __init__(self, config: ClipConfig, attention: AttentionKind) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.attention = Attention(config, attention)
        self.norm2 = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.mlp = Mlp(config.width, config.mlp_width, quick_gelu)


class Clip(nn.Module):
    """Class token, positions, norm, layers."""

    def __init__(self, config: ClipConfig, *, attention: AttentionKind = "fused") -> None:
        super().__init__()
        self.class_token = table(config.width)
        self.positions = table(1 + config.grid**2, config.width)
        # CLIP's own patches are in the published checkpoint, but SAM's tokens take their place: kept for its sake.
        self.unused_patch = table(config.width, 3, config.patch_size, config.patch_size)
        self.norm = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.layers = Layers(Layer(config, attention) for _ in range(config.layers))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map SAM's (B, D, g, g) to (B, 1 + g*g, D), the class token first."""
        side = tokens.shape[-1]
        first = self.class_token.expand(len(tokens), 1, -1)  # (B, 1, D)
        x = torch.cat((first, tokens.flatten(2).transpose(1, 2)), dim=1)  # (B, 1 + g*g, D)
        x = x + table_for(self.positions, side)  # (B, 1 + g*g, D)
        out: Tensor = self.layers(self.norm(x))  # (B, 1 + g*g, D)
        return out


def table_for(positions: Tensor, side: int) -> Tensor:
    """Resample the positions, except the class token's, to a grid of another side: (1 + L*L, D) -> (1 + side**2, D)."""
    trained = round((len(positions) - 1) ** 0.5)
    grid = torch.unflatten(positions[1:], 0, (1, trained, trained))  # (1, L, L, D)
    return torch.cat((positions[:1], resized(grid, side).flatten(0, 2)))  # (1 + side**2, D)
