"""The decoder of DeepSeek-OCR: DeepSeek-V2 blocks with plain multi-head attention and a mixture of experts.

Shapes: B sequences, T new positions, S positions that may be attended, H query heads, G key-value heads, C channels
of a head, D hidden size, V vocabulary. Source of the architecture: DeepSeek-V2 (arXiv 2405.04434) and the public
configuration of deepseek-ai/DeepSeek-OCR.

**Cache.** The decoder keeps nothing between calls. Each layer hands its rotated queries and its new keys and values
to an :class:`Attend`, which answers with the attention's output; :func:`causal` knows the new positions only. A
cache is an ``Attend`` that first stores the keys and values of its layer and then attends all that it has::

    hidden = decoder(decoder.embed(prompt), attend=cache.attend)                      # prefill: positions 0..T-1
    hidden = decoder(decoder.embed(token), positions=torch.tensor([[n]]), attend=cache.attend)      # position n
    logits = decoder.head(hidden[:, -1])                                              # (B, V)
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optical_memory.model.config import DecoderConfig
from optical_memory.model.experts import GatedMlp, MixtureOfExperts

Rotary = tuple[Tensor, Tensor]
"""Cosine and sine of the angle of each position and pair of channels, float32, (B or 1, 1, T, C/2) each."""


class Attend(Protocol):
    """Attention of one layer's new positions to all positions known to the implementation."""

    def __call__(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Take (B, H, T, C) queries, (B, G, T, C) keys and values of the new positions; return (B, H, T, C)."""


def causal(layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attend from each new position to itself and to the new positions before it."""
    grouped = queries.shape[1] != keys.shape[1]
    return F.scaled_dot_product_attention(queries, keys, values, is_causal=True, enable_gqa=grouped)  # (B, H, T, C)


class Attention(nn.Module):
    """Multi-head attention with rotary positions; queries, keys and values in one matrix, no biases."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = config.head_dim
        self.qkv = nn.Linear(config.hidden_size, (self.heads + 2 * self.kv_heads) * self.head_dim, bias=False)
        self.out = nn.Linear(self.heads * self.head_dim, config.hidden_size, bias=False)

    def forward(self, x: Tensor, rotary: Rotary, attend: Attend, layer: int) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        heads = torch.unflatten(self.qkv(x), -1, (-1, self.head_dim)).transpose(1, 2)  # (B, H + 2G, T, C)
        q, k, v = heads.tensor_split((self.heads, self.heads + self.kv_heads), dim=1)  # (B, H or G, T, C)
        out = attend(layer, rotate(q, rotary), rotate(k, rotary), v)  # (B, H, T, C)
        mixed: Tensor = self.out(out.transpose(1, 2).flatten(2))  # (B, T, D)
        return mixed


class Layer(nn.Module):
    """Attention, then an MLP or a mixture of experts, each on the normalised residual stream."""

    def __init__(self, config: DecoderConfig, *, dense: bool) -> None:
        super().__init__()
        self.norm1 = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.attention = Attention(config)
        self.norm2 = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.mlp = GatedMlp(config.hidden_size, config.intermediate_size) if dense else MixtureOfExperts(config)

    def forward(self, x: Tensor, rotary: Rotary, attend: Attend, layer: int) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        x = x + self.attention(self.norm1(x), rotary, attend, layer)  # (B, T, D)
        x = x + self.mlp(self.norm2(x))  # (B, T, D)
        return x


class Decoder(nn.Module):
    """Embeddings, layers, final norm and head."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        # Uniform: a normal distribution without memory (on the meta device) would import PyTorch's compiler.
        tokens = torch.empty(config.vocab_size, config.hidden_size).uniform_(-0.02, 0.02)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size, _weight=tokens)
        dense = [index < config.first_k_dense_replace for index in range(config.num_hidden_layers)]
        self.layers = nn.ModuleList(Layer(config, dense=each) for each in dense)
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, x: Tensor, *, positions: Tensor | None = None, attend: Attend = causal) -> Tensor:
        """Run embeddings (B, T, D), of text or of images, through all layers and the final norm: (B, T, D).

        ``positions`` are (T,) or (B, T) integers, 0 to T - 1 where None. ``self.head`` makes logits of the result.
        """
        if positions is None:
            positions = torch.arange(x.shape[1], device=x.device)  # (T,)
        rotary = self.rotary(positions)
        for index, layer in enumerate(self.layers):
            x = layer(x, rotary, attend, index)  # (B, T, D)
        normal: Tensor = self.norm(x)  # (B, T, D)
        return normal

    def rotary(self, positions: Tensor) -> Rotary:
        """Return cosine and sine for positions (T,) or (B, T): (1 or B, 1, T, C/2) each, in float32."""
        channels = torch.arange(0, self.config.head_dim, 2, device=positions.device).float()  # (C/2,)
        frequencies = 1 / self.config.rope_theta ** (channels / self.config.head_dim)  # (C/2,)
        angles = positions.float().unsqueeze(-1) * frequencies  # (T, C/2) or (B, T, C/2)
        angles = angles[None, None] if positions.dim() == 1 else angles.unsqueeze(1)  # (1 or B, 1, T, C/2)
        return angles.cos(), angles.sin()


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Turn each pair of channels (i, i + C/2) of (B, heads, T, C) by its position's angle, in float32."""
    cos, sin = rotary
    first, second = x.float().chunk(2, dim=-1)  # (B, heads, T, C/2) each
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)  # (B, heads, T, C)
    return turned.to(x.dtype)
