"""Decoding steps for CUDA: recorded once as a graph of kernels, then replayed for every token.

A graph's inputs, outputs and cache stay at their addresses, so a step belongs to one cache. Positions are data: the
graph recorded at one position serves all. It ends by choosing the likeliest token and moving on by one position, so
that greedy decoding is one replay after another, with nothing between them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor

from optical_memory.model.cache import KeyValueCache
from optical_memory.model.decoder import Decoder, Layer
from optical_memory.model.experts import MixtureOfExperts
from optical_memory.model.kernels import cached, single
from optical_memory.model.sampling import likeliest

PARTS = 8
"""Parts that a single sequence's attention is cut into, so that a few heads fill the device."""


class _RecordedStep(ABC):
    """A step of every row of a cache, recorded at its first call. Subclasses say in ``_run`` what is recorded."""

    def __init__(self, decoder: Decoder, cache: KeyValueCache) -> None:
        """Bind ``decoder`` to ``cache``."""
        device = cache.keys.device
        self._decoder, self._cache = decoder, cache
        self._tokens = torch.zeros(cache.batch, dtype=torch.long, device=device)  # (B,)
        self._positions = torch.zeros(cache.batch, dtype=torch.long, device=device)  # (B,)
        self._angles = angles(decoder, cache.capacity, device)
        self._replay: Callable[[], Tensor] | None = None
        self.best: Tensor | None = None

    @torch.no_grad()
    def __call__(self, tokens: Tensor | None, positions: Tensor | None, extent: int) -> Tensor:
        """Run one position of every row; the logits (B, V) and ``best`` are overwritten by the next call."""
        if tokens is not None and positions is not None:
            self._tokens.copy_(tokens)
            self._positions.copy_(positions)
            if self._replay is None:
                self._replay = recorded(self._run) if self._tokens.is_cuda else self._run
                self._tokens.copy_(tokens)  # recording moved on
                self._positions.copy_(positions)
        assert self._replay is not None
        return self._replay()

    @abstractmethod
    def _run(self) -> Tensor:
        """Compute the logits (B, V), put the likeliest tokens in place of the last, and move on by one position."""


class GraphStep(_RecordedStep):
    """The decoder's layers, with attention that reads only what each row has; for batches."""

    def _run(self) -> Tensor:
        decoder = self._decoder
        x = decoder.embed(self._tokens)  # (B, D)
        for index, layer in enumerate(cast(Iterable[Layer], decoder.layers)):
            x = x + self._attention(index, layer, layer.norm1(x))  # (B, D)
            x = x + layer.mlp(layer.norm2(x).unsqueeze(1)).squeeze(1)  # (B, D)
        logits: Tensor = decoder.head(decoder.norm(x))  # (B, V)
        self.best = self._tokens
        self._tokens.copy_(likeliest(logits))
        self._positions.add_(1).clamp_(max=self._cache.capacity - 1)
        return logits

    def _attention(self, index: int, layer: Layer, x: Tensor) -> Tensor:
        config = self._decoder.config
        heads, groups = config.num_attention_heads, config.num_key_value_heads
        qkv = torch.unflatten(layer.attention.qkv(x), -1, (-1, config.head_dim))  # (B, H + 2G, C)
        q, k, v = torch.split(qkv, [heads, groups, groups], dim=1)  # (B, H or G, C)
        keys, values = self._cache.keys[index], self._cache.values[index]  # (B, G, S, C) each
        out = cached.attend(q, k, v, keys, values, self._positions, self._angles)  # (B, H, C)
        mixed: Tensor = layer.attention.out(out.flatten(1))  # (B, D)
        return mixed


