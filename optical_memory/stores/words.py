"""Text as words that can be searched, in every language, and a question as the terms to look for.

Scripts with spaces give words; those without (Chinese, Japanese, Korean, Thai, …) give single characters, which a
query looks for as runs of two or three. A compound (``src/page_cache.py``, ``getUserName``, ``anna@firm.com``,
``2026-11-24``) gives its parts in order and then itself without separators, so that it is found whole and by its
parts. Diacritics and case are folded.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from optical_memory.turns import Turn

WORD_CHARACTERS = 64
"""A run of letters and digits longer than this is opaque (base64, a hash of hashes): its start is its word."""
MOST_TERMS = 64
"""Terms of a query beyond these are left out, so that a pasted page is no denial of service."""
_PREFIX_CHARACTERS = 6
"""A word of a query that has a digit and at least this length also finds what it begins (a short hash, half a UUID)."""

_IDEOGRAPHIC = (
    "\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303b\u3041-\u3096\u3099-\u309f"
    "\u30a1-\u30fa\u30fc-\u30ff\u3105-\u318e\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97c\uac00-\ud7fb"
    "\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_SYLLABIC = "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u1000-\u109f\u1780-\u17d3"
"""Thai, Lao, Myanmar, Khmer: alphabets without spaces, in which two letters say little."""
_INDIC = "\u0900-\u0963\u0966-\u0dff\u0f40-\u0fbc"
"""Scripts whose words hold vowel signs, which are marks and no letters."""
_WORD = rf"(?:[^\W_{_IDEOGRAPHIC}{_SYLLABIC}]|[{_INDIC}])++"
_JOINED = r"{word}(?:(?:[-_./\\@:]++|(?<=\d),(?=\d)){word})*+"
_RUN = re.compile(rf"([{_IDEOGRAPHIC}]++)|([{_SYLLABIC}]++)|({_JOINED.format(word=_WORD)})")
_ASCII_RUN = re.compile(_JOINED.format(word="[A-Za-z0-9]++"))
"""What _RUN finds in ASCII, several times as fast. Neither has anything to try again, however long the text."""
_CHUNK_CHARACTERS = 1 << 18
_SPACE = re.compile(r"\s")
_MOST_EXPANSION = 4
_MOST_REMEMBERED = 1 << 16
_SEPARATORS = re.compile(r"[./\\@:,]+")
_JOINTS = re.compile(r"[-_]+")
_HUMP = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[^A-Z]+|[A-Z]+")
_IS_CAMEL = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]")
_SIGNS = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f\u00ad\u200b-\u200f\u2060]"
)
_STROKES = str.maketrans({"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ı": "i", "æ": "ae", "Æ": "AE"})
_STOP_WORDS = frozenset(
    "a about am an and any are as at be been being but by can could d did do does doing for from had has have he her "
    "him his how i if in into is it its just ll m may me might mine must my no not of on or our s shall she should so "
    "some t than that the their them then there these they this those to too us ve very was we were what when where "
    "which who whom whose why will with would you your".split()
)
_FUNCTION_CHARACTERS = frozenset("的了是我你您他她它们們在有和与與吗嗎呢吧么麼什甚哪怎谁誰这這那也都就把被请請")
_HIRAGANA = re.compile("[\u3041-\u309f]+")


@dataclass(frozen=True, slots=True)
class Term:
    """One thing to look for: any of the ``phrases`` (runs of words), or else one of the ``parts``.

    ``weak`` terms carry grammar rather than meaning: a turn without them may still hold all of the question.
    """

    phrases: tuple[tuple[str, ...], ...]
    parts: tuple[str, ...] = ()
    prefix: bool = False
    weak: bool = False


def searchable(turn: Turn) -> str:
    """Return the words by which a turn can be found: its text, its author and its tool calls."""
    remembered = _Remembered()
    return " ".join(_joined(chunk, remembered) for piece in _pieces(turn) for chunk in _chunks(piece))


def words(text: str) -> list[str]:
    """Return the words of a text in order; a compound's parts come before the compound itself."""
    remembered = _Remembered()
    return [word for chunk in _chunks(text) for word in _joined(chunk, remembered).split()]


def terms(query: str) -> list[Term]:
    """Return what to look for, without stop words where anything else is there, at most MOST_TERMS."""
    found: dict[tuple[tuple[str, ...], ...], Term] = {}
    for spaceless, syllabic, compound in _RUN.findall(fold(query)):
        for term in _compound_terms(compound) if compound else _grams(spaceless or syllabic, 2 if spaceless else 3):
            found.setdefault(term.phrases, term)
    telling = [term for term in found.values() if not _is_stop_word(term)]
    return (telling or list(found.values()))[:MOST_TERMS]


