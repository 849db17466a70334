"""An upper estimate of what another tokenizer makes of a text, from features that cost little to count. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_DIGITS = re.compile(r"\d+")


def _single_digits(text: str) -> int:
    """Tokens more where each digit is a token of its own: the encodings have tokens for up to three."""
    return sum(len(run) - -(-len(run) // 3) for run in _DIGITS.findall(text))


def _matches(pattern: str) -> Callable[[str], int]:
    found = re.compile(pattern).findall
    return lambda text: len(found(text))


PLAIN: Mapping[str, Callable[[str], int]] = {
    "digits": _single_digits,
    "capitals": _matches(r"[A-Z]+"),
    "marks": _matches(r"[^\w\s]"),
    "lines": lambda text: text.count("\n"),
    "words": _matches(r"[A-Za-z]+"),
}
"""Features of any text: digits beyond the tokens they have, runs of capitals, marks, line breaks, words."""
FOREIGN: Mapping[str, Callable[[str], int]] = {
    "accents": _matches("[\u0080-\u036f\u1e00-\u1eff]"),
    "greek": _matches("[\u0370-\u03ff\u1f00-\u1fff]"),
    "cyrillic": _matches("[\u0400-\u052f]"),
    "semitic": _matches("[\u0590-\u08ff]"),
    "indic": _matches("[\u0900-\u0dff]"),
    "asian": _matches("[\u0530-\u058f\u0e00-\u10ff\u1200-\u1dff]"),
    "hangul": _matches("[\u1100-\u11ff\uac00-\ud7a3]"),
    "cjk": _matches("[\u3000-\u9fff\uf900-\ufaff\uff00-\uffef]"),
    "symbols": _matches(
        "[\u2000-\u24ff\u2600-\u2fff\ua000-\uabff\ud7a4-\uf8ff\ufb00-\ufeff\ufff0-\uffff\U00010000-\U0010ffff]"
    ),
}
"""Characters by script; texts of ASCII alone have none. "asian": South-East Asian, Georgian, Armenian, Ethiopic."""


def supplement(text: str, weights: Mapping[str, float]) -> float:
    """Return the tokens that the features of ``text`` add: a weight for each time a feature occurs."""
    total = 0.0
    for name, weight in weights.items():
        if weight and (name in PLAIN or not text.isascii()):
            total += weight * (PLAIN.get(name) or FOREIGN[name])(text)
    return total