class SingleStep(_RecordedStep):
    """One sequence, six kernels a layer; the residual stream is kept in float32."""

    def __init__(self, decoder: Decoder, cache: KeyValueCache) -> None:
        """Bind ``decoder`` to ``cache`` of one row."""
        super().__init__(decoder, cache)
        config, weight = decoder.config, decoder.head.weight
        heads, groups, channels = config.num_attention_heads, config.num_key_value_heads, config.head_dim

        def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=weight.device)

        self._x = empty(config.hidden_size)
        self._qkv = empty(heads + 2 * groups, channels, dtype=weight.dtype)
        self._parts = empty(heads, PARTS, channels)
        self._best, self._total = empty(heads, PARTS), empty(heads, PARTS)
        self._scores = empty(config.n_routed_experts)
        self._chosen = empty(config.num_experts_per_tok, dtype=torch.int32)
        self._share = empty(config.num_experts_per_tok)
        self._routed = empty(config.num_experts_per_tok, config.moe_intermediate_size, dtype=weight.dtype)
        shared = config.n_shared_experts * config.moe_intermediate_size
        self._shared, self._dense = (
            empty(shared, dtype=weight.dtype),
            empty(config.intermediate_size, dtype=weight.dtype),
        )
        self._logits = empty(1, config.vocab_size, dtype=weight.dtype)
        parts = single.parts_of(config.vocab_size)
        self._likely = empty(parts), empty(parts, dtype=torch.int32)

    @staticmethod
    def serves(decoder: Decoder, cache: KeyValueCache) -> bool:
        """Say whether the sizes fit the kernels."""
        channels = decoder.config.head_dim
        power = channels >= 16 and channels & (channels - 1) == 0
        return cache.batch == 1 and power and decoder.config.n_shared_experts > 0

    def _run(self) -> Tensor:
        decoder, eps = self._decoder, self._decoder.config.rms_norm_eps
        single.begin(self._tokens, decoder.embed.weight, self._x)
        for index, layer in enumerate(cast(Iterable[Layer], decoder.layers)):
            self._attention(index, layer, eps)
            self._mlp(layer, eps)
        single.choose(
            self._x, decoder.norm.weight, decoder.head.weight, self._logits, self._likely,
            self._tokens, self._positions, last=self._cache.capacity - 1, eps=eps,
        )  # fmt: skip
        self.best = self._tokens
        return self._logits

    def _attention(self, index: int, layer: Layer, eps: float) -> None:
        config = self._decoder.config
        heads, groups = config.num_attention_heads, config.num_key_value_heads
        single.project(self._x, layer.norm1.weight, layer.attention.qkv.weight, self._qkv, eps=eps)
        q, k, v = torch.split(self._qkv.unsqueeze(0), [heads, groups, groups], dim=1)  # (1, H or G, C) each
        keys, values = self._cache.keys[index], self._cache.values[index]  # (1, G, S, C) each
        cached.attend_parts(
            q, k, v, keys, values, self._positions, self._angles, self._parts.unsqueeze(0), self._best, self._total
        )
        single.join(self._parts, self._best, self._total, layer.attention.out.weight, self._x)

    def _mlp(self, layer: Layer, eps: float) -> None:
        mlp, norm, x = layer.mlp, layer.norm2.weight, self._x
        if not isinstance(mlp, MixtureOfExperts):
            single.gate(x, norm, None, mlp.gate_up.weight, self._scores, self._dense, eps=eps)
            down = mlp.down.weight
            single.outer(x, self._chosen, self._share, self._routed, down, self._dense, down, taken=0)
            return
        router, each, shared = mlp.router, mlp.experts, mlp.shared
        assert shared is not None
        single.gate(x, norm, router.weight, shared.gate_up.weight, self._scores, self._shared, eps=eps)
        single.experts(
            x, norm, self._scores, each.gate_up, self._chosen, self._share, self._routed,
            eps=eps, scale=router.scale, renormalise=router.renormalise,
        )  # fmt: skip
        taken = len(self._chosen)
        single.outer(
            x, self._chosen, self._share, self._routed, each.down, self._shared, shared.down.weight, taken=taken
        )


def angles(decoder: Decoder, capacity: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of every position's angles: (S, C/2) each, float32."""
    cos, sin = decoder.rotary(torch.arange(capacity, device=device))  # (1, 1, S, C/2) each
    return cos[0, 0].contiguous(), sin[0, 0].contiguous()


def recorded(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Record what ``run`` does on the device as a graph; return a function that replays it.

    It is run twice first, so that kernels are compiled and libraries ready; what it writes must bear that.
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        out = run()

    def replay() -> Tensor:
        graph.replay()
        return out

    return replay
