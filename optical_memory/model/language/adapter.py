"""The adapter: what the read-out head holds under a page's cells, as vectors that a language model can read.

A page of rows x columns cells becomes ``k`` vectors a row, more for a recent page and fewer for an old one:

1. *Reader*, in the language model's own embedding space: for each cell, does a token begin here, what direction has
   that token's embedding, and how much does it weigh (digits and rare tokens much, words that can be guessed little).
   A language model ignores vectors that do not look like its own embeddings (``docs/language.md``).
2. *Pooling*: the page is cut into ``k`` segments a row that weigh alike, so that rare tokens get vectors nearly of
   their own and common words share one; a segment's vector is the mean of its tokens' embeddings by weight.
3. *Order*: features of the segment's tokens, side by side in their order, and two attention blocks over the page,
   are added to that mean and to what the language model's next layers see, both from zero.
4. *Keys* of a few cells each, for the scorer that names the lines which matter to a question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optical_memory.model.mini.encoder import HEAD, Block

RATIOS = (9, 6, 4, 3, 2, 1)
"""Vectors a row of a page, from recent pages to old ones."""
_FINEST = RATIOS[0]
_ENTRY = 256
"""Values of a cell before its pair is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    """Sizes. ``hidden_size`` is the language model's; ``columns`` the page's; ``levels`` the layers added to."""

    hidden_size: int = 576
    slot: int = 64
    columns: int = 102
    width: int = 448
    row_blocks: int = 4
    page_blocks: int = 2
    ranks: int = 12
    rank_width: int = 64
    levels: int = 4
    key: int = 192
    key_cells: int = 6


class Seen(NamedTuple):
    """What the reader sees of pages: features (P, rows, columns/2, width); of each cell, row by row, directions.

    ``directions`` (P, cells, D) are of unit length; ``starts`` and ``weights`` (P, cells) are logits.
    """

    features: Tensor
    directions: Tensor
    starts: Tensor
    weights: Tensor


class Tokens(NamedTuple):
    """Tokens of pages by the cell they begin in: unit directions (P, cells, D); begun, weights (P, cells)."""

    directions: Tensor
    begun: Tensor
    weights: Tensor


