"""The decoder's memory of what it has read: keys and values of every layer, and the prefix they stand for.

A position is named by its *atom*: a token id, or (page key, n) for the n-th vision token of a page at a tier. Two
sequences share a cache exactly as far as their atoms agree, since attention looks back only. A demoted page changes
its key, so it invalidates its own positions and what comes after them, and nothing before.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Atom = int | tuple[str, int]
"""What stands at a position: a token id, or a page's key and the index of its vision token."""


class KeyValueCache:
    """Keys and values, allocated once for ``capacity`` positions of ``batch`` rows.

    ``keys`` and ``values`` are (layers, B, heads, capacity, head_dim). Rows may be of different lengths: what lies
    past a row's own positions is never looked at, because every query sees only keys at its position or before.
    ``extent`` is the number of positions filled in the longest row. A position costs
    ``2 * layers * heads * head_dim`` numbers: 61,440 bytes in bfloat16 at the published size.
    """

    def __init__(
        self,
        *,
        layers: int,
        heads: int,
        head_dim: int,
        capacity: int,
        batch: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Allocate; raises torch's own error when the device is full."""
        shape = (layers, batch, heads, capacity, head_dim)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.capacity = capacity
        self.batch = batch
        self.extent = 0

    @property
    def nbytes(self) -> int:
        """Bytes on the device."""
        return 2 * self.keys.numel() * self.keys.element_size()

    def truncate(self, length: int) -> None:
        """Forget every position from ``length`` on; what is left needs no recomputation."""
        self.extent = min(self.extent, length)

    def write(self, layer: int, positions: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store ``keys`` and ``values`` (B, heads, T, D) at ``positions`` (B, T); return all up to ``extent``.

        The caller raises ``extent`` first (:meth:`reserve`): it is a number on the host, so that reading it never
        waits for the device. Returns two (B, heads, extent, D) views.
        """
        index = positions[:, None, :, None].expand_as(keys)  # (B, heads, T, D)
        self.keys[layer].scatter_(2, index, keys)
        self.values[layer].scatter_(2, index, values)
        return self.keys[layer, :, :, : self.extent], self.values[layer, :, :, : self.extent]

    def reserve(self, extent: int) -> None:
        """Announce that positions below ``extent`` are about to be filled. Raises ValueError past the capacity."""
        if extent > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} positions, not {extent}")
        self.extent = max(self.extent, extent)


def common_prefix(old: Sequence[Atom], new: Sequence[Atom]) -> int:
    """Return how many leading positions the two sequences share."""
    for index, (left, right) in enumerate(zip(old, new, strict=False)):
        if left != right:
            return index
    return min(len(old), len(new))
