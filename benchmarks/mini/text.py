"""The text of the benchmark's pages: natural text that no training source holds, and characters drawn at random."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Iterator
from functools import cache

from benchmarks import DATA
from optical_memory.renderers import visible
from optical_memory.renderers.base import Grid, Layout
from optical_memory.renderers.layout import Repertoire, Run, lay_out

SCRIPTS = ("chinese", "japanese", "korean", "cyrillic", "greek")
LATIN = ("natural", "random", "hex")


def natural() -> str:
    """Return the messages of the transcripts, one after the other."""
    parts = []
    for name in ("coding_agent/sessions.jsonl", "tau_bench/airline.jsonl"):
        with (DATA / name).open() as lines:
            for line in lines:
                parts += [m["content"] for m in json.loads(line)["messages"] if isinstance(m.get("content"), str)]
    random.Random(0).shuffle(parts)
    return "\n".join(part[:4000] for part in parts)


def characters(script: str) -> str:
    """Return the characters of a script that are drawn at random: the frequent ones where a standard names them."""
    if script == "chinese":  # level 1 of GB 2312: 3,755 by frequency
        rows = ((high, low) for high in range(0xB0, 0xD7) for low in range(0xA1, 0xFF))
        return "".join(bytes(pair).decode("gb2312") for pair in rows)
    if script == "japanese":  # kana three times, for half of the text, and level 1 of JIS X 0208: 2,965
        kana = "".join(chr(code) for code in (*range(0x3041, 0x3094), *range(0x30A1, 0x30F7)))
        rows = ((high, low) for high in range(0xB0, 0xD0) for low in range(0xA1, 0xFF))
        return kana * 18 + "".join(bytes(pair).decode("euc_jp", "ignore") for pair in rows)
    if script == "korean":  # the Hangul of KS X 1001: 2,350 by frequency
        rows = ((high, low) for high in range(0xB0, 0xC9) for low in range(0xA1, 0xFF))
        return "".join(bytes(pair).decode("euc_kr", "ignore") for pair in rows)
    ranges = {"cyrillic": (0x400, 0x460), "greek": (0x391, 0x3CF)}
    classes = visible.bmp_classes()
    return "".join(chr(code) for code in range(*ranges[script]) if classes[code] == visible.NARROW) + " " * 12


def texts(kind: str, seed: int = 1) -> Iterator[str]:
    """Yield text of a kind for ever."""
    chance = random.Random(seed)
    if kind == "natural":
        text = natural()
        while True:
            yield text[chance.randrange(len(text) // 2) :]
    if kind == "hex":
        while True:
            yield "".join(f"{chance.getrandbits(48):012x} " for _ in range(2000))
    if kind == "words":
        words = dictionary()
        while True:
            yield " ".join(chance.choices(words, k=4000)) + " "
    pool = string.printable[:94] + " " * 12 if kind == "random" else characters(kind)
    while True:
        yield "".join(chance.choices(pool, k=20_000))


def layouts(kind: str, grid: Grid, pages: int, seed: int = 1, repertoire: Repertoire | None = None) -> list[Layout]:
    """Return full pages of a kind of text."""
    source = texts(kind, seed)
    text = ""
    while len(text) < grid.capacity * pages * 2:
        text += next(source)
    run = Run(turn_id="t", role="user", text=text[: grid.capacity * pages * 2])
    return lay_out([run], grid, renderer_key="bench", repertoire=repertoire)[:pages]


@cache
def dictionary() -> list[str]:
    """Return the words of the natural text."""
    return sorted({word for word in natural().split() if word.isalpha() and 4 < len(word) < 12})


def listing(chance: random.Random, lines: int) -> list[tuple[str, str]]:
    """Return words to find and the lines that hold them: keys with values, identifiers, and words of sentences."""
    words = dictionary()
    out = []
    for number in range(lines):
        sentence = " ".join(chance.choices(words, k=chance.randint(4, 12)))
        identifier = f"{chance.getrandbits(48):012x}"
        key = "_".join(chance.sample(words, 2)).lower()
        form = number % 3
        if form == 0:
            out.append((key, f"{key}: {identifier}"))
        elif form == 1:
            out.append((identifier, f"{sentence} {identifier} {chance.choice(words)}"))
        else:
            out.append((" ".join(sentence.split()[1:4]), sentence))
    return out