def turns(places: Tensor, base: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines (N, HEAD / 2) of places (N,) along one axis."""
    pairs = HEAD // 2
    rates = base ** (-torch.arange(pairs, device=places.device, dtype=torch.float32) / pairs)
    angles = places.float()[:, None] * rates  # (N, HEAD / 2)
    return angles.cos(), angles.sin()


class Adapter(nn.Module):
    """Slots of cells in, vectors for the language model, and keys of lines, out."""

    def __init__(self, config: AdapterConfig, length: float) -> None:
        """``length`` is the mean length of the language model's embeddings: what the reader's vectors get."""
        super().__init__()
        self.config = config
        width, hidden = config.width, config.hidden_size
        self.register_buffer("length", torch.tensor(length))
        self.length: Tensor
        self.enter = nn.Linear(config.slot, _ENTRY)
        self.pairs = nn.Linear(4 * _ENTRY, width)
        self.rows = nn.ModuleList(Block(width) for _ in range(config.row_blocks))
        self.direction = nn.Linear(width, 2 * hidden)
        self.begins = nn.Linear(width, 2)
        self.weighs = nn.Linear(width, 2)
        self.sharpness = nn.Parameter(torch.tensor(2.7))  # of the directions' cross-entropy, while training
        self.narrow = nn.Linear(width, 2 * config.rank_width)
        self.order = nn.Linear(config.ranks * config.rank_width, width)
        self.mean = nn.Linear(hidden, width)
        self.ratio = nn.Embedding(len(RATIOS), width)
        self.page = nn.ModuleList(Block(width) for _ in range(config.page_blocks))
        self.out = nn.Linear(width, hidden)
        self.deep = nn.Linear(width, config.levels * hidden)
        self.key = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, config.key))
        self.query = nn.Linear(hidden, config.key)
        nn.init.normal_(self.ratio.weight, std=0.02)
        for layer in (self.out, self.deep):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def see(self, slots: Tensor) -> Seen:
        """Read slots (P, rows, columns, slot)."""
        p, rows, columns, _ = slots.shape
        x = F.pad(F.gelu(self.enter(slots)).flatten(0, 1), (0, 0, 1, 1))  # (P·rows, columns + 2, entry)
        x = self.pairs(x.unfold(1, 4, 2).flatten(2))  # (P·rows, columns/2, width): of a pair and a cell at each side
        turn = turns(torch.arange(columns // 2, device=x.device), 1000.0)
        for block in self.rows:
            x = block(x, turn)
        x = F.rms_norm(x, (x.shape[-1],)).view(p, rows, columns // 2, -1)  # (P, rows, columns/2, width)
        directions = F.normalize(self.direction(x).view(p, rows * columns, -1).float(), dim=-1)  # (P, cells, D)
        starts, weights = (layer(x).view(p, rows * columns).float() for layer in (self.begins, self.weighs))
        return Seen(x, directions, starts, weights)

    @staticmethod
    def tokens(seen: Seen) -> Tokens:
        """Take the reader at its word."""
        return Tokens(seen.directions, seen.starts > 0, seen.weights.sigmoid())

    def forward(self, features: Tensor, tokens: Tokens, k: int) -> tuple[Tensor, Tensor]:
        """Pool pages to ``k`` vectors a row.

        Returns vectors (P, rows·k, (1 + levels)·D), the embedding first, and the segment of each cell (P, cells),
        rows·k where no token begins.
        """
        rows = features.shape[1]
        count = rows * k
        segments, ranks = self.segments(tokens, count)
        mean = self._mean(tokens, segments, count)  # (P, count, D)
        ordered = self._ordered(features, segments, ranks, count)  # (P, count, ranks·rank width)
        x = self.order(ordered) + self.mean(F.rms_norm(mean, (mean.shape[-1],)).to(ordered.dtype))
        x = x + self.ratio.weight[RATIOS.index(k)].to(x.dtype)  # (P, count, width)
        turn = turns(torch.arange(count, device=x.device) * (_FINEST / k), 10_000.0)
        for block in self.page:
            x = block(x, turn)
        x = F.rms_norm(x, (x.shape[-1],))
        vector = mean.to(x.dtype) + self.out(x)  # (P, count, D)
        return torch.cat([vector, self.deep(x)], -1), segments

    def segments(self, tokens: Tokens, count: int) -> tuple[Tensor, Tensor]:
        """Cut pages into ``count`` segments that weigh alike: each cell's segment and rank in it (P, cells)."""
        begun = tokens.begun
        weight = tokens.weights.double() * begun  # (P, cells)
        before = weight.cumsum(1) - weight
        share = before / weight.sum(1, keepdim=True).clamp(min=1e-6)
        segment = torch.where(begun, (share * count).long().clamp(max=count - 1), count)  # (P, cells)
        number = begun.long().cumsum(1) - 1  # of the token on its page
        kinds = segment.new_zeros(len(segment), count + 1)
        sizes = kinds.scatter_add(1, segment, begun.long())  # (P, count + 1)
        first = (sizes.cumsum(1) - sizes).gather(1, segment)  # (P, cells) number of the segment's first token
        size, ranks = sizes.gather(1, segment), self.config.ranks
        rank = number - first
        rank = torch.where(size <= ranks, rank, torch.div(rank * ranks, size.clamp(min=1), rounding_mode="floor"))
        return segment, rank.clamp(0, ranks - 1)

    def _mean(self, tokens: Tokens, segments: Tensor, count: int) -> Tensor:
        p, _, hidden = tokens.directions.shape
        weight = (tokens.weights * tokens.begun)[..., None]  # (P, cells, 1)
        total = weight.new_zeros(p, count + 1, 1).scatter_add(1, segments[..., None], weight)
        summed = weight.new_zeros(p, count + 1, hidden)
        index = segments[..., None].expand(-1, -1, hidden)
        summed = summed.scatter_add(1, index, tokens.directions.float() * weight)
        mean: Tensor = (summed / total.clamp(min=1e-6) * self.length)[:, :count]  # (P, count, D)
        return mean

    def _ordered(self, features: Tensor, segments: Tensor, ranks: Tensor, count: int) -> Tensor:
        p = len(features)
        wide, places = self.config.rank_width, self.config.ranks
        own = self.narrow(features).view(p, -1, wide)  # (P, cells, rank width)
        index = (segments * places + ranks)[..., None].expand(-1, -1, wide)
        laid = own.new_zeros(p, (count + 1) * places, wide).scatter_add(1, index, own)
        ordered: Tensor = laid[:, : count * places].view(p, count, places * wide)
        return ordered  # (P, count, ranks·rank width)

    def keys(self, features: Tensor) -> Tensor:
        """Keys (P, rows, columns / key cells, key) of pages' features, of every few cells."""
        p, rows, pairs, width = features.shape
        few = self.config.key_cells // 2
        keys: Tensor = self.key(features.view(p, rows, pairs // few, few, width).mean(3))
        return F.rms_norm(keys, (self.config.key,))

    def scores(self, hidden: Tensor, keys: Tensor) -> Tensor:
        """Score keys (B, N, key) by a question's last hidden state (B, Q, D): logits (B, Q, N)."""
        query = F.rms_norm(self.query(hidden), (self.config.key,))
        scores: Tensor = (query.float() @ keys.float().transpose(1, 2)) / self.config.key**0.5 * 4.0
        return scores
