"""From a sequence to an answer: prefilled, then decoded token by token, with what an earlier call left behind.

This is the same for every model: what a position holds is the business of those who lay the sequence out
(:class:`Laid`) and embed it. What a call leaves behind, the decoder's keys and values (:class:`PrefixStore`), makes
the next one cheaper.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import abc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from optical_memory.errors import CheckpointError
from optical_memory.model.answer import Answer, Ended, Stream, Usage
from optical_memory.model.cache import Atom, KeyValueCache, Prefix, PrefixStore
from optical_memory.model.decoder import Decoder
from optical_memory.model.image import Mode
from optical_memory.model.limits import device_memory
from optical_memory.model.sampling import Chooser, Repetitions, Sampling, log_probabilities
from optical_memory.model.step import make_step, on_host, prefill, run_positions
from optical_memory.model.tokenizer import TextStream, Tokenizer

_ROUND = 256
"""Caches are allocated in whole multiples of this many positions."""
_TOGETHER = 32_768
"""Positions prefilled at once, over all rows: some 2 GB of activations at the published sizes."""

Pieces = abc.Generator[str | Answer, None, None]
Cancel = threading.Event | Callable[[], bool]


class Laid(Protocol):
    """A sequence for a decoder: an atom for each position, so that what is shared with an earlier one is known."""

    @property
    def atoms(self) -> list[Atom]:
        """What stands at each position."""

    def __len__(self) -> int:
        """Positions."""

    @property
    def modes(self) -> list[Mode]:
        """Modes of the pages in it, for advice where the device is full."""

    @property
    def vision_tokens(self) -> int:
        """Positions that show a page."""

    def ids(self, tokenizer: Tokenizer) -> list[int]:
        """Return a token id for each position, for the guard against repetition."""


class Model(Protocol):
    """What decoding needs of a model."""

    @property
    def decoder(self) -> Decoder:
        """Embeddings to logits."""

    @property
    def device(self) -> torch.device:
        """Where the model computes."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of parameters and activations."""


class Row:
    """One answer in the making."""

    def __init__(self, sequence: Laid, settings: Sampling, tokenizer: Tokenizer) -> None:
        self.sequence, self.tokenizer = sequence, tokenizer
        self.ids: list[int] = []
        self.logs: list[float] = []  # of the tokens' probabilities, where they are judged
        self.ended: Ended | None = None
        self.reused = 0
        self.seen = None if settings.guard is None else Repetitions(settings.guard, sequence.ids(tokenizer))

    def push(self, token: int, stops: frozenset[int], most: int, log: float | None = None) -> None:
        """Take the next token; ``log`` is the logarithm of its probability, where that is kept."""
        if log is not None:
            self.logs.append(log)
        if token in stops:
            self.ended = "stop"
            return
        self.ids.append(token)
        if self.seen is not None:
            self.seen.push(token)
        if len(self.ids) >= most:
            self.ended = "length"

    def answer(self, seconds: float) -> Answer:
        """Return what has been written."""
        vision = self.sequence.vision_tokens
        usage = Usage(
            vision_tokens=vision,
            text_tokens=len(self.sequence) - vision,
            reused_tokens=self.reused,
            new_tokens=len(self.ids),
            seconds=seconds,
        )
        text = self.tokenizer.decode(self.ids)
        return Answer(text=text, usage=usage, ended=self.ended or "length", ids=tuple(self.ids), logs=tuple(self.logs))


