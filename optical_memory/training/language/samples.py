"""Samples as arrays: pages of cells and tokens, and the questions and answers as one run of token ids."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from optical_memory.model.language.sequence import ASSISTANT, LINES, RECENT
from optical_memory.training.language.conversation import Story, Turn
from optical_memory.training.language.layout import CELLS, PageText, pages_of
from optical_memory.training.language.quotes import Task
from optical_memory.training.language.tasks import KINDS, NOWHERE, Asker, lines_for

TEXT, MORE_TEXT = 512, 896
"""Tokens of a sample's questions and answers, and of those on many pages, where more lines are read."""
PAGE_TOKENS = 3200
QUESTIONS, KEYS = 12, 40
"""Most questions of a sample, and most keys that one may point to."""
_KEY_CELLS, _COLUMNS = 6, 102
USER, END = "<|im_start|>user\n", "<|im_end|>"


def asked(question: str, lines: str = "") -> str:
    """Return what is written before an answer: expanded lines, where there are some, and the question."""
    return f"{LINES}{lines}\n{question}" if lines else question


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrays:
    """A batch: pages (B, P, cells), their tokens and the cell each begins in (B, P, W; -1 behind them), and the text.

    ``text`` (B, T); ``kind`` (B, T) 1 + the task's kind where a token is an answer's, else 0; ``number`` (B, T) that of
    the task; ``question`` (B, Q) the place of each question's last token, -1 for none; ``keys`` (B, Q, K) what it
    points to among the sample's keys.
    """

    codes: npt.NDArray[np.uint16]
    tokens: npt.NDArray[np.int32]
    cells: npt.NDArray[np.int16]
    text: npt.NDArray[np.int32]
    kind: npt.NDArray[np.int8]
    number: npt.NDArray[np.int8]
    question: npt.NDArray[np.int16]
    keys: npt.NDArray[np.int32]

    @classmethod
    def stacked(cls, samples: Sequence[Arrays]) -> Arrays:
        """Put samples side by side."""
        return cls(**{f.name: np.stack([getattr(each, f.name) for each in samples]) for f in fields(cls)})


class Sampler:
    """Draws samples. ``expand`` is the share of them that have expanded lines."""

    def __init__(
        self,
        seed: int,
        documents: Sequence[str],
        pools: Path,
        tokenizer: Any,
        *,
        expand: float = 0.4,
        plain: bool = False,
        passages: Sequence[str] = (),
        natural: float = 0.0,
    ) -> None:
        self.chance = random.Random(seed)
        self.story = Story(self.chance, documents, pools, passages, natural)
        self.tokenizer = tokenizer
        self.expand, self.plain = expand, plain

    def sample(self, count: int) -> Arrays:
        """Draw a sample of ``count`` full pages."""
        while True:
            turns = self.story.turns(count * 6700 + 1500)
            pages = pages_of(turns)
            if len(pages) > count:
                return self.arrays(pages[:count], self._recent(turns, pages[count]))

    def _recent(self, turns: Sequence[Turn], behind: PageText) -> str:
        """Return a recent turn as text, sometimes; one that is not on the pages."""
        last = turns[-1]
        if self.plain or self.chance.random() > 0.25 or len(last.text) > 350 or last.text[:40] not in behind.text:
            return ""
        return f"{RECENT}{last.role}: {last.text}\n"

    def arrays(self, pages: Sequence[PageText], recent: str = "") -> Arrays:
        """Return the arrays of pages with tasks drawn on them."""
        asker = Asker(self.story, pages, recent)
        expands = self.chance.random() < self.expand
        tasks = asker.tasks(self.chance.randint(4, 8), self.chance.randint(3, 6))
        spans = [found.span for found in asker.found if found.span != NOWHERE]
        many = bool(self.story.natural) and len(pages) > 2
        out = _Writer(self.tokenizer, recent, MORE_TEXT if many else TEXT)
        most = 8 if many else self.chance.choice([4, 4, 8])
        for number, task in enumerate(tasks):
            lines = ""
            if expands and number < 3 and task.kind not in ("quote", "gap", "count"):
                lines = lines_for(task, pages, self.chance, spans, most)
            if not out.add(task, lines, pages):
                break
        tokens = np.zeros((len(pages), PAGE_TOKENS), np.int32)
        cells = np.full((len(pages), PAGE_TOKENS), -1, np.int16)
        for number, page in enumerate(pages):
            ids, starts = page.tokens(self.tokenizer)
            tokens[number, : len(ids)] = ids[:PAGE_TOKENS]
            cells[number, : len(ids)] = starts[:PAGE_TOKENS]
        codes = np.stack([page.codes.reshape(CELLS) for page in pages])
        return Arrays(codes=codes, tokens=tokens, cells=cells, **out.arrays())


class _Writer:
    """Writes questions and answers until the text is full."""

    def __init__(self, tokenizer: Any, recent: str, room: int) -> None:
        self.tokenizer, self.room = tokenizer, room
        self.ids: list[int] = self._encode("\n" + recent)
        self.kind, self.number = [0] * len(self.ids), [0] * len(self.ids)
        self.places: list[int] = []
        self.points: list[list[int]] = []

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def add(self, task: Task, lines: str, pages: Sequence[PageText]) -> bool:
        """Add a task where it fits; say whether it did."""
        first = not self.places
        asks = self._encode(("" if first else USER) + asked(task.question, lines) + ASSISTANT)
        says, after = self._encode(task.answer + END), self._encode("\n")
        if len(self.ids) + len(asks) + len(says) + 1 > self.room or len(self.places) == QUESTIONS:
            return False
        self.places.append(len(self.ids) + len(asks) - 1)
        self.points.append(_keys_of(task, pages))
        code, count = 1 + KINDS.index(task.kind), len(self.places)
        for ids, kind in ((asks, 0), (says, code), (after, 0)):
            self.ids += ids
            self.kind += [kind] * len(ids)
            self.number += [count if kind else 0] * len(ids)
        return True

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the text's arrays, padded."""
        short = self.room - len(self.ids)
        keys = np.full((QUESTIONS, KEYS), -1, np.int32)
        for row, points in enumerate(self.points):
            keys[row, : len(points)] = points[:KEYS]
        places = np.full(QUESTIONS, -1, np.int16)
        places[: len(self.places)] = self.places
        return {
            "text": np.array(self.ids + [2] * short, np.int32),
            "kind": np.array(self.kind + [0] * short, np.int8),
            "number": np.array(self.number + [0] * short, np.int8),
            "question": places,
            "keys": keys,
        }


def _keys_of(task: Task, pages: Sequence[PageText]) -> list[int]:
    """Return the keys that a task's spans lie under: page, row, and place in the row, in one number."""
    across = _COLUMNS // _KEY_CELLS
    found: dict[int, None] = {}
    for number, start, end in task.spans:
        if number < 0:
            continue
        cells = pages[number].cells[start:end]
        rows, columns = cells // _COLUMNS, cells % _COLUMNS
        for place in (number * 64 * across + rows * across + columns // _KEY_CELLS).tolist():
            found[place] = None
    return list(found)
