"""Choosing the next token: greedy or sampled, and the guard against repetition loops."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from optical_memory.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Settings of the no-repeat n-gram guard: no ``size`` tokens in a row occur twice within ``window`` tokens.

    ``window`` None looks at the whole sequence, prompt included. Tokens in ``allowed`` are never banned. The
    defaults are those of the published serving configuration, whose white list is ``<td>`` and ``</td>``; the
    published ``infer()`` uses size 20 (35 when evaluating) without a window or white list. Source:
    deepseek-ai/DeepSeek-OCR, 2025-10-20.
    """

    size: int = 30
    window: int | None = 90
    allowed: frozenset[int] = frozenset({128821, 128822})

    def __post_init__(self) -> None:
        """Refuse sizes that mean nothing."""
        if self.size < 1 or (self.window is not None and self.window < 1):
            raise InputError(f"a guard needs a size and a window of at least 1, not {self.size!r} and {self.window!r}")


class Repetitions:
    """What a :class:`Guard` bans next, for one sequence; constant time a token."""

    def __init__(self, guard: Guard, ids: Iterable[int] = ()) -> None:
        """Begin with the ids of the prompt."""
        self._guard = guard
        self._ids: list[int] = []
        self._followers: defaultdict[tuple[int, ...], list[tuple[int, int]]] = defaultdict(list)
        for token in ids:
            self.push(token)

    def push(self, token: int) -> None:
        """Add one token."""
        self._ids.append(token)
        start = len(self._ids) - self._guard.size
        if start >= 0:
            self._followers[tuple(self._ids[start:-1])].append((start, token))

    def banned(self) -> list[int]:
        """Return the tokens that would complete an n-gram seen before."""
        size, window = self._guard.size, self._guard.window
        if len(self._ids) < size:
            return []
        first = 0 if window is None else len(self._ids) - window
        last = tuple(self._ids[len(self._ids) - size + 1 :])
        found = {token for start, token in self._followers.get(last, ()) if start >= first}
        return sorted(found - self._guard.allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are chosen.

    ``temperature`` 0 is greedy. ``top_p`` keeps the most likely tokens whose probabilities sum to it. ``seed`` makes
    sampling repeatable on the same device. ``max_new_tokens`` None: as many as there are positions left. ``stop``
    are ids that end the answer, beside the end-of-sequence token. ``guard`` None switches the guard off. ``first`` is
    a token and a probability, 0 to 1: that token begins the answer where it is likelier than this, and only there.
    """

    max_new_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    guard: Guard | None = Guard()
    stop: frozenset[int] = frozenset()
    first: tuple[int, float] | None = None

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        if not 0 <= self.temperature < float("inf"):
            raise InputError(f"temperature must be at least 0, not {self.temperature!r}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p must be above 0 and at most 1, not {self.top_p!r}")
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise InputError(f"max_new_tokens must be at least 1, not {self.max_new_tokens!r}")
        if self.first is not None and not 0 <= self.first[1] <= 1:
            raise InputError(f"the probability of a first token must be 0 to 1, not {self.first[1]!r}")


class Chooser:
    """Chooses tokens for a batch by one :class:`Sampling`."""

    def __init__(self, sampling: Sampling, device: torch.device) -> None:
        """Seed the device's random numbers for this call alone."""
        self._sampling = sampling
        self._first = sampling.first
        self._random = torch.Generator(device=device)
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)

    def __call__(self, logits: Tensor, banned: list[list[int]], best: Tensor | None = None) -> Tensor:
        """Take (B, V) logits and the tokens banned in each row; return an id for each row (B,), on the device.

        ``best`` are the ids of the largest logits, where they are known already.
        """
        if self._first is None:
            return self._chosen(logits, banned, best)
        (token, least), self._first = self._first, None
        begins = logits.float().softmax(-1)[:, token] > least  # (B,)
        without = logits.index_fill(1, torch.tensor([token], device=logits.device), float("-inf"))
        others = self._chosen(without, banned, None)
        return torch.where(begins, token, others)

    def _chosen(self, logits: Tensor, banned: list[list[int]], best: Tensor | None) -> Tensor:
        pairs = [(row, token) for row, tokens in enumerate(banned) for token in tokens]
        if pairs:
            rows, tokens = torch.tensor(pairs, device=logits.device).unbind(1)  # (P,) each
            logits = logits.index_put((rows, tokens), logits.new_tensor(float("-inf")))  # (B, V)
        if self._sampling.temperature == 0:
            return likeliest(logits) if best is None or pairs else best
        scaled = (logits.float() / self._sampling.temperature).softmax(dim=-1)  # (B, V)
        if self._sampling.top_p < 1:
            scaled = _nucleus(scaled, self._sampling.top_p)  # (B, V)
        return torch.multinomial(scaled, 1, generator=self._random).squeeze(1)


def log_probabilities(logits: Tensor, tokens: Tensor) -> list[float]:
    """Return the logarithm of each chosen token's probability: logits (B, V), ids (B,)."""
    logs: list[float] = logits.float().log_softmax(-1).gather(1, tokens[:, None])[:, 0].tolist()
    return logs


def likeliest(logits: Tensor) -> Tensor:
    """Return the place of the largest of each row: (B, V) -> (B,).

    A few long rows are searched in parts: on a GPU a row would else be one program's work.
    """
    rows, count = logits.shape
    if not logits.is_cuda or rows > 8 or count % 256:
        return logits.argmax(dim=-1)
    values, places = logits.view(rows, -1, 256).max(dim=-1)  # (B, V/256) each
    part = values.argmax(dim=-1, keepdim=True)  # (B, 1)
    return (part * 256 + places.gather(1, part)).squeeze(1)  # (B,)


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Zero all but the most likely tokens that together reach ``top_p``; the most likely one always stays."""
    ordered, index = probabilities.sort(dim=-1, descending=True)  # (B, V) each
    before = ordered.cumsum(dim=-1) - ordered  # (B, V) what the tokens ahead of this one sum to
    return torch.zeros_like(probabilities).scatter(-1, index, ordered * (before < top_p))  # (B, V)
