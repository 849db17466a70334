"""One decoding step: the next token of every row in, logits out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from optical_memory.model.blocks import TRITON
from optical_memory.model.cache import KeyValueCache
from optical_memory.model.decoder import Decoder


class Step(Protocol):
    """Runs one position of every row of a cache.

    ``best`` are the ids of the largest logits (B,) of the last call, where finding them was part of it. The next call
    may then take None for both: these ids, one position on.
    """

    best: Tensor | None

    def __call__(self, tokens: Tensor | None, positions: Tensor | None, extent: int) -> Tensor:
        """Take ids and positions (B,), all below ``extent``; fill the cache; return logits (B, V)."""


class EagerStep:
    """The decoder as it is, on any device."""

    def __init__(self, decoder: Decoder, cache: KeyValueCache) -> None:
        """Bind ``decoder`` to ``cache``."""
        self._decoder, self._cache = decoder, cache
        self.best: Tensor | None = None

    @torch.no_grad()
    def __call__(self, tokens: Tensor | None, positions: Tensor | None, extent: int) -> Tensor:
        """Run one position of every row."""
        assert tokens is not None and positions is not None
        decoder = self._decoder
        x = decoder.embed(tokens.unsqueeze(1))  # (B, 1, D)
        attend = self._cache.step(positions, extent)
        hidden = decoder(x, positions=positions.unsqueeze(1), attend=attend)  # (B, 1, D)
        logits: Tensor = decoder.head(hidden[:, 0])  # (B, V)
        return logits


def make_step(decoder: Decoder, cache: KeyValueCache) -> Step:
    """Return the fastest step for where ``cache`` lies; on CUDA it is recorded once and kept with the cache."""
    if not (cache.keys.is_cuda and TRITON):
        return EagerStep(decoder, cache)
    from optical_memory.model.graphs import GraphStep, SingleStep

    bound = (id(decoder), cache.keys.data_ptr())
    if cache.recorded is None or cache.recorded[0] != bound:
        single = SingleStep.serves(decoder, cache)
        cache.recorded = bound, SingleStep(decoder, cache) if single else GraphStep(decoder, cache)
    step: Step = cache.recorded[1]
    return step


def prefill(decoder: Decoder, cache: KeyValueCache, embeddings: Tensor, start: int = 0) -> Tensor:
    """Run ``embeddings`` (B, T, D) at positions from ``start`` on, fill the cache, return the last logits (B, V)."""
    logits: Tensor = decoder.head(run_positions(decoder, cache, embeddings, start)[:, -1])  # (B, V)
    return logits


def run_positions(decoder: Decoder, cache: KeyValueCache, embeddings: Tensor, start: int = 0) -> Tensor:
    """Run ``embeddings`` (B, T, D) at positions from ``start`` on, fill the cache, return hidden states (B, T, D)."""
    count = embeddings.shape[1]
    positions = torch.arange(start, start + count, device=embeddings.device)  # (T,)
    hidden: Tensor = decoder(embeddings, positions=positions, attend=cache.run(start, count))  # (B, T, D)
    return hidden


def on_host(tokens: Tensor) -> Callable[[], list[int]]:
    """Begin to copy ids (B,) to the host; the function returned waits for the copy alone, not for what comes after."""
    if not tokens.is_cuda:
        return tokens.tolist
    held = torch.empty(tokens.shape, dtype=tokens.dtype, pin_memory=True)  # (B,)
    held.copy_(tokens, non_blocking=True)
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record()

    def ids() -> list[int]:
        copied.synchronize()
        return held.tolist()

    return ids
