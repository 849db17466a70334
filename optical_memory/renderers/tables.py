"""Markdown tables in running text: where they lie, so that each of their lines can have a row of its own.

A table is a head, a rule such as ``|---|:-:|`` with as many columns, and the lines with ``|`` that follow. It stands as
rows where each of its lines fits in one row, and where this leaves no more blanks than the text so far and some rows.
Otherwise it runs on like other text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from optical_memory.renderers.visible import HEADER_MARK

BLANK_ROWS = 24
"""Rows of blanks that tables may leave in a text beyond one cell for each character of it."""
# Possessive, and one set of characters: linear in any text.
_RULE_LINE = re.compile(r"^[|: \t-]++$", re.MULTILINE)
_RULE_CELL = re.compile(r"[ \t]*+:?-++:?[ \t]*+")


def breaks(text: str, columns: int, width: Callable[[int, int], int]) -> list[int]:
    """Return the places of the newlines in ``text`` after which a row must begin for its tables to stand as rows.

    ``width`` gives the cells of the text between two places, or somewhat more.
    """
    found: list[int] = []
    done = blanks = 0
    for match in _RULE_LINE.finditer(text) if "|" in text else ():
        start = text.rfind("\n", done, max(match.start() - 1, done)) + 1 or done
        head = text[start : match.start() - 1]
        if match.start() <= done or not _is_rule(match[0]) or _columns(head) != _columns(match[0]):
            continue
        lines = [(start, match.start() - 1), *_lines_with_bars(text, match.start())]
        done = lines[-1][1]
        widths = [width(first, end) + 1 for first, end in lines]
        blanks_after = blanks + len(lines) * columns - sum(widths)
        if max(widths) <= columns and blanks_after <= done + BLANK_ROWS * columns:
            blanks = blanks_after
            found += [start - 1] if start else []
            found += [end for _, end in lines if end < len(text)]
    return found


def _lines_with_bars(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Yield the lines from ``start`` on as long as they have a bar."""
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        if text.find("|", start, end) < 0:
            return
        yield start, end
        start = end + 1


def _is_rule(line: str) -> bool:
    return "|" in line and all(map(_RULE_CELL.fullmatch, line.strip().strip("|").split("|")))


def _columns(line: str) -> int:
    if line.startswith(HEADER_MARK):  # the table begins behind who speaks
        line = line[line.find("|") :]
    return line.replace("\\|", "").strip().strip("|").count("|") + 1 if "|" in line else 0
