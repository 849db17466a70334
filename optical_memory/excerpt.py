"""Excerpts: the most telling lines of several pages, in order, with their authors, each omission in a text marked.

Extractive and deterministic: lines are scored by who said them, by words of decision and outcome, by exact values, by
their place, and by how much they say that nothing chosen before them says (greedy cover of weighted terms, after Lin
and Bilmes, "A Class of Submodular Functions for Document Summarization", 2011). Any language will do: the few words of
decision that are known only add to the score.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, pairwise

import numpy as np
import numpy.typing as npt

from optical_memory import wording
from optical_memory.renderers.layout import Run

MARK = wording.CUT
"""Stands wherever something was left out."""
ROLE_WEIGHTS: Mapping[str, float] = {"user": 1.5, "assistant": 1.0, "tool": 0.7}
STEP_WEIGHTS: Mapping[str, float] = {
    "failed:": 1.3, "edited:": 1.2, "wrote:": 1.2, "ran:": 0.9, "searched:": 0.35, "read:": 0.3,
}  # fmt: skip
"""What an agent's steps are worth, by the header under which :mod:`optical_memory.context.telling` tells them. Each
of their lines is whole or left out, without a mark: they are no quotations."""
DETAIL = 0.1
"""What the lines under the first are worth: they fill the room that is left."""
SHORTEST_LINE, LONGEST_LINE = 20, 160
"""Characters; shorter ones go with what follows them, longer ones are cut, at a comma where there is one."""

_END = re.compile(
    r"[\n.!?…。！？；](?:(?<=\n)\s*|(?<=[.!?…])[\"')\]*_]{0,3}\s+|(?<=[。！？；])[。！？；」』”’）\"']{0,3}\s*)"
)
_CUT = re.compile(
    rf".{{40,{LONGEST_LINE}}}(?:(?<=[,;}}\]])(?!\d)|(?<=[，、；]))|.{{40,{LONGEST_LINE}}}(?<=\s)|.{{{LONGEST_LINE}}}",
    re.DOTALL,
)
_TERM = re.compile(r"[a-z0-9]+|[^\W0-9a-z_]+")
_WIDE = re.compile(r"[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6]")
_ESCAPED = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\U00010000-\U0010ffff]"
)
_CUES = frozenset(
    "decided decide decision because therefore thus conclusion concluded agreed prefer prefers must never always "
    "important remember error errors failed fails failure fixed fixes result results found cause caused causes solved "
    "passed passes confirmed cancelled canceled changed instead need needs want wants plan promised deadline "
    "错误 失败 决定 因为 所以 必须 结果 決定 結果 理由 失敗 重要 결정 오류 결과 "
    "weil beschlossen fehler ergebnis wichtig parce décidé erreur résultat porque decidido "
    "importante решили решено потому ошибка результат важно".split()
)
"""Words of decision, reason and outcome: they add to a line's worth, and their absence costs nothing."""
_EXACT = re.compile(r"\d+|[@/\\_]|(?<=[a-z,;] )[A-Z]")


@dataclass(slots=True)
class Line:
    """A piece of a run: ``run.text[start:end]``, without the blanks around it."""

    run: int
    start: int
    end: int
    text: str
    after_gap: bool
    """Whether something was left out before it already."""
    weight: float = 1.0
    cells: int = 0


def excerpt(runs: Sequence[Run], capacity_cells: int, *, columns: int = 1) -> list[Run]:
    """Return the most telling lines of ``runs`` that fit in ``capacity_cells``, in order, as runs of the same turns.

    Texts are cut only between lines and sentences and each omission in a text is marked with ``[…]``; texts that are
    left out whole are not. An excerpt of excerpts keeps the marks. With the page's ``columns`` the blank cells at the
    ends of runs count as well (each run begins a row). A text that fits whole is returned unchanged. Where nothing
    fits, the list is empty. Time grows about linearly with the text.
    """
    if sum(_rows(run.header, run.text, columns) for run in runs) <= capacity_cells:
        return list(runs)
    lines = [line for place, run in enumerate(runs) for line in _lines(place, run)]
    _weigh(lines, runs)
    return _joined(runs, lines, _chosen(lines, runs, capacity_cells, columns))


def _lines(place: int, run: Run) -> Iterator[Line]:
    if run.header not in STEP_WEIGHTS:
        yield from lines_of(place, run.text)
        return
    start = 0
    for text in run.text.split("\n"):
        yield Line(place, start, start + len(text), text, after_gap=False)
        start += len(text) + 1


def cells(text: str) -> int:
    """Return the cells that a text takes: two for a wide character, an escape's length for what is shown as one."""
    if text.isascii() and text.isprintable():
        return len(text)
    escaped = sum(len(f"{ord(character):x}") + 3 for character in _ESCAPED.findall(text))
    return len(text) + len(_WIDE.findall(text)) + escaped


