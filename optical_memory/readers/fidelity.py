"""How much of a page a reader still reads at a tier: characters, identifiers, and silent errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from optical_memory.readers.base import Reader
from optical_memory.renderers.base import Page
from optical_memory.renderers.visible import UNSURE

MAX_LENGTH_RATIO = 4
"""A reading longer than this times the page (a repetition loop) is compared only so far; the rest counts as wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a reader made of the pages of one tier.

    ``precision`` is 1 - edit distance / length of the longer text, over all pages, whitespace as given;
    ``precision_folded`` the same with every run of whitespace as one space, for readers that see no indentation.
    ``identifiers`` were on the pages, of which ``exact`` is the share read right and ``silently_wrong`` the share
    read wrong or left out with no U+FFFD to show it (both None without identifiers). ``seconds`` is the reading
    time of all pages; ``tokens`` what their images cost in the target model's sequence.
    """

    pages: int
    characters: int
    precision: float
    precision_folded: float
    identifiers: int
    exact: float | None
    silently_wrong: float | None
    seconds: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """One text against its reading: edits and length as given and folded, identifiers found, right and wrong."""

    edits: int
    length: int
    edits_folded: int
    length_folded: int
    identifiers: int
    exact: int
    silently_wrong: int


def score(
    pages_by_tier: Mapping[str, Iterable[Page]],
    reader: Reader,
    *,
    identifiers: Callable[[str], Iterable[str]] | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> dict[str, Score]:
    """Read every page and return a :class:`Score` for each tier, in the order given.

    ``identifiers`` finds what must be read exactly in a page's text (default: the ids, hashes, paths, addresses,
    amounts and dates of :mod:`optical_memory.facts`). ``progress`` is called with the tier and the number of its
    pages read so far. Tiers without pages are left out. Errors: those of the reader.
    """
    find = identifiers or page_identifiers
    scores = {}
    for tier, pages in pages_by_tier.items():
        compared: list[Comparison] = []
        characters = seconds = tokens = 0.0
        for page in pages:
            reading = reader.read(page)
            compared.append(compare(page.text, reading.text, tuple(find(page.text))))
            characters += len(page.text)
            seconds += reading.seconds
            tokens += page.tokens
            if progress is not None:
                progress(tier, len(compared))
        if compared:
            scores[tier] = _total(compared, characters=int(characters), seconds=seconds, tokens=int(tokens))
    return scores


def page_identifiers(text: str) -> tuple[str, ...]:
    """Return ids, hashes, amounts, addresses, paths, dates and versions in a page's ``text``, each once."""
    from optical_memory.facts import extract

    return tuple(dict.fromkeys(fact.value for fact in extract(text) if fact.certain and fact.kind != "pair"))


def precision(text: str, reading: str) -> float:
    """Return 1 - edit distance / length of the longer of the two; 1.0 for two empty texts."""
    edits, length = _edits(text, reading)
    return 1 - edits / length if length else 1.0


def compare(text: str, reading: str, identifiers: Sequence[str] = ()) -> Comparison:
    """Compare what was on a page with what was read, and each identifier with what stands in its place.

    Every occurrence of an identifier counts. Time grows with the product of the lengths over 64: about 10 ms for
    10,000 characters.
    """
    edits, length = _edits(text, reading)
    edits_folded, length_folded = _edits(" ".join(text.split()), " ".join(reading.split()))
    found = exact = wrong = 0
    places = [(start, name) for name in identifiers if name for start in _occurrences(text, name)]
    if places:
        reading = _bounded(text, reading)
        before, after = _alignment(text, reading)
        for start, name in places:
            read = _read_as(reading, before, after, start, start + len(name))
            found += 1
            exact += read == name
            wrong += read != name and UNSURE not in read
    return Comparison(edits, length, edits_folded, length_folded, found, exact, wrong)


def _bounded(text: str, reading: str) -> str:
    return reading[: MAX_LENGTH_RATIO * len(text) + 1000]


def _edits(text: str, reading: str) -> tuple[int, int]:
    """Return (edit distance, length of the longer text). What is cut from an endless reading counts as edits."""
    cut = _bounded(text, reading)
    beyond = len(reading) - len(cut)
    return Levenshtein.distance(text, cut) + beyond, max(len(text), len(reading))


def _occurrences(text: str, name: str) -> Iterable[int]:
    start = text.find(name)
    while start >= 0:
        yield start
        start = text.find(name, start + len(name))


def _alignment(text: str, reading: str) -> tuple[list[int], list[int]]:
    """Map each place in ``text``, its end included, to its place in ``reading``: before and after what was inserted."""
    before, after = [0] * (len(text) + 1), [0] * (len(text) + 1)
    for change in Levenshtein.opcodes(text, reading):
        advance = change.tag in ("equal", "replace")
        for place in range(change.src_start + 1, change.src_end + 1):
            # Equal and replaced runs go place by place; a deleted run begins and ends where it fell out.
            before[place] = after[place] = change.dest_start + (place - change.src_start if advance else 0)
        if change.tag == "insert":
            after[change.src_start] = change.dest_end
    return before, after


def _read_as(reading: str, before: Sequence[int], after: Sequence[int], start: int, end: int) -> str:
    """Return what stands for ``text[start:end]``, with letters and digits that were inserted at its two ends."""
    left, right = after[start], before[end]
    while left > before[start] and (reading[left - 1].isalnum() or reading[left - 1] == UNSURE):
        left -= 1
    while right < after[end] and (reading[right].isalnum() or reading[right] == UNSURE):
        right += 1
    return reading[left:right]


def _total(compared: Sequence[Comparison], *, characters: int, seconds: float, tokens: int) -> Score:
    length = sum(one.length for one in compared)
    length_folded = sum(one.length_folded for one in compared)
    identifiers = sum(one.identifiers for one in compared)
    return Score(
        pages=len(compared),
        characters=characters,
        precision=1 - sum(one.edits for one in compared) / max(length, 1),
        precision_folded=1 - sum(one.edits_folded for one in compared) / max(length_folded, 1),
        identifiers=identifiers,
        exact=sum(one.exact for one in compared) / identifiers if identifiers else None,
        silently_wrong=sum(one.silently_wrong for one in compared) / identifiers if identifiers else None,
        seconds=seconds,
        tokens=tokens,
    )
