"""The language model as an object: answers from the pages of a context, with sources and certainty."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor

from optical_memory.model.answer import Answer as Plain
from optical_memory.model.answer import Stream
from optical_memory.model.cache import PrefixStore
from optical_memory.model.decoding import Cancel, Decoding
from optical_memory.model.language import base, weights
from optical_memory.model.language.adapter import Adapter
from optical_memory.model.language.lines import (
    UNSURE,
    Line,
    Source,
    about_another,
    around,
    cited,
    is_read,
    named,
    names_in,
    scores_of,
    shared_words,
    shares_of,
    written,
)
from optical_memory.model.language.sequence import Laid, Shown, lay, pages_of, shown
from optical_memory.model.language.sight import Sight, used_rows
from optical_memory.model.llama import Llama
from optical_memory.model.mini import model as mini
from optical_memory.model.tokenizer import Tokenizer
from optical_memory.renderers.base import Page

ABSENT = "That is not in the memory."
"""What is answered where the memory does not say."""
_NAMED = 8
"""Rows that the scorer names; each is read with the one before and the one behind."""
_MOST_TOKENS = 96
_MOST_SOURCES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Plain):
    """An answer, where it stands, and how sure it is (0 to 1).

    ``doubtful`` says that characters it rests on are, or that lines were read and it stands in none of them.
    """

    sources: tuple[Source, ...] = ()
    certainty: float = 0.0
    doubtful: bool = False

    @property
    def found(self) -> bool:
        """Whether the memory holds an answer."""
        return not is_refusal(self.text)


def is_refusal(text: str) -> bool:
    """Return whether an answer is that the memory does not say."""
    return text.startswith(ABSENT.rstrip("."))


class LanguageModel(Decoding):
    """A llama that reads vision tokens through an adapter. Thread-safe."""

    judges = True

    def __init__(
        self,
        llama: Llama,
        tokenizer: Tokenizer,
        sight: Sight,
        *,
        prefixes: PrefixStore | None = None,
        refuses: float = 1.0,
    ) -> None:
        """Take a language model with its updates merged, its tokenizer, and what looks at pages.

        ``refuses`` is a probability, 0 to 1: where lines were read, "not in the memory" is the answer if it is likelier
        than this, and only then; 1 leaves it to the likeliest.
        """
        self.decoder, self.sight = llama, sight
        self.refuses = refuses
        self._refusal = tokenizer.encode(ABSENT)[0]
        super().__init__(self, tokenizer, prefixes)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.decoder.embed.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of parameters and activations."""
        return self.decoder.embed.weight.dtype

    def encode(self, page: Page) -> Tensor:
        """Return a page's vectors (N, (1 + levels)·D) as its tier gives them, from the cache where they are known.

        Errors: InputError for a page of another profile, ImageError.
        """
        laid = self._lay(shown(page), "?")
        return self.sight.vectors(page, laid.ratios[0])

    @overload
    def generate(
        self, context: Any, prompt: str, *, expand: bool = ..., stream: Literal[False] = ...,
        cancel: Cancel | None = ..., **sampling: Any,
    ) -> Plain: ...  # fmt: skip

    @overload
    def generate(
        self, context: Any, prompt: str, *, expand: bool = ..., stream: Literal[True],
        cancel: Cancel | None = ..., **sampling: Any,
    ) -> Stream: ...  # fmt: skip

    def generate(
        self,
        context: Any,
        prompt: str,
        *,
        expand: bool = True,
        stream: bool = False,
        cancel: Cancel | None = None,
        **sampling: Any,
    ) -> Plain | Stream:
        """Answer ``prompt`` from a context, a page, or pages and texts in order.

        With ``expand`` the lines that matter are read from their vision tokens first; without, the vectors alone
        answer. ``cancel`` and ``sampling`` are as for DeepSeek-OCR. Errors: InputError for an empty or overlong
        question or a page of another profile, ContextTooLongError, ImageError, OutOfMemoryError.
        """
        pieces = Stream(self._answering(shown(context), prompt, expand, cancel, sampling))
        return pieces if stream else pieces.answer

    def answer(self, context: Any, question: str, *, expand: bool = True, cancel: Cancel | None = None) -> Answer:
        """Answer a question from a context; see :meth:`generate`. Nothing to answer from: "not in the memory"."""
        answer = self.generate(context, question, expand=expand, cancel=cancel)
        assert isinstance(answer, Answer)
        return answer

    def absence(self, context: Any, question: str, *, expand: bool = True) -> float:
        """Return how likely, 0 to 1, the model thinks it that a context does not hold the answer."""
        what = shown(context)
        lines = self._fitting(self._lines(what, question, _NAMED)) if expand else []
        hidden = self.state(self._lay(what, question, _said(lines)))
        with torch.no_grad():
            likely: float = self.decoder.head(hidden).float().softmax(-1)[self._refusal].item()
        return likely

    def lines(self, context: Any, question: str, most: int = _NAMED) -> list[Line]:
        """Return the lines that matter to a question, as the mini reads them, in order."""
        return self._lines(shown(context), question, most)

    def _lines(self, what: Shown, question: str, most: int) -> list[Line]:
        if not what.pages:
            return []
        query = self.state(self._lay(what, question))
        scores = scores_of(query, [self.sight.keys(page) for page in what.pages], self.sight.adapter.scores)
        used, read = [used_rows(page) for page in what.pages], [self.sight.rows(page) for page in what.pages]
        shares = shares_of(scores, used)
        rows = around(named(shares, shared_words(question, read), most), used)
        return [Line(page=page, row=row, text=read[page][row], share=rows[page, row]) for page, row in sorted(rows)]

    def _lay(self, what: Shown, question: str, lines: str = "") -> Laid:
        positions = self.decoder.config.max_position_embeddings
        return lay(what, question, lines, sight=self.sight, tokenizer=self.tokenizer, positions=positions)

    def _answering(
        self, what: Shown, question: str, expand: bool, cancel: Cancel | None, sampling: dict[str, Any]
    ) -> Generator[str | Plain, None, None]:
        started = time.perf_counter()
        laid = self._lay(what, question)  # first: what cannot be asked is said before anything is computed
        lines = self._fitting(self._lines(what, question, _NAMED)) if expand else []
        text = _said(lines)
        laid = self._lay(what, question, text) if text else laid
        if not what.pages and not what.text:
            yield from self._nothing(laid, started)
            return
        first = (self._refusal, self.refuses) if lines and self.refuses < 1 else None
        settings = {"max_new_tokens": _MOST_TOKENS, "guard": None, "first": first, **sampling}
        stream = self.run(laid, stream=True, cancel=cancel, **settings)
        assert isinstance(stream, Stream)
        names = names_in(question) if lines else frozenset()
        if not names:
            yield from stream
        plain = stream.answer
        usage = replace(plain.usage, seconds=time.perf_counter() - started)
        sure = math.exp(sum(plain.logs)) if plain.logs else 0.0
        if names:  # held back till here: what is said of another is not said
            if not is_refusal(plain.text) and about_another(plain.text, names, lines):
                plain, sure = replace(plain, text=ABSENT, ids=tuple(self.tokenizer.encode(ABSENT)), logs=()), 1 - sure
            yield plain.text
        sources = self._sources(plain.text, lines, what)
        yield Answer(
            text=plain.text,
            usage=usage,
            ended=plain.ended,
            ids=plain.ids,
            logs=plain.logs,
            sources=sources,
            certainty=sure,
            doubtful=any(UNSURE in said for said in (plain.text, *(source.text for source in sources)))
            or (bool(lines and sources and sources[0].line) and not is_read(plain.text, lines)),
        )

    def _fitting(self, lines: list[Line]) -> list[Line]:
        """Return the lines that matter most, as many as may stand before a question."""
        most = self.decoder.config.max_position_embeddings // 4
        while lines and len(self.tokenizer.encode(_said(lines))) > most:
            least = min(lines, key=lambda line: line.share)
            lines = [line for line in lines if line is not least]
        return lines

    def _nothing(self, laid: Laid, started: float) -> Generator[str | Plain, None, None]:
        from optical_memory.model.answer import Usage

        yield ABSENT
        usage = Usage(
            vision_tokens=0, text_tokens=len(laid), reused_tokens=0, new_tokens=0, seconds=time.perf_counter() - started
        )
        yield Answer(text=ABSENT, usage=usage, ended="stop", ids=(), certainty=1.0)

    def _sources(self, text: str, lines: Sequence[Line], what: Shown) -> tuple[Source, ...]:
        if is_refusal(text):
            return ()
        recent = tuple(
            Source(turn_id=turn_id, page=0, line=0, text=said)
            for turn_id, said in reversed(what.turns)
            if text.strip(" .").casefold() in said.casefold()
        )[:_MOST_SOURCES]
        return recent or (cited(text, lines, what.pages) if lines else ())

    @torch.no_grad()
    def _embed(self, sequences: Sequence[Laid], start: int = 0) -> Tensor:
        atoms = [[atom if isinstance(atom, int) else 0 for atom in each.atoms[start:]] for each in sequences]
        x: Tensor = self.decoder.embed(torch.tensor(atoms, device=self.device))  # (B, T, D)
        places = [each for each in pages_of(sequences) if each[1] + self.sight.count(each[2], each[3]) > start]
        if not places:
            return x
        x = F.pad(x, (0, self.sight.adapter.config.levels * x.shape[2]))  # (B, T, (1 + levels)·D)
        for row, at, page, ratio in places:
            vectors = self.sight.vectors(page, ratio).to(x.dtype)
            skipped = max(0, start - at)
            x[row, at + skipped - start : at + len(vectors) - start] = vectors[skipped:]
        return x


def _said(lines: Sequence[Line]) -> str:
    """Return lines as they stand before a question."""
    rows = {(line.page, line.row): line.text for line in lines}
    return written(rows, lambda page, first, last: "".join(rows[page, row] for row in range(first, last + 1)).strip())


@cache
def load(
    name: str = "smollm2",
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    folder: Path = weights.FOLDER,
) -> LanguageModel:
    """Load a language model with the adapter trained for it (``folder``), once per process, device and type.

    Errors: NotFoundError where the language model's weights are not to be had, with the ways to get them;
    CheckpointError where they are another model's.
    """
    language = base.load(name)
    trained, card = weights.load(folder)
    weights.apply(trained, language.model, card)
    reader = mini.load(device=device)
    kind = dtype or mini.fastest(torch.device(device))
    llama = language.model.to(device, kind)
    adapter: Adapter = trained.adapter.to(device, kind)
    sight = Sight(reader, trained.lattice.to(device, kind), adapter, f"{card['model']}-{kind}")
    return LanguageModel(llama, language.tokenizer, sight, refuses=float(card.get("refuses", 1.0)))