def _rows(header: str, text: str, columns: int) -> int:
    used = cells(text) + (cells(header) + 3 if header else 0)
    return -(-used // columns) * columns


def lines_of(place: int, text: str) -> Iterator[Line]:
    """Cut a run's text into lines and sentences, at the marks of former omissions, and long lines between words."""
    gap = False
    begin = 0
    for piece in text.split(MARK):
        whole = begin + len(piece)
        ends = (found.end() for found in _END.finditer(text, begin, whole))
        for end in chain(ends, (whole,)):
            if end < whole and end - begin < SHORTEST_LINE:
                continue
            for start, stop in _short(text, begin, end):
                line = text[start:stop].strip()
                if line:
                    start += len(text[start:stop]) - len(text[start:stop].lstrip())
                    yield Line(place, start, start + len(line), line, gap)
                    gap = False
            begin = end
        begin += len(MARK)
        gap = True


def _short(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > LONGEST_LINE:
        cut = _CUT.match(text, start, end)
        stop = cut.end() if cut else end
        yield start, stop
        start = stop
    yield start, end


def _weigh(lines: Sequence[Line], runs: Sequence[Run]) -> None:
    """Set what a line is worth whatever else is chosen: its author, its words, its place."""
    last: dict[int, int] = {}
    for line in lines:
        last[line.run] = line.end
    for line in lines:
        run = runs[line.run]
        weight = STEP_WEIGHTS.get(run.header) or ROLE_WEIGHTS.get(run.role, 1.0)
        if run.header in STEP_WEIGHTS and line.start:
            weight = DETAIL
        exact = len(_EXACT.findall(line.text))
        weight *= 1 + min(exact, 6) / 6
        if line.start == 0 or line.end == last[line.run]:
            weight *= 1.15  # questions and answers come first or last
        line.weight = weight
        line.cells = cells(line.text)


def _terms(lines: Sequence[Line]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], list[str]]:
    """Return the terms of all lines, each once a line: line numbers, term numbers, and the terms' texts.

    A term is a word, or two neighbouring characters of a script that is written without spaces.
    """
    numbers: dict[str, int] = {}
    of_line: list[int] = []
    of_term: list[int] = []
    for place, line in enumerate(lines):
        words = _TERM.findall(line.text.lower())
        if not line.text.isascii():
            words = [term for word in words for term in _unspaced(word)]
        distinct = dict.fromkeys(words)
        of_line += [place] * len(distinct)
        of_term += [numbers.setdefault(word, len(numbers)) for word in distinct]
    return np.array(of_line, np.int64), np.array(of_term, np.int64), list(numbers)


def _unspaced(word: str) -> Sequence[str]:
    return [word[at : at + 2] for at in range(max(1, len(word) - 1))] if _WIDE.match(word) else (word,)


def _chosen(lines: Sequence[Line], runs: Sequence[Run], capacity: int, columns: int) -> list[bool]:
    """Choose lines greedily by what they add for their cells, until nothing more fits."""
    of_line, of_term, names = _terms(lines)
    value = _values(of_term, names, len(lines))
    starts = np.searchsorted(of_line, np.arange(len(lines) + 1)).tolist()
    terms = [of_term[start:end] for start, end in pairwise(starts)]
    cued = np.bincount(of_line, np.array([name in _CUES for name in names], float)[of_term], len(lines)) > 0
    weight = (np.array([line.weight for line in lines]) * np.where(cued, 1.2, 1.0)).tolist()
    size = [line.cells + len(MARK) + 2 for line in lines]
    gain = np.bincount(of_line, value[of_term], len(lines)).tolist()
    first = {line.text: place for place, line in reversed(list(enumerate(lines)))}  # a line said twice counts once
    heap = [(-gain[place] * weight[place] / size[place], place) for place in first.values()]
    heapq.heapify(heap)
    covered = np.zeros(len(names), bool)
    chosen = [False] * len(lines)
    used: dict[int, int] = {}  # run -> cells of its header and chosen lines
    taken = misses = 0
    while heap and misses < 100:
        _, place = heapq.heappop(heap)
        own = terms[place]
        fresh = -int(value[own[~covered[own]]].sum()) * weight[place] / size[place]
        if heap and fresh > heap[0][0]:  # others say more by now
            if fresh < 0:
                heapq.heappush(heap, (fresh, place))
            continue
        run = lines[place].run
        if fresh == 0 or (run not in used and lines[place].start and runs[run].header in STEP_WEIGHTS):
            continue
        before = used.get(run, cells(runs[run].header) + 3 + len(MARK) + 1)
        after = before + size[place]
        grows = -(-after // columns) * columns - (-(-before // columns) * columns if run in used else 0)
        if taken + grows > capacity:
            misses += 1
            continue
        taken += grows
        used[run] = after
        covered[own] = True
        chosen[place] = True
    return chosen


def _values(of_term: npt.NDArray[np.int64], names: Sequence[str], line_count: int) -> npt.NDArray[np.int64]:
    """Return what each term is worth: common words little, names and numbers most, more if several lines share it.

    Whole numbers, whose sums are the same on every machine in whatever order they are taken.
    """
    often = np.bincount(of_term, minlength=len(names))
    value = np.log1p(line_count / (often + 1)) * (1 + 0.25 * np.log(often.clip(1)))
    telling = np.array([_telling(name) for name in names], np.float64)
    return np.asarray(np.rint(1000 * value * telling), np.int64)


def _telling(term: str) -> float:
    """Return how much a term says by its form alone: numbers and long words more than short ones."""
    if term.isascii() and len(term) < 4:
        return 0.4
    return 1.0 if term.isalpha() else 1.5


def _joined(runs: Sequence[Run], lines: Sequence[Line], chosen: Sequence[bool]) -> list[Run]:
    """Write the chosen lines as runs: neighbours as they stood, a mark for what lies between in the same run."""
    out: list[Run] = []
    for place, group in groupby(zip(lines, chosen, strict=True), key=lambda pair: pair[0].run):
        source = runs[place].text
        if runs[place].header in STEP_WEIGHTS:
            if text := "\n".join(line.text for line, kept in group if kept):
                out.append(replace(runs[place], text=text))
            continue
        text, end, gap = "", 0, False
        for line, kept in group:
            gap = gap or line.after_gap
            if not kept:
                gap = True
                continue
            if not text:
                text = f"{MARK} {line.text}" if gap else line.text
            else:
                text += f" {MARK} {line.text}" if gap else source[end : line.start] + line.text
            end, gap = line.end, False
        if text:
            ends_marked = gap or source.rstrip().endswith(MARK)
            out.append(replace(runs[place], text=f"{text} {MARK}" if ends_marked else text))
    return out
