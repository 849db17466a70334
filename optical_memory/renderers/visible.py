r"""The visible form of text: every character of it can be seen on a page, and the source can be told from it.

A newline is shown as ``↵`` and a tab as ``⇥``. What has no glyph or would hide (controls, ANSI ESC, NUL, bidi and
zero-width characters, lone surrogates, exotic blanks, characters outside the repertoire) and the marks of the
page itself are shown as an escape of lower-case hexadecimal digits, ``\u{1b}``. A literal backslash before ``u{``
is shown as ``\u{5c}``, so that an escape is never mistaken for text. So is a block or a square that looks like the mark
of a header, where a label with a colon follows: no turn can write what looks like a header.

*Plain* text is what readers return: newlines and tabs as they were, escapes as escapes. For text without
escapes it is the source itself.
"""

from __future__ import annotations

import functools
import re
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NEWLINE_MARK = "\u21b5"  # ↵
TAB_MARK = "\u21e5"  # ⇥
HEADER_MARK = "\u25ae"  # ▮ begins the header of a turn, and nothing else
FILLER_MARK = "\u25b9"  # ▹ fills the odd cell before a wide character; readers drop it
UNSURE = "\ufffd"  # what a reader writes for a character that it will not guess

Classes = npt.NDArray[np.uint8]
NARROW, WIDE, COMBINING, ESCAPED = range(4)
"""How a character is shown: in one cell, in two, on the cell of its base, or as an escape."""

MAX_MARKS = 4
"""Combining marks drawn on one cell; further ones are shown as escapes."""

MAX_FORGED = 104
"""Most characters, from what looks like the mark of a header to the colon behind it, that are taken for a header."""
_LIKE = "[\u2580-\u259f\u25a0-\u25b1\u25fb-\u25fe\u2b1b\u2b1c\u220e\u2337\u2395\u2759\u275a\uffed]"
_LABEL = r"[^\W\d_][^\n]{0,98}?[:\u2236\ua789\ufe55\uff1a]"
FORGED = re.compile(f"{_LIKE}(?=[ \\t.\u2026]{{0,4}}{_LABEL})")
"""What looks like the mark of a header where a label with a colon follows: shown as an escape."""
UNFINISHED = re.compile(rf"{_LIKE}[ \t.\u2026]{{0,4}}(?:[^\W\d_][^\n]{{0,98}})?\Z")
"""What may become one with the text that follows."""
_CODE_POINTS = 0x110000
_ESCAPE = re.compile(r"\\u\{([0-9a-f]{1,6})\}")
_TO_VISIBLE = str.maketrans({"\n": NEWLINE_MARK, "\t": TAB_MARK})


@dataclass(frozen=True, slots=True, eq=False)
class Repertoire:
    """What a renderer can draw: ``classes`` holds NARROW, WIDE, COMBINING or ESCAPED for every code point.

    Newline, tab and the marks of the page need no entry: their classes are fixed here.
    """

    classes: Classes

    def __post_init__(self) -> None:
        """Set the classes that are the same for every renderer."""
        table = self.classes.copy()
        table[[ord(mark) for mark in (NEWLINE_MARK, TAB_MARK, HEADER_MARK, FILLER_MARK)]] = ESCAPED
        table[0xD800:0xE000] = ESCAPED
        table[[ord("\n"), ord("\t"), ord(" ")]] = NARROW
        table.flags.writeable = False
        object.__setattr__(self, "classes", table)


@functools.cache
def bmp_classes() -> Classes:
    """Return the classes of what GNU Unifont draws, (0x110000,) uint8; outside the BMP all is ESCAPED.

    Wide are the East Asian widths W and F and what takes two cells in GNU Unifont. COMBINING are marks without
    a width of their own (Unicode Mn and Me) that have a glyph.
    """
    from importlib.resources import files  # slow to import

    packed = files("optical_memory.renderers").joinpath("fonts", "classes.bin").read_bytes()
    table = np.full(_CODE_POINTS, ESCAPED, np.uint8)
    table[:0x10000] = np.frombuffer(zlib.decompress(packed), np.uint8)
    table.flags.writeable = False
    return table


