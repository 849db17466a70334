"""Filling: a gist of few steps has room left for lines of the files and outputs that the steps were about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from optical_memory.context.telling import QUOTED
from optical_memory.excerpt import STEP_WEIGHTS, cells
from optical_memory.renderers.layout import Run

SHARES = (1.0, 0.85, 0.6)
"""Shares of the rows left that are tried: rows are estimated, as words that are not broken take some cells more."""


def bare(run: Run) -> Run:
    """Return what is told of a turn without lines of a file or an output."""
    if run.header not in STEP_WEIGHTS or QUOTED not in run.text:
        return run
    return replace(run, text="\n".join(line for line in run.text.split("\n") if not line.startswith(QUOTED)))


def filled(kept: Sequence[Run], told: Sequence[Run], rows: int, columns: int) -> Iterator[list[Run]]:
    """Yield the ``kept`` runs with lines of files and outputs, as many as ``rows`` may hold, then fewer.

    Each step has the same number of them, or all that it has. ``told`` is all that may be said of the turns; a row has
    so many ``columns``. Nothing is yielded where no line has room.
    """
    quoted = {
        (run.turn_id, run.header): [line for line in run.text.split("\n") if line.startswith(QUOTED)]
        for run in told
        if run.header in STEP_WEIGHTS
    }
    lines = [quoted.get((run.turn_id, run.header), []) for run in kept]
    used = [[-(-cells(line) // columns) for line in each] for each in lines]
    before = 0
    for share in SHARES:
        number = _number(used, int(rows * share))
        if number and number != before:
            yield [
                _with(run, [each[at] for at in _spread(len(each), number)])
                for run, each in zip(kept, lines, strict=True)
            ]
        before = number


def _number(used: Sequence[Sequence[int]], rows: int) -> int:
    """Return the most lines of each step that fit in so many rows; ``used`` are the rows of its lines."""
    least, most = 0, max(map(len, used), default=0)
    while least < most:
        number = (least + most + 1) // 2
        if sum(each[at] for each in used for at in _spread(len(each), number)) <= rows:
            least = number
        else:
            most = number - 1
    return least


def _spread(count: int, number: int) -> Iterator[int]:
    """Yield so many places of ``count``, from the first to the last, or all."""
    number = min(number, count)
    return (at * count // number for at in range(number))


def _with(run: Run, lines: Sequence[str]) -> Run:
    return replace(run, text="\n".join([run.text, *lines])) if lines else run
