"""Text for the page generator: files of named sources -> streams of half-width cells.

A stream is uint16 code points, one per half-width cell, as a page shows them: newlines and tabs as their marks, a
wide character twice, starting at an even place, after a filler mark where needed, every other blank as a space. Wide
is what the renderer draws wide: check marks and circled digits too. Any even-length window that starts at an even
place fills the rows of a page. Which sources feed which stream is said in the config; training and evaluation never
share a source.
"""

from __future__ import annotations

import gzip
import html
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from optical_memory.errors import InputError
from optical_memory.renderers import visible

Stream = npt.NDArray[np.uint16]

_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.S | re.I)
_ROFF = re.compile(r"^[.'].*?$|\\f[A-Z]|\\&", re.M)
_BLANK_LINES = re.compile(r"\n{3,}")
_MOST_FILE_BYTES = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Files of one origin.

    ``patterns`` are globs under the folder of sources; ``stream`` names the stream they feed; ``most`` bounds the
    characters taken; ``licence`` is for the manifest.
    """

    name: str
    stream: str
    licence: str
    patterns: tuple[str, ...]
    most: int = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Code points that stand for a newline, a tab, and the filler before a wide character."""

    newline: int
    tab: int
    filler: int


def read_text(path: Path) -> str:
    """Plain text of a file: markup of HTML and man pages is dropped, .gz and .dz are unpacked."""
    data = path.read_bytes()
    suffixes = path.suffixes
    if suffixes and suffixes[-1] in (".gz", ".dz"):
        data = gzip.decompress(data)
        suffixes = suffixes[:-1]
    text = data[:_MOST_FILE_BYTES].decode("utf-8", errors="ignore").replace("\r", "")
    kind = suffixes[-1] if suffixes else ""
    if kind == ".html":
        text = html.unescape(_TAGS.sub("", text))
        text = "\n".join(line.rstrip() for line in text.split("\n"))
    elif re.fullmatch(r"\.[1-9]", kind):
        text = _ROFF.sub("", text)
    return _BLANK_LINES.sub("\n\n", text)


def gather(source: Source, roots: list[Path], seed: int) -> Iterator[str]:
    """Texts of a source in shuffled order, up to its bound. Errors: InputError when no file matches."""
    paths = sorted({path for root in roots for pattern in source.patterns for path in root.glob(pattern)})
    random.Random(seed).shuffle(paths)
    total = 0
    for path in paths:
        if not path.is_file() or path.stat().st_size < 400:
            continue
        text = read_text(path)[:60_000]
        total += len(text)
        yield text
        if total > source.most:
            return
    if total == 0:
        raise InputError(f"source {source.name!r}: no file matches {source.patterns!r} under {roots!r}")


def cells(text: str, marks: Marks, classes: npt.NDArray[np.uint8]) -> Stream:
    """Half-width cells of a text by the renderer's classes; what cannot be drawn becomes its escape, as in a layout."""
    out: list[int] = []
    for character in text:
        code = ord(character)
        if code == 10:
            out.append(marks.newline)
        elif code == 9:
            out.append(marks.tab)
        elif 32 <= code < 127:
            out.append(code)
        elif character.isspace():
            out.append(32)
        elif code > 0xFFFF or classes[code] not in (visible.NARROW, visible.WIDE):
            out.extend(ord(c) for c in f"\\u{{{code:x}}}")
        elif classes[code] == visible.WIDE:
            out.extend([marks.filler] * (len(out) % 2) + [code, code])
        else:
            out.append(code)
    return np.array(out[: len(out) // 2 * 2], np.uint16)


def build(sources: list[Source], roots: list[Path], marks: Marks, classes: npt.NDArray[np.uint8]) -> dict[str, Stream]:
    """Streams by name. Documents of a stream are shuffled together in pieces of a few thousand characters."""
    pieces: dict[str, list[Stream]] = {}
    for source in sources:
        for text in gather(source, roots, seed=len(source.name)):
            stream = cells(text, marks, classes)
            pieces.setdefault(source.stream, []).extend(stream[at : at + 8192] for at in range(0, len(stream), 8192))
    for name, parts in pieces.items():
        random.Random(name).shuffle(parts)
    return {name: np.concatenate(parts) for name, parts in pieces.items()}
