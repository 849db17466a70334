"""The bundled decoder: the published decoder's classes at a small size, told at each step where it is on the page.

The sequence is vision tokens, then text. Every text position carries its place: Fourier features of the point on
the page, and a *glance*, what the read-out head's slots hold under the next cells. The count of the characters so
far gives the place, so nothing is lost or read twice however long the text. With attention alone a decoder of this
size did not learn to find its place (``docs/mini.md``).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optical_memory.model.config import DecoderConfig
from optical_memory.model.decoder import Attend, Decoder, causal
from optical_memory.model.mini.vocabulary import LONGEST

AHEAD = LONGEST
"""Cells that a glance takes in: as many as the longest token fills."""
TEXT_FROM = 512
"""Position of the first token of text, whatever the number of vision tokens before it (up to 512)."""
_WAVES = 8


def config(vocabulary: int) -> DecoderConfig:
    """Return the sizes of the bundled decoder."""
    return DecoderConfig(
        vocab_size=vocabulary,
        hidden_size=320,
        intermediate_size=896,
        moe_intermediate_size=192,
        num_hidden_layers=3,
        num_attention_heads=5,
        num_key_value_heads=5,
        n_routed_experts=8,
        n_shared_experts=1,
        num_experts_per_tok=2,
        first_k_dense_replace=1,
    )


class MiniDecoder(nn.Module):
    """Vision tokens and text with places in, logits of the next token out."""

    def __init__(self, config: DecoderConfig, token_width: int, slot: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.core = Decoder(config)
        self.vision = nn.Linear(token_width, width, bias=False)
        self.place = nn.Linear(4 * _WAVES, width, bias=False)
        self.look = nn.Linear(AHEAD * slot, 768)
        self.see = nn.Linear(768, width)

    def page(self, tokens: Tensor) -> Tensor:
        """Vision tokens (B, h, w, token width) -> embeddings (B, h·w, D)."""
        _, h, w, _ = tokens.shape
        rows = (torch.arange(h, device=tokens.device) + 0.5) / h
        columns = (torch.arange(w, device=tokens.device) + 0.5) / w
        places = torch.stack([columns.repeat(h), rows.repeat_interleave(w)], -1)  # (h·w, 2)
        embedded: Tensor = self.vision(tokens).flatten(1, 2) + self.place(waves(places).to(tokens.dtype))
        return embedded

    def text(self, ids: Tensor, glances: Tensor, places: Tensor) -> Tensor:
        """Ids (B, T), glances (B, T, AHEAD·slot), places (B, T, 2) as shares of the page -> (B, T, D)."""
        seen = self.see(F.silu(self.look(glances)))
        embedded: Tensor = self.core.embed(ids) + seen + self.place(waves(places).to(seen.dtype))
        return embedded

    def forward(self, x: Tensor, *, positions: Tensor, attend: Attend = causal) -> Tensor:
        """Embeddings (B, T, D) at positions (T,) or (B, T) -> normalised hidden states (B, T, D)."""
        hidden: Tensor = self.core(x, positions=positions, attend=attend)
        return hidden


def waves(places: Tensor) -> Tensor:
    """Fourier features (…, 32) of places (…, 2) from 0 to 1: octaves from the page to less than a cell."""
    angles = places.float()[..., None] * (torch.pi * 2.0 ** torch.arange(_WAVES, device=places.device))  # (…, 2, 8)
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)


def glances(slots: Tensor, offsets: Tensor) -> Tensor:
    """Return what lies under the next cells: slots (B, cells, slot) at offsets (B, T) -> (B, T, AHEAD·slot)."""
    b, _, slot = slots.shape
    padded = F.pad(slots, (0, 0, 0, AHEAD))  # (B, cells + AHEAD, slot)
    index = offsets[..., None] + torch.arange(AHEAD, device=slots.device)  # (B, T, AHEAD)
    index = index.clamp(max=padded.shape[1] - 1).flatten(1)[..., None].expand(-1, -1, slot)
    return padded.gather(1, index).view(b, -1, AHEAD * slot)


def places(offsets: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the middles of cells as shares of the page, (..., 2), x first; ``shape`` is (rows, columns)."""
    rows, columns = shape
    x = (offsets % columns + 0.5) / columns
    y = (torch.div(offsets, columns, rounding_mode="floor") + 0.5) / rows
    return torch.stack([x, y], -1)