def fold(text: str) -> str:
    """Return text without diacritics and with one form for each character; the case stays."""
    if text.isascii():
        return text
    apart = unicodedata.normalize("NFKD", text)
    if len(apart) > _MOST_EXPANSION * len(text) + WORD_CHARACTERS:  # one character may stand for eighteen
        apart = unicodedata.normalize("NFD", text)
    # Recomposed at the end, so that only the marks taken out are gone: ガ and Hangul syllables come back whole.
    return unicodedata.normalize("NFC", _SIGNS.sub("", apart).translate(_STROKES))


class _Remembered(dict[str, str]):
    """The words of each compound, joined by spaces: most of a text has been seen before."""

    def __missing__(self, compound: str) -> str:
        if compound.isalnum() and (len(compound) > WORD_CHARACTERS or not _IS_CAMEL.search(compound)):
            found = compound[:WORD_CHARACTERS].casefold()
        else:
            parts, wholes = _compound(compound)
            found = " ".join([*parts, *wholes])
        if len(compound) <= WORD_CHARACTERS:
            if len(self) >= _MOST_REMEMBERED:
                self.clear()
            self[compound] = found
        return found


def _joined(chunk: str, remembered: _Remembered) -> str:
    folded = fold(chunk)
    if folded.isascii():
        return " ".join(map(remembered.__getitem__, _ASCII_RUN.findall(folded)))
    return " ".join(
        remembered[compound] if compound else " ".join(spaceless or syllabic)
        for spaceless, syllabic, compound in _RUN.findall(folded)
    )


def _chunks(text: str) -> Iterator[str]:
    """Cut a long text at spaces, or where it has none anywhere, so that what is made of it is never large at once."""
    start = 0
    while start < len(text):
        end = start + _CHUNK_CHARACTERS
        space = _SPACE.search(text, end, end + _CHUNK_CHARACTERS)
        end = end if space is None else space.end()
        yield text[start:end]
        start = end


def _pieces(turn: Turn) -> Iterator[str]:
    yield turn.text
    if turn.name:
        yield turn.name
    for call in turn.tool_calls:
        yield call.name
        yield _plain(call.arguments)


def _plain(arguments: str) -> str:
    """Return keys and values of JSON arguments without JSON's escapes, or the text itself where it is not JSON."""
    try:
        waiting = [json.loads(arguments)]
    except (ValueError, RecursionError):
        return arguments
    found: list[str] = []
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(item for pair in reversed(value.items()) for item in reversed(pair))
        elif isinstance(value, list):
            waiting.extend(reversed(value))
        else:
            found.append(str(value))
    return "\n".join(found)


def _compound(compound: str) -> tuple[list[str], list[str]]:
    """Return the parts of a compound, and the wholes that its pieces and itself make without separators."""
    parts: list[str] = []
    wholes: list[str] = []
    pieces = _SEPARATORS.split(compound)
    for piece in pieces:
        found = [part for word in _JOINTS.split(piece) for part in _humps(word)]
        parts += found
        if len(found) > 1:
            wholes.append(_JOINTS.sub("", piece))
    if len(pieces) > 1:
        wholes.append("".join(_JOINTS.split("".join(pieces))))
    return [part.casefold() for part in parts], [whole.casefold() for whole in wholes if len(whole) <= WORD_CHARACTERS]


def _humps(word: str) -> list[str]:
    if len(word) > WORD_CHARACTERS:
        return [word[:WORD_CHARACTERS]]
    return _HUMP.findall(word) if _IS_CAMEL.search(word) else [word]


def _compound_terms(compound: str) -> Iterator[Term]:
    parts, wholes = _compound(compound)
    phrases = (tuple(parts[:MOST_TERMS]), *((whole,) for whole in wholes[-1:]))
    prefix = len(compound) >= _PREFIX_CHARACTERS and any(map(str.isdigit, compound))
    yield Term(phrases=phrases, parts=tuple(parts) if len(parts) > 1 else (), prefix=prefix)


def _grams(run: str, length: int) -> Iterator[Term]:
    for start in range(max(len(run) - length, 0) + 1):
        gram = run[start : start + length]
        weak = bool(_HIRAGANA.fullmatch(gram)) or not _FUNCTION_CHARACTERS.isdisjoint(gram)
        yield Term(phrases=(tuple(gram),), weak=weak)


def _is_stop_word(term: Term) -> bool:
    [first, *others] = term.phrases
    return not others and len(first) == 1 and first[0] in _STOP_WORDS
