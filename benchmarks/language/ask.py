"""Ways to show the same text to the language model, and what it answers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from optical_memory.model.answer import Answer
from optical_memory.model.cache import Atom
from optical_memory.model.language.model import LanguageModel
from optical_memory.model.language.sequence import ASSISTANT, SYSTEM, Laid
from optical_memory.renderers.base import Page

_SPELLED = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "eleven": "11", "twelve": "12",
}  # fmt: skip


def on_vision(model: LanguageModel, pages: Sequence[Page], question: str, *, expand: bool) -> str:
    """Answer from pages' vision tokens, with or without reading the lines that matter."""
    return model.generate(list(pages), question, expand=expand).text


def on_text(model: LanguageModel, text: str, question: str, most: int) -> str:
    """Answer from the newest ``most`` tokens of a text, where the pages' vectors would stand."""
    encode = model.tokenizer.encode
    atoms: list[Atom] = [*encode(SYSTEM, marks=True), *encode(text)[-most:]]
    laid = Laid(atoms=[*atoms, *encode(f"\n{question}"), *encode(ASSISTANT, marks=True)])
    answer = model.run(laid, max_new_tokens=96, guard=None)
    assert isinstance(answer, Answer)
    return answer.text


def vectors_of(model: LanguageModel, pages: Sequence[Page]) -> int:
    """Return how many of the language model's tokens pages take."""
    return sum(len(model.encode(page)) for page in pages)


def is_exact(answer: str, value: str) -> bool:
    """Return whether an answer is the value, to the character."""
    return answer.strip() == value


def contains(answer: str, truths: Sequence[str]) -> bool:
    """Return whether an answer contains one of the truths, as the data set's own check does: small words apart."""
    said = _plain(answer)
    return any(f" {_plain(truth).strip()} " in said for truth in truths)


def _plain(text: str) -> str:
    words = re.sub(r"[^\w\s]", " ", text.casefold()).split()
    return " " + " ".join(_SPELLED.get(word, word) for word in words) + " "