class Decoding(ABC):
    """Runs sequences through a decoder. Safe to call from several threads.

    ``judges`` keeps the logarithm of each chosen token's probability in its row.
    """

    judges = False

    def __init__(self, model: Model, tokenizer: Tokenizer | None, prefixes: PrefixStore | None = None) -> None:
        """Take a model, its tokenizer, and a store of prefixes (by default bounded, in memory)."""
        self.model = model
        self._tokenizer = tokenizer
        self.prefixes = prefixes or PrefixStore()
        self._stops = frozenset({model.decoder.config.eos_token_id})

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer. Raises CheckpointError for a model that came without one."""
        if self._tokenizer is None:
            raise CheckpointError("this model has no tokenizer; load one from a checkpoint folder with tokenizer.json")
        return self._tokenizer

    @abstractmethod
    def _embed(self, sequences: Sequence[Any], start: int = 0) -> Tensor:
        """Return the decoder's input (B, T, D) for the positions from ``start`` on of sequences of one length."""

    def run(
        self, sequence: Laid, *, stream: bool = False, cancel: Cancel | None = None, **sampling: Any
    ) -> Answer | Stream:
        """Answer a sequence. ``cancel`` (an event, or a function that returns True) is asked before each token."""
        pieces = self._pieces(sequence, Sampling(**sampling), cancel)
        return Stream(pieces) if stream else Stream(pieces).answer

    def run_batch(self, sequences: Sequence[Laid], *, cancel: Cancel | None = None, **sampling: Any) -> list[Answer]:
        """Answer sequences, all at once; ``usage.seconds`` is that of the whole batch."""
        settings = Sampling(**sampling)
        start = time.perf_counter()
        rows = [Row(sequence, settings, self.tokenizer) for sequence in sequences]
        if rows:
            # Rows of one length lie together, so that they are prefilled together.
            ordered = sorted(rows, key=lambda row: len(row.sequence))
            with device_memory([mode for row in rows for mode in row.sequence.modes]):
                cache = self._allocate(len(ordered[-1].sequence), settings, batch=len(rows))
                logits = self._prefill_rows(ordered, cache)
                for _ in self._decode(ordered, cache, logits, settings, cancel):
                    continue
        return [row.answer(time.perf_counter() - start) for row in rows]

    @torch.no_grad()
    def state(self, sequence: Laid) -> Tensor:
        """Return the decoder's last hidden state (D,) behind a sequence; its keys and values are kept."""
        with device_memory(sequence.modes):
            prefix, shared = self._taken(sequence, len(sequence))
            try:
                hidden = run_positions(self.model.decoder, prefix.cache, self._embed([sequence], shared), shared)
                prefix.atoms = list(sequence.atoms)
            finally:
                self.prefixes.put(prefix)
        return hidden[0, -1]

    def _taken(self, sequence: Laid, capacity: int) -> tuple[Prefix, int]:
        """Take out a prefix with room for ``capacity`` positions; say how many of the sequence's it holds."""
        model, room = self.model, -(-capacity // _ROUND) * _ROUND
        prefix, shared = self.prefixes.take(sequence.atoms)
        reused = min(shared, len(sequence) - 1)  # the last position must run, for its logits
        if prefix is None:
            config = model.decoder.config
            prefix = Prefix(KeyValueCache(config, capacity=room, device=model.device, dtype=model.dtype))
        prefix.cache.enlarge(room, keep=reused)
        prefix.atoms = sequence.atoms[:reused]
        return prefix, reused

    def _most(self, length: int, settings: Sampling) -> int:
        """Return how many tokens an answer may have behind ``length`` positions."""
        room = self.model.decoder.config.max_position_embeddings - length
        return room if settings.max_new_tokens is None else min(settings.max_new_tokens, room)

    def _allocate(self, length: int, settings: Sampling, *, batch: int = 1) -> KeyValueCache:
        model, capacity = self.model, self._capacity(length, settings)
        config = model.decoder.config
        return KeyValueCache(config, capacity=capacity, batch=batch, device=model.device, dtype=model.dtype)

    def _capacity(self, length: int, settings: Sampling) -> int:
        return -(-(length + self._most(length, settings)) // _ROUND) * _ROUND

    @torch.no_grad()
    def _prefill_rows(self, rows: Sequence[Row], cache: KeyValueCache) -> Tensor:
        """Prefill rows, ordered by length, those of one length together; return the last logits (B, V)."""
        logits: list[Tensor] = []
        lengths = [len(row.sequence) for row in rows]
        start = 0
        while start < len(rows):
            stop = min(bisect_right(lengths, lengths[start]), start + max(1, _TOGETHER // lengths[start]))
            x = self._embed([row.sequence for row in rows[start:stop]])  # (b, T, D)
            logits.append(prefill(self.model.decoder, cache.rows(start, stop), x))
            start = stop
        return torch.cat(logits)  # (B, V)

    def _decode(
        self, rows: Sequence[Row], cache: KeyValueCache, logits: Tensor, settings: Sampling, cancel: Cancel | None
    ) -> Iterator[None]:
        """Choose and run tokens until every row has ended; yield after each token."""
        step, choose = make_step(self.model.decoder, cache), Chooser(settings, logits.device)
        stops = self._stops | settings.stop
        lengths = [len(row.sequence) for row in rows]
        most = [self._most(length, settings) for length in lengths]
        first = torch.tensor(lengths, device=logits.device)  # (B,) where the first new token of each row goes
        extent, best, count = max(lengths), None, 0
        while not _cancelled(cancel):
            banned = [row.seen.banned() if row.seen and not row.ended else [] for row in rows]
            tokens = choose(logits, banned, best)  # (B,)
            ids = on_host(tokens)
            logs = log_probabilities(logits, tokens) if self.judges else [None] * len(rows)
            extent = min(extent + 1, cache.capacity)
            if tokens.is_cuda:  # the device runs ahead while the host looks at the tokens
                follows = tokens is best  # the step has these at hand: nothing goes to the device but its start
                place = None if follows else (first + count).clamp_(max=cache.capacity - 1)
                logits, best = step(None if follows else tokens, place, extent), step.best  # (B, V), (B,)
            for row, token, limit, log in zip(rows, ids(), most, logs, strict=True):
                if row.ended is None:
                    row.push(token, stops, limit, log)
            yield
            if all(row.ended for row in rows):
                return
            if not tokens.is_cuda:  # rows that have ended run on, unseen
                logits = step(tokens, (first + count).clamp_(max=cache.capacity - 1), extent)  # (B, V)
            count += 1
        for row in rows:
            row.ended = row.ended or "cancelled"

    def _pieces(self, sequence: Laid, settings: Sampling, cancel: Cancel | None) -> Pieces:
        start = time.perf_counter()
        row, text = Row(sequence, settings, self.tokenizer), TextStream(self.tokenizer)
        length = len(sequence)
        with device_memory(sequence.modes):
            prefix, row.reused = self._taken(sequence, self._capacity(length, settings))
            try:
                logits = self._prefill(sequence, prefix.cache, row.reused)
                prefix.atoms = list(sequence.atoms)
                for _ in self._decode([row], prefix.cache, logits, settings, cancel):
                    if piece := text.take(row.ids):
                        yield piece
                prefix.atoms += row.ids[:-1]  # the last token has not been run
            finally:
                self.prefixes.put(prefix)
        if piece := text.rest(row.ids):
            yield piece
        yield row.answer(time.perf_counter() - start)

    @torch.no_grad()
    def _prefill(self, sequence: Laid, cache: KeyValueCache, start: int) -> Tensor:
        return prefill(self.model.decoder, cache, self._embed([sequence], start), start)  # (1, V)


def _cancelled(cancel: Cancel | None) -> bool:
    if cancel is None:
        return False
    return cancel.is_set() if isinstance(cancel, threading.Event) else bool(cancel())
