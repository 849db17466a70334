"""From a context to an answer: vision tokens and text spliced in order, run through the decoder token by token.

What a call leaves behind makes the next one cheaper: the pages' vision tokens (:class:`VisionCache`) and the
decoder's keys and values (:class:`PrefixStore`).
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import abc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, overload

import torch
from torch import Tensor

from optical_memory.errors import CheckpointError, ContextTooLongError
from optical_memory.model.answer import Answer, Ended, Stream, Usage
from optical_memory.model.cache import KeyValueCache, Prefix, PrefixStore
from optical_memory.model.encoding import OcrModel, PageEncoder
from optical_memory.model.limits import device_memory, mode_of
from optical_memory.model.prompts import FREE_OCR, Context
from optical_memory.model.sampling import Chooser, Repetitions, Sampling
from optical_memory.model.splice import Spliced, splice
from optical_memory.model.step import make_step, on_host, prefill
from optical_memory.model.tokenizer import TextStream, Tokenizer
from optical_memory.model.vision_cache import VisionCache
from optical_memory.renderers.base import Page

_ROUND = 256
"""Caches are allocated in whole multiples of this many positions."""
_TOGETHER = 32_768
"""Positions prefilled at once, over all rows: some 2 GB of activations at the published sizes."""

Pieces = abc.Generator[str | Answer, None, None]
Cancel = threading.Event | Callable[[], bool]


class _Row:
    """One answer in the making."""

    def __init__(self, sequence: Spliced, settings: Sampling, tokenizer: Tokenizer) -> None:
        self.sequence, self.tokenizer = sequence, tokenizer
        self.ids: list[int] = []
        self.ended: Ended | None = None
        self.reused = 0
        self.seen = None if settings.guard is None else Repetitions(settings.guard, sequence.ids(tokenizer))

    def push(self, token: int, stops: frozenset[int], most: int) -> None:
        if token in stops:
            self.ended = "stop"
            return
        self.ids.append(token)
        if self.seen is not None:
            self.seen.push(token)
        if len(self.ids) >= most:
            self.ended = "length"

    def answer(self, seconds: float) -> Answer:
        vision = self.sequence.vision_tokens
        usage = Usage(
            vision_tokens=vision,
            text_tokens=len(self.sequence) - vision,
            reused_tokens=self.reused,
            new_tokens=len(self.ids),
            seconds=seconds,
        )
        text = self.tokenizer.decode(self.ids)
        return Answer(text=text, usage=usage, ended=self.ended or "length", ids=tuple(self.ids))


class Generator:
    """Generates with a DeepSeek-OCR model. Safe to call from several threads."""

    def __init__(
        self,
        model: OcrModel,
        tokenizer: Tokenizer | None,
        *,
        vision: VisionCache | None = None,
        prefixes: PrefixStore | None = None,
    ) -> None:
        """Take a model, its tokenizer (pages can be encoded without), and caches (by default bounded, in memory)."""
        self.model = model
        self._tokenizer = tokenizer
        self.encoder = PageEncoder(model, vision or VisionCache())
        self.prefixes = prefixes or PrefixStore()
        self._stops = frozenset({model.decoder.config.eos_token_id})

    def encode(self, page: Page) -> Tensor:
        """Return a page's tokens (N, D), newlines and separator included, from the cache where they are known."""
        return self.encoder([page])[0]

    @overload
    def generate(
        self,
        context: Context,
        prompt: str = ...,
        *,
        stream: Literal[False] = ...,
        cancel: Cancel | None = ...,
        **sampling: Any,
    ) -> Answer: ...

    @overload
    def generate(
        self,
        context: Context,
        prompt: str = ...,
        *,
        stream: Literal[True],
        cancel: Cancel | None = ...,
        **sampling: Any,
    ) -> Stream: ...

    def generate(
        self,
        context: Context,
        prompt: str = FREE_OCR,
        *,
        stream: bool = False,
        cancel: Cancel | None = None,
        **sampling: Any,
    ) -> Answer | Stream:
        """Answer ``prompt`` on ``context``: a memory's context, a page, a text, or pages and text in order.

        ``cancel`` (an event, or a function that returns True) is asked before each token. ``sampling`` are the
        fields of :class:`Sampling`. With ``stream`` the text comes piece by piece. Raises ContextTooLongError,
        OutOfMemoryError, InputError, ImageError.
        """
        settings = Sampling(**sampling)
        pieces = self._pieces(self._splice(context, prompt), settings, cancel)
        return Stream(pieces) if stream else Stream(pieces).answer

    def generate_batch(
        self,
        contexts: Sequence[Context],
        prompt: str = FREE_OCR,
        *,
        cancel: Cancel | None = None,
        **sampling: Any,
    ) -> list[Answer]:
        """Answer ``prompt`` on each context, all rows at once; pages may be of different modes.

        ``usage.seconds`` is that of the whole batch. Errors: those of :meth:`generate`.
        """
        settings = Sampling(**sampling)
        start = time.perf_counter()
        rows = [_Row(self._splice(context, prompt), settings, self.tokenizer) for context in contexts]
        if rows:
            # Rows of one length lie together, so that they are prefilled together.
            ordered = sorted(rows, key=lambda row: len(row.sequence))
            with device_memory([mode for row in rows for mode in row.sequence.modes]):
                cache = self._allocate(len(ordered[-1].sequence), settings, batch=len(rows))
                logits = self._prefill_rows(ordered, cache)
                for _ in self._decode(ordered, cache, logits, settings, cancel):
                    continue
        return [row.answer(time.perf_counter() - start) for row in rows]

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer. Raises CheckpointError for a model that came without one."""
        if self._tokenizer is None:
            raise CheckpointError("this model has no tokenizer; load one from a checkpoint folder with tokenizer.json")
        return self._tokenizer

    def _splice(self, context: Context, prompt: str) -> Spliced:
        """Lay out a context and a prompt. Raises ContextTooLongError where no position is left for an answer."""
        self.model.ready(self.model.decoder)
        config = self.model.decoder.config
        sequence = splice(context, prompt, bos=config.bos_token_id, tokenizer=self.tokenizer, page_key=self.encoder.key)
        if len(sequence) >= config.max_position_embeddings:
            raise ContextTooLongError(
                f"the context takes {len(sequence):,} positions and the decoder has"
                f" {config.max_position_embeddings:,}, one at least for the answer; use a smaller budget or tier"
            )
        return sequence

    def _embed(self, sequences: Sequence[Spliced], start: int = 0) -> Tensor:
        """Return the decoder's input (B, T, D) for the positions from ``start`` on of sequences of one length."""
        atoms = [[atom if isinstance(atom, int) else 0 for atom in each.atoms[start:]] for each in sequences]
        x: Tensor = self.model.decoder.embed(torch.tensor(atoms, device=self.model.device))  # (B, T, D)
        places = [
            (row, at, page)
            for row, sequence in enumerate(sequences)
            for at, page in sequence.pages
            if at + mode_of(page).tokens(*page.size) > start
        ]
        encoded = self.encoder([page for _, _, page in places])
        for (row, at, _), tokens in zip(places, encoded, strict=True):
            skipped = max(0, start - at)
            x[row, at + skipped - start : at + len(tokens) - start] = tokens[skipped:].to(x.dtype)
        return x

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
    def _prefill_rows(self, rows: Sequence[_Row], cache: KeyValueCache) -> Tensor:
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
        self, rows: Sequence[_Row], cache: KeyValueCache, logits: Tensor, settings: Sampling, cancel: Cancel | None
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
            extent = min(extent + 1, cache.capacity)
            if tokens.is_cuda:  # the device runs ahead while the host looks at the tokens
                follows = tokens is best  # the step has these at hand: nothing goes to the device but its start
                place = None if follows else (first + count).clamp_(max=cache.capacity - 1)
                logits, best = step(None if follows else tokens, place, extent), step.best  # (B, V), (B,)
            for row, token, limit in zip(rows, ids(), most, strict=True):
                if row.ended is None:
                    row.push(token, stops, limit)
            yield
            if all(row.ended for row in rows):
                return
            if not tokens.is_cuda:  # rows that have ended run on, unseen
                logits = step(tokens, (first + count).clamp_(max=cache.capacity - 1), extent)  # (B, V)
            count += 1
        for row in rows:
            row.ended = row.ended or "cancelled"

    def _pieces(self, sequence: Spliced, settings: Sampling, cancel: Cancel | None) -> Pieces:
        start = time.perf_counter()
        row, text = _Row(sequence, settings, self.tokenizer), TextStream(self.tokenizer)
        length = len(sequence)
        with device_memory(sequence.modes):
            prefix, shared = self.prefixes.take(sequence.atoms)
            row.reused = min(shared, length - 1)  # the last position must run, for its logits
            prefix = prefix or Prefix(self._allocate(length, settings))
            prefix.cache.enlarge(self._capacity(length, settings), keep=row.reused)
            prefix.atoms = sequence.atoms[: row.reused]
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
    def _prefill(self, sequence: Spliced, cache: KeyValueCache, start: int) -> Tensor:
        return prefill(self.model.decoder, cache, self._embed([sequence], start), start)  # (1, V)


def _cancelled(cancel: Cancel | None) -> bool:
    if cancel is None:
        return False
    return cancel.is_set() if isinstance(cancel, threading.Event) else bool(cancel())
