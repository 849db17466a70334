"""Passages that the language model writes itself, in the first person, as people talk: text for a training's pages."""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from optical_memory.model.cache import KeyValueCache
from optical_memory.model.llama import Llama
from optical_memory.model.step import EagerStep, run_positions
from optical_memory.model.tokenizer import Tokenizer
from optical_memory.training.language.conversation import tidy
from optical_memory.training.language.values import Values, data

FILE = "passages.txt.xz"
_TOKENS, _LEAST = 200, 300
"""Tokens of a passage at most, and characters of one that is kept."""
_HEAD = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\n"
)


class Writer:
    """Writes with a language model as it was published, many texts at once."""

    def __init__(self, llama: Llama, tokenizer: Tokenizer, *, rows: int, seed: int) -> None:
        """``rows`` are written at once."""
        self.llama, self.tokenizer, self.rows = llama, tokenizer, rows
        self.device = llama.embed.weight.device
        self.random = torch.Generator(device=self.device)
        self.random.manual_seed(seed)
        self.end = llama.config.eos_token_id

    @torch.no_grad()
    def write(self, head: str, tails: Sequence[str], most: int, temperature: float) -> list[str]:
        """Return what follows ``head`` and each of ``tails``: at most so many tokens; ``temperature`` 0 is greedy."""
        before = self.tokenizer.encode(head, marks=True)
        ids = [self.tokenizer.encode(tail, marks=True) for tail in tails]
        order = sorted(range(len(ids)), key=lambda each: len(ids[each]))
        out = [""] * len(ids)
        for start in range(0, len(order), self.rows):
            chosen = order[start : start + self.rows]
            texts = self._together(before, [ids[row] for row in chosen], most, temperature)
            for row, text in zip(chosen, texts, strict=True):
                out[row] = text
        return out

    def _together(self, head: list[int], tails: list[list[int]], most: int, temperature: float) -> list[str]:
        llama, count = self.llama, len(tails)
        lengths = [len(head) + len(tail) for tail in tails]
        cache = KeyValueCache(
            llama.config, capacity=max(lengths) + most, batch=count, device=self.device, dtype=llama.embed.weight.dtype
        )
        if head:
            run_positions(llama, cache.rows(0, 1), llama.embed(torch.tensor([head], device=self.device)))
            for kept in (cache.keys, cache.values):
                kept[:, 1:, :, : len(head)] = kept[:, :1, :, : len(head)]
        last = []
        for first, end in _runs(lengths):
            x = llama.embed(torch.tensor(tails[first:end], device=self.device))
            last.append(run_positions(llama, cache.rows(first, end), x, len(head))[:, -1])
        written = self._decoded(llama.head(torch.cat(last)), cache, lengths, most, temperature)
        return [self.tokenizer.decode(row[: _ended(row, self.end)]) for row in written]

    def _decoded(
        self, logits: Tensor, cache: KeyValueCache, lengths: list[int], most: int, temperature: float
    ) -> list[list[int]]:
        step, first = EagerStep(self.llama, cache), torch.tensor(lengths, device=self.device)
        tokens, over = [], torch.zeros(len(lengths), dtype=torch.bool, device=self.device)
        for count in range(most):
            scaled = logits.float() / max(temperature, 1e-6)
            chosen = torch.multinomial(scaled.softmax(-1), 1, generator=self.random)[:, 0]
            token = chosen if temperature else logits.argmax(-1)
            tokens.append(token)
            over |= token == self.end
            if count % 16 == 15 and bool(over.all()):
                break
            logits = step(token, first + count, max(lengths) + count + 1)
        rows: list[list[int]] = torch.stack(tokens, 1).tolist()
        return rows


def _runs(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, end) of neighbours that are equally long."""
    first = 0
    for place in range(1, len(lengths) + 1):
        if place == len(lengths) or lengths[place] != lengths[first]:
            yield first, place
            first = place


def _ended(ids: Sequence[int], end: int) -> int:
    return ids.index(end) if end in ids else len(ids)


def told(writer: Writer, values: Values, count: int) -> list[str]:
    """Return up to ``count`` passages."""
    chance, talk = values.chance, data("talk")
    prompts, begun = [], []
    for _ in range(count):
        words = {name: values.draw(name) for name in ("first", "last", "city", "job", "age")}
        words |= {"topic": chance.choice(talk["topic"]), "whom": chance.choice(talk["whom"])}
        begin = chance.choice(talk["begin"]).format(**words, count=chance.randint(2, 49)).rstrip()
        begun.append(begin)
        prompts.append(f"{chance.choice(talk['ask']).format(**words)}<|im_end|>\n<|im_start|>assistant\n{begin}")
    texts = writer.write(_HEAD, prompts, _TOKENS, 0.5)
    whole = (cleaned(begin + text) for begin, text in zip(begun, texts, strict=True))
    return [text for text in whole if len(text) > _LEAST]


def cleaned(text: str) -> str:
    """Return a text without marks and without sentences that were said before."""
    text = re.sub(r"[*#_`]+|\[[^\]]*\]", "", tidy(text))
    kept = dict.fromkeys(part.strip() for part in re.split(r"(?<=[.!?])\s+", text))
    text = re.sub(r"\s+", " ", " ".join(kept)).strip()
    return text[: max(text.rfind(mark) for mark in ".!?") + 1]


def keep(passages: Sequence[str], folder: Path) -> None:
    """Write :data:`FILE` to the data of a training."""
    with lzma.open(folder / FILE, "wt", encoding="utf-8", preset=1) as file:
        file.write("\0".join(passages))


def read_passages(folder: Path) -> list[str]:
    """Return the passages of a training's data; none where none were written."""
    path = folder / FILE
    if not path.is_file():
        return []
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return [text for text in file.read().split("\0") if text]