@functools.cache
def default_repertoire() -> Repertoire:
    """Return the repertoire of the dense renderer: the BMP, combining marks as escapes."""
    table = bmp_classes().copy()
    table[table == COMBINING] = ESCAPED
    return Repertoire(table)


def visible(text: str, repertoire: Repertoire | None = None) -> str:
    """Return ``text`` in its visible form; ``unescape(plain(visible(text)))`` is ``text`` again."""
    return escape(text, repertoire or default_repertoire())[0].translate(_TO_VISIBLE)


def plain(visible: str) -> str:
    """Return what a reader reports for visible text: marks as newline and tab, fillers gone, escapes kept."""
    return visible.replace(NEWLINE_MARK, "\n").replace(TAB_MARK, "\t").replace(FILLER_MARK, "")


def unescape(plain: str) -> str:
    """Return the exact source of plain text. An escape beyond U+10FFFF, which nothing here writes, stays as it is."""

    def source(match: re.Match[str]) -> str:
        code = int(match[1], 16)
        return chr(code) if code < _CODE_POINTS else match[0]

    return _ESCAPE.sub(source, plain)


def escape(text: str, repertoire: Repertoire) -> tuple[str, npt.NDArray[np.uint32], Classes]:
    """Return plain text, its code points and their classes, all of one length; nothing left is ESCAPED."""
    codes = _codes(text)
    classes = repertoire.classes[codes]
    hidden = classes == ESCAPED
    if (classes == COMBINING).any():
        hidden |= _without_base(codes, classes)
    if "\\u{" in text:
        begins = (codes[:-2] == ord("\\")) & (codes[1:-1] == ord("u")) & (codes[2:] == ord("{"))
        hidden[:-2] |= begins
    for match in FORGED.finditer(text):
        hidden[match.start()] = True
    if not hidden.any():
        return text, codes, classes
    codes = _with_escapes(codes, hidden)
    return codes.tobytes().decode("utf-32-le"), codes, repertoire.classes[codes]


def _without_base(codes: npt.NDArray[np.uint32], classes: Classes) -> npt.NDArray[np.bool_]:
    """Return which combining marks have no base, or already MAX_MARKS marks below them."""
    is_mark = classes == COMBINING
    index = np.arange(len(codes))
    base = np.maximum.accumulate(np.where(is_mark, -1, index))
    is_blank = (codes <= ord(" ")) | (classes == ESCAPED)
    is_settled = (base >= 0) & ~is_blank[base] & (index - base <= MAX_MARKS)
    return np.asarray(is_mark & ~is_settled)


def _codes(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _with_escapes(codes: npt.NDArray[np.uint32], hidden: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint32]:
    """Replace the code points where ``hidden`` by the letters of their escapes."""
    targets = codes[hidden]
    digits = np.maximum((np.frexp(targets.astype(np.float64))[1] + 3) // 4, 1)
    lengths = np.ones(len(codes), np.int32)
    lengths[hidden] = digits + 4
    ends = np.cumsum(lengths, dtype=np.int64)
    out = np.empty(int(ends[-1]), np.uint32)
    out[(ends - 1)[~hidden]] = codes[~hidden]
    last = ends[hidden] - 1
    out[last] = ord("}")
    for place in range(6):  # hexadecimal digits from the right
        has = digits > place
        value = (targets[has] >> np.uint32(4 * place)) & np.uint32(15)
        out[last[has] - 1 - place] = value + np.where(value < 10, ord("0"), ord("a") - 10).astype(np.uint32)
    for place, letter in enumerate("\\u{"):
        out[last - digits - 3 + place] = ord(letter)
    return out
