"""What has been computed once: the decoder's keys and values, and the pages' vision tokens.

**Prefixes.** A position is named by its *atom*: a token id, or (page key, n) for the n-th vision token of a page at a
tier. Two sequences share keys and values exactly as far as their atoms agree, since attention looks back only. A
demoted page changes its key, so it invalidates its own positions and what comes after them, and nothing before.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from optical_memory.model.config import DecoderConfig
from optical_memory.model.decoder import Attend

Atom = int | tuple[str, int]
"""What stands at a position: a token id, or a page's key and the index of its vision token."""


class KeyValueCache:
    """Keys and values of every layer, allocated once for ``capacity`` positions of ``batch`` rows.

    ``keys`` and ``values`` are (layers, B, G, capacity, C). Rows may be of different lengths: what lies past a row's
    own positions is never looked at, because a query sees only keys at its position or before. A position costs
    ``2 * layers * G * C`` numbers: 61,440 bytes in bfloat16 at the published sizes.
    """

    def __init__(
        self,
        config: DecoderConfig,
        *,
        capacity: int,
        batch: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Allocate; raises torch's own error when the device is full."""
        shape = (config.num_hidden_layers, batch, config.num_key_value_heads, capacity, config.head_dim)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.recorded: tuple[Any, Any] | None = None  # a decoding step bound to this memory: see step.py

    @property
    def capacity(self) -> int:
        """Positions that fit in a row."""
        return self.keys.shape[3]

    @property
    def batch(self) -> int:
        """Rows."""
        return self.keys.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes on the device."""
        return 2 * self.keys.numel() * self.keys.element_size()

    def enlarge(self, capacity: int, *, keep: int) -> None:
        """Make room for ``capacity`` positions where there are fewer; of the old ones the first ``keep`` stay."""
        if capacity <= self.capacity:
            return
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_zeros(*old.shape[:3], capacity, old.shape[4])
            new[:, :, :, :keep] = old[:, :, :, :keep]
            setattr(self, name, new)
        self.recorded = None  # the memory it is bound to may be given out again, to a cache of another size

    def rows(self, start: int, stop: int) -> KeyValueCache:
        """Return the rows from ``start`` up to ``stop`` as a cache of their own, in the same memory."""
        part = object.__new__(KeyValueCache)
        part.recorded = None
        part.keys, part.values = self.keys[:, start:stop], self.values[:, start:stop]
        return part

    def run(self, start: int, count: int) -> Attend:
        """Return the attention of ``count`` new positions from ``start`` on, the same in every row (prefill)."""
        stop = start + count
        mask = None
        if start:
            seen = torch.arange(stop, device=self.keys.device)  # (S,)
            mask = seen <= torch.arange(start, stop, device=self.keys.device)[:, None]  # (T, S)

        def attend(layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            self.keys[layer, :, :, start:stop] = keys
            self.values[layer, :, :, start:stop] = values
            keys, values = self.keys[layer, :, :, :stop], self.values[layer, :, :, :stop]  # (B, G, S, C) each
            return _attention(queries, keys, values, mask=mask, causal=start == 0)  # (B, H, T, C)

        return attend

    def step(self, positions: Tensor, extent: int) -> Attend:
        """Return the attention of one new position in each row: ``positions`` (B,), all below ``extent``."""
        mask = torch.arange(extent, device=positions.device) <= positions[:, None, None, None]  # (B, 1, 1, S)

        def attend(layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            index = positions[:, None, None, None].expand_as(keys)  # (B, G, 1, C)
            self.keys[layer].scatter_(2, index, keys)
            self.values[layer].scatter_(2, index, values)
            keys, values = self.keys[layer, :, :, :extent], self.values[layer, :, :, :extent]  # (B, G, S, C) each
            return _attention(queries, keys, values, mask=mask, causal=False)  # (B, H, 1, C)

        return attend


def _attention(queries: Tensor, keys: Tensor, values: Tensor, *, mask: Tensor | None, causal: bool) -> Tensor:
    grouped = queries.shape[1] != keys.shape[1]
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=causal, enable_gqa=grouped)


def common_prefix(old: Sequence[Atom], new: Sequence[Atom]) -> int:
    """Return how many leading positions the two sequences share."""
    for index, (left, right) in enumerate(zip(old, new, strict=False)):
        if left != right:
            return index
    return min(len(old), len(new))


@dataclass(slots=True)
class Prefix:
    """A cache of one row, and the atoms of the positions filled in it."""

    cache: KeyValueCache
    atoms: list[Atom] = field(default_factory=list)


class PrefixStore:
    """Prefixes kept between calls, least recently used first out, ``max_bytes`` on the device at most.

    A prefix is taken out while it is used, so that two threads never write to the same memory.
    """

    def __init__(self, max_bytes: int = 2 << 30) -> None:
        """``max_bytes``: the default holds four full sequences of 8,192 positions at the published sizes."""
        self.max_bytes = max_bytes
        self._prefixes: list[Prefix] = []
        self._lock = threading.Lock()

    def take(self, atoms: Sequence[Atom]) -> tuple[Prefix | None, int]:
        """Take out the prefix that shares the most positions with ``atoms``, and say how many those are."""
        with self._lock:
            shared = [common_prefix(prefix.atoms, atoms) for prefix in self._prefixes]
            best = max(range(len(shared)), key=shared.__getitem__, default=None)
            if best is None or shared[best] < 2:  # every sequence begins with the same token
                return None, 0
            return self._prefixes.pop(best), shared[best]

    def put(self, prefix: Prefix) -> None:
        """Keep ``prefix``; drop the least recently used ones until all fit."""
        with self._lock:
            self._prefixes.append(prefix)
            while self._prefixes and sum(each.cache.nbytes for each in self._prefixes) > self.max_bytes:
                del self._prefixes[0]

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._prefixes.clear()
