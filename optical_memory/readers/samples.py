"""Texts that show what a reader reads: identifiers, prose, code, and scripts. The same seed gives the same text."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from importlib import resources

from optical_memory.errors import InputError

IDENTIFIER = 12
"""Characters of an identifier: lower-case hexadecimal, which no knowledge of a language helps to read."""
SCRIPTS: Mapping[str, str] = {
    "chinese": "的一是不了在人有我他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可",
    "japanese": "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをんアカ",
    "korean": "가나다라마바사아자차카타파하거너더러머버서어저처커터퍼허고노도로모보소오조초코토포호구누두루무부수우주",
    "russian": "абвгдежзийклмнопрстуфхцчшщъыьэюяАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЭЮЯ",
    "greek": "αβγδεζηθικλμνξοπρστυφχψωΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ",
}
"""Characters that random words of each script are made of."""


def kinds() -> tuple[str, ...]:
    """Return the kinds of text that there are."""
    return (*_MAKERS, *SCRIPTS)


def sample(kind: str, characters: int, *, seed: int = 0) -> str:
    """Return at least ``characters`` characters of a kind of text. Raises InputError for an unknown kind."""
    if kind not in kinds():
        raise InputError(f"unknown kind of text {kind!r}; there are {', '.join(kinds())}")
    draw = random.Random(f"{kind}-{seed}")
    lines = _MAKERS[kind](draw) if kind in _MAKERS else _words(SCRIPTS[kind], draw)
    out, length = list[str](), 0
    while length <= characters:
        out.append(next(lines))
        length += len(out[-1]) + 1
    return "\n".join(out)


def identifiers(text: str) -> tuple[str, ...]:
    """Return the identifiers of a sample of that kind, in order."""
    return tuple(word for word in text.split() if len(word) == IDENTIFIER)


def _identifiers(draw: random.Random) -> Iterator[str]:
    while True:
        yield " ".join("".join(draw.choices("0123456789abcdef", k=IDENTIFIER)) for _ in range(8))


def _prose(draw: random.Random) -> Iterator[str]:
    lines = resources.files("optical_memory.examples").joinpath("airline-shift.jsonl").read_text("utf-8").splitlines()
    said = [message for line in lines if (message := json.loads(line))["role"] in ("user", "assistant")]
    texts = [text for message in said if (text := message.get("content")) and text.isascii()]
    start = draw.randrange(len(texts))
    while True:
        yield texts[start % len(texts)]
        start += 1


def _code(draw: random.Random) -> Iterator[str]:
    names = ("turns.py", "errors.py", "stores/base.py", "policies/base.py", "renderers/base.py")
    package = resources.files("optical_memory")
    lines = [
        line for name in names for line in package.joinpath(name).read_text("utf-8").splitlines() if line.isascii()
    ]
    start = draw.randrange(len(lines))
    while True:
        yield lines[start % len(lines)]
        start += 1


def _words(letters: str, draw: random.Random) -> Iterator[str]:
    while True:
        yield " ".join("".join(draw.choices(letters, k=draw.randint(2, 8))) for _ in range(12))


_MAKERS: Mapping[str, Callable[[random.Random], Iterator[str]]] = {
    "identifiers": _identifiers,
    "prose": _prose,
    "code": _code,
}
