"""What a model tells of turns, checked against them: a sentence whose exact values stand nowhere is dropped.

An account is hostile like any text: turns may have told the model what to say. So no value of it is believed that the
turns do not have (identifiers, amounts, dates, paths, names of code, numbers, quoted words), and nothing that cannot be
seen or that holds a mark of the page is taken. Of the rest each sentence is put down to the turn that has most of it.
What is said in plain words cannot be checked so: a page says who told it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from optical_memory import wording
from optical_memory.facts import extract
from optical_memory.renderers.layout import Run
from optical_memory.renderers.visible import FILLER_MARK, FORGED, HEADER_MARK
from optical_memory.turns import Turn, transcript

MOST_CHARACTERS = 8_000
"""Characters of an answer that are looked at."""
MOST_SENTENCES, LONGEST = 16, 400
"""Most sentences that are kept, and most characters of one."""
LEAST_KEPT, LEAST_CHARACTERS = 0.5, 60
"""Share of the sentences, and characters of them, of which more than less must be left; else nothing is believed."""
_END = re.compile(r"(?<=[.!?])[\"')\]]{0,2}\s+(?=[^\W\d_])|(?<=[。！？])")
_BULLET = re.compile(r"^\s*(?:[-*•–—]|\d{1,2}[.)])\s+")
_TOKEN = re.compile(r"(?:[^\s\"“”„«»`'‘’(){}\[\],;!?。，、；：！？「」（）]|(?<=\d),(?=\d))+")
_EXACT = re.compile(r"[\d_/\\@#$€£¥%^&=<>|~+*]|^--?\w|::|\w{2}\.\w|\w\.\w{2}|[a-z][A-Z]|[A-Z]{4}")
"""What makes a word a value: digits, marks, a dot or a capital inside, capitals alone."""
_MIXED = re.compile(r"(?=.*[A-Za-z])(?=.*[^\W\d_A-Za-z\u00c0-\u024f])\w+")
"""Letters of two scripts in one word, such as a Cyrillic one among Latin ones."""
_QUOTED = re.compile(r"[\"“„«`]([^\"“”„«»`]{2,})[\"”“»`]|(?<!\w)['‘]([^'‘’]{2,})['’](?!\w)|「([^」]{2,})」")
_MARKS = (HEADER_MARK, FILLER_MARK, wording.CUT)
_WORD = re.compile(r"[^\W\d_]{4,}")


def checked(answer: str, turns: Sequence[Turn]) -> tuple[Run, ...]:
    """Return what is left of a model's answer, as runs of the turns that have most of it; nothing if that is little.

    Their headers say that a model told it.
    """
    text = "\n".join(transcript(turn)[1] for turn in turns)
    said = _sentences(answer[:MOST_CHARACTERS])
    kept = [each for each in said if _is_clean(each) and all(stands(value, text) for value in values_of(each))]
    if len(kept) < LEAST_KEPT * len(said) or sum(map(len, kept)) < LEAST_CHARACTERS:
        return ()
    sources = _Sources(turns)
    return tuple(
        Run(
            turn_id=turn.id,
            role="assistant",
            text=each,
            place=turn.seq,
            header=f"{wording.TOLD_ON if at else wording.TOLD}:",
        )
        for at, each in enumerate(kept[:MOST_SENTENCES])
        for turn in (sources.best(each),)
    )


def values_of(sentence: str) -> list[str]:
    """Return what must stand in the turns: the values that are facts, words that look like one, and what is quoted."""
    facts = [fact.value for fact in extract(sentence) if fact.kind != "pair"]
    words = [word.lstrip(".:*–—…").rstrip(".:*-–—…") for word in _TOKEN.findall(sentence)]
    exact = [word for word in words if _EXACT.search(word) or _MIXED.fullmatch(word)]
    quoted = [next(filter(None, groups)).strip() for groups in _QUOTED.findall(sentence)]
    return [value for value in dict.fromkeys([*facts, *exact, *quoted]) if any(map(str.isalnum, value))]


def stands(value: str, text: str) -> bool:
    """Whether a value stands in a text as it is, and not as a part of a longer word or number."""
    if value not in text:
        return False
    before = r"(?<!\d[.,])(?<!\d)" if value[0].isdigit() else ""
    behind = r"(?!\d)(?![.,]\d)" if value[-1].isdigit() else ""
    before += r"(?<!\w)" if value[0].isalnum() and value[0].isascii() else ""
    behind += r"(?!\w)" if value[-1].isalnum() and value[-1].isascii() else ""
    return re.search(f"{before}{re.escape(value)}{behind}", text) is not None


def _sentences(answer: str) -> list[str]:
    lines = [_BULLET.sub("", line).strip() for line in answer.splitlines()]
    return [sentence.strip() for line in lines for sentence in _END.split(line) if sentence and sentence.strip()]


def _is_clean(sentence: str) -> bool:
    """Whether a sentence can be seen as it is, is no heading or fence, and holds no mark that means something."""
    plain = sentence.isprintable() and len(sentence) <= LONGEST and any(map(str.isalpha, sentence))
    marked = any(mark in sentence for mark in _MARKS) or FORGED.search(sentence)
    return plain and not marked and not sentence.startswith(("#", "```", "["))


class _Sources:
    """The turns that a sentence may come from."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = [(turn, transcript(turn)[1]) for turn in turns]
        self._words = [set(_WORD.findall(text.lower())) for _, text in self._turns]

    def best(self, sentence: str) -> Turn:
        """Return the turn with most of a sentence's values, then of its words; of equals the first."""
        values, words = values_of(sentence), set(_WORD.findall(sentence.lower()))
        held = [
            (sum(value in text for value in values), len(words & own))
            for (_, text), own in zip(self._turns, self._words, strict=True)
        ]
        return self._turns[held.index(max(held))][0]
