"""Lines that matter to a question: named by their keys, transcribed by the mini, cited by page, line and turn."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from optical_memory.model.language.sight import ACROSS, ROWS
from optical_memory.renderers.base import Page

UNSURE = "\ufffd"
_WORD = re.compile(r"\w+")
_STEM = 6
"""Letters of a word by which it is compared: "ships" and "shipped" are one."""
_WORDS = 1.2
"""Weight of all of a question's words against all of the scorer's attention."""
_COMMON = frozenset(
    "what which who whom whose where when why how do does did is are was were am be the an of in on at to for with from"
    " my me you your we our it its and or that this there here have has had much many get give given called".split()
)
_NAME = re.compile(r"(?<![.!?:] )(?<!^)\b(?:[A-Z][\w'’-]+|[a-z]+-[a-z]+\b)")
"""Names in a question: words with a capital that do not begin a sentence, and such as ``billing-api``."""
_FORM = re.compile(r"(?<=[.?!] )(?:Give|Return|Answer|List|Choose|Pick)\b.*", re.DOTALL)
"""What a question says about the form of its answer."""
_OWN = re.compile(r"['’]s$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row of a page, as read; ``share`` is how much of the scorer's attention it has. Page and row count from 0."""

    page: int
    row: int
    text: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an answer stands: turn, page and line, the latter two counted from 1; ``text`` is the line as read.

    ``page_id`` names the page; for recent turns, which are text, page and line are 0.
    """

    turn_id: str
    page: int
    line: int
    text: str
    page_id: str = ""


def shares_of(scores: Tensor, used: Sequence[int]) -> list[list[float]]:
    """Return how much of the attention each row of each page has, by all keys' scores (N,); together 1.

    ``used`` are the rows of each page that say something: others have none.
    """
    rows = torch.arange(ROWS, device=scores.device)
    says = torch.stack([rows < count for count in used])  # (pages, rows)
    by_row = scores.float().view(len(used), ROWS, ACROSS).logsumexp(2).masked_fill(~says, -torch.inf)
    shares: list[list[float]] = by_row.flatten().softmax(0).view(by_row.shape).tolist()
    return shares


def shared_words(question: str, pages: Sequence[Sequence[str]]) -> list[list[float]]:
    """Return, 0 to 1, how much of a question's words each row and the next hold; rare words count more.

    The keys know what kind of thing is asked for; which one of many, names and numbers say, and those are words.
    """
    asked = _stems(question) - _COMMON
    windows = [[_stems(row + following) for row, following in pairwise((*rows, ""))] for rows in pages]
    count = sum(map(len, windows))
    held = Counter(stem for rows in windows for window in rows for stem in window & asked)
    weights = {stem: math.log(1 + count / (1 + held[stem])) for stem in asked}
    total = sum(weights.values()) or 1.0
    return [[sum(weights[stem] for stem in window & asked) / total for window in rows] for rows in windows]


def _stems(text: str) -> set[str]:
    return {word.casefold()[:_STEM] for word in _WORD.findall(text) if len(word) > 1}


def named(
    shares: Sequence[Sequence[float]], words: Sequence[Sequence[float]], most: int
) -> list[tuple[int, int, float]]:
    """Return up to ``most`` rows (page, row, score): those that the keys and the shared words say matter most.

    A row beside one that is named already is not named: it is read with it.
    """
    scored = [
        (share + _WORDS * held * held, page, row)
        for page, (by_keys, by_words) in enumerate(zip(shares, words, strict=True))
        for row, (share, held) in enumerate(zip(by_keys, by_words, strict=False))
        if share > 0
    ]
    out: list[tuple[int, int, float]] = []
    for score, page, row in sorted(scored, reverse=True):
        if len(out) == most:
            break
        if all(page != other or abs(row - near) > 1 for other, near, _ in out):
            out.append((page, row, score))
    return out


def around(rows: Iterable[tuple[int, int, float]], used: Sequence[int]) -> dict[tuple[int, int], float]:
    """Return the rows with the ones before and behind each, which a sentence may run over to; ``used`` rows by page."""
    out: dict[tuple[int, int], float] = {}
    for page, row, share in rows:
        for near in (row - 1, row, row + 1):
            if 0 <= near < used[page]:
                out[page, near] = out.get((page, near), 0.0) + (share if near == row else 0.0)
    return out


def written(rows: Iterable[tuple[int, int]], text_of: Callable[[int, int, int], str]) -> str:
    """Write rows as groups that follow each other, ``[page:row] text``, in order; counted from 1."""
    said = [(page, first, text_of(page, first, last)) for page, first, last in _groups(rows)]
    return "\n".join(f"[{page + 1}:{first + 1}] {text}" for page, first, text in said if text)


def _groups(rows: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return (page, first row, last row) of rows that follow each other."""
    groups: list[tuple[int, int, int]] = []
    for page, row in sorted(rows):
        if groups and groups[-1][0] == page and groups[-1][2] == row - 1:
            groups[-1] = page, groups[-1][1], row
        else:
            groups.append((page, row, row))
    return groups


