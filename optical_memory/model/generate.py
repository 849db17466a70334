"""From a context to an answer with DeepSeek-OCR: vision tokens and text spliced in order.

What a call leaves behind makes the next one cheaper: the pages' vision tokens (:class:`VisionCache`) and the
decoder's keys and values (:class:`PrefixStore`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

import torch
from torch import Tensor

from optical_memory.errors import ContextTooLongError
from optical_memory.model.answer import Answer, Stream
from optical_memory.model.cache import PrefixStore
from optical_memory.model.decoding import Cancel, Decoding
from optical_memory.model.encoding import OcrModel, PageEncoder
from optical_memory.model.limits import mode_of
from optical_memory.model.prompts import FREE_OCR, Context
from optical_memory.model.splice import Spliced, splice
from optical_memory.model.tokenizer import Tokenizer
from optical_memory.model.vision_cache import VisionCache
from optical_memory.renderers.base import Page


class Generator(Decoding):
    """Generates with a DeepSeek-OCR model. Safe to call from several threads."""

    model: OcrModel

    def __init__(
        self,
        model: OcrModel,
        tokenizer: Tokenizer | None,
        *,
        vision: VisionCache | None = None,
        prefixes: PrefixStore | None = None,
    ) -> None:
        """Take a model, its tokenizer (pages can be encoded without), and caches (by default bounded, in memory)."""
        super().__init__(model, tokenizer, prefixes)
        self.encoder = PageEncoder(model, vision or VisionCache())

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
        return self.run(self._splice(context, prompt), stream=stream, cancel=cancel, **sampling)

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
        return self.run_batch([self._splice(each, prompt) for each in contexts], cancel=cancel, **sampling)

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