def names_in(question: str) -> frozenset[str]:
    """Return the names that a question asks about, in small letters."""
    if question.isupper():
        return frozenset()
    found = _NAME.findall(_FORM.sub("", question))
    return frozenset(_OWN.sub("", name).casefold() for name in found if not name.startswith(("I'", "I’")))


def about_another(answer: str, names: frozenset[str], lines: Sequence[Line]) -> bool:
    """Return whether an answer stands in lines that were read, but by none of the names that are asked about.

    A name with a capital is looked for by the question's words in all pages, so it must stand beside the answer; one
    such as ``billing-api`` may be no name, and must only where it was read at all. Where the answer stands in no line,
    nothing is known.
    """
    groups = _read(lines)
    words, read = _words(answer), [group.casefold() for group in groups]
    held = [len(words & _words(group)) / max(1, len(words)) for group in groups]
    beside = [group for group, share in zip(read, held, strict=True) if share >= max(0.5, max(held) - 0.01)]
    if not names or not beside or any(name in group for group in beside for name in names):
        return False
    return any("-" not in name or any(name in group for group in read) for name in names)


def is_read(answer: str, lines: Sequence[Line]) -> bool:
    """Return whether an answer stands in one place that was read.

    All words of a phrase must, and the names and numbers of a sentence.
    """
    words = _WORD.findall(answer)
    if answer.rstrip().endswith("."):
        words = [word for word in words[1:] if word != word.lower() or any(map(str.isdigit, word))]
    wanted = {word.casefold() for word in words}
    return any(wanted <= _words(group) for group in _read(lines))


def _read(lines: Sequence[Line]) -> list[str]:
    """Return what was read, place by place: lines that follow each other as one."""
    text = {(line.page, line.row): line.text for line in lines}
    return ["".join(text[page, row] for row in range(first, last + 1)) for page, first, last in _groups(text)]


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text)}


def cited(answer: str, lines: Sequence[Line], pages: Sequence[Page]) -> tuple[Source, ...]:
    """Return the lines that an answer stands on: those that hold most of its words, else the ones looked at most."""
    words = _words(answer)

    def overlap(line: Line) -> float:
        return len(words & _words(line.text)) / max(1, len(words))

    ranked = sorted(lines, key=lambda line: (overlap(line), line.share), reverse=True)
    chosen = [line for line in ranked if overlap(line) >= max(0.5, overlap(ranked[0]) - 0.01)][:3] or ranked[:1]
    return tuple(_source(line, pages[line.page]) for line in chosen)


def _source(line: Line, page: Page) -> Source:
    turn = next((span.turn_id for span in page.layout.spans if span.first_row <= line.row <= span.last_row), "")
    return Source(turn_id=turn, page=line.page + 1, line=line.row + 1, text=line.text, page_id=page.id)


def scores_of(query: Tensor, keys: Sequence[Tensor], score: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return the scores of all pages' keys, in order, by a hidden state (D,)."""
    return score(query.view(1, 1, -1), torch.cat(list(keys))[None])[0, 0]
