"""Filling: a gist of few steps has room left for lines of the files and outputs that the steps were about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from optical_memory.excerpt import STEP_WEIGHTS
from optical_memory.renderers.layout import Run

QUOTED = "  "
"""What a line of a file or an output begins with, where an agent's step is told."""

Fits = Callable[[Sequence[Run]], bool]


def bare(run: Run) -> Run:
    """Return what is told of a turn without lines of a file or an output."""
    if run.header not in STEP_WEIGHTS or QUOTED not in run.text:
        return run
    return replace(run, text="\n".join(line for line in run.text.split("\n") if not line.startswith(QUOTED)))


def filled(kept: Sequence[Run], told: Sequence[Run], fits: Fits) -> list[Run]:
    """Return the ``kept`` runs with as many lines of files and outputs as still fit, the same number for each step.

    ``told`` is all that may be said of the turns.
    """
    quoted = {
        (run.turn_id, run.header): [line for line in run.text.split("\n") if line.startswith(QUOTED)]
        for run in told
        if run.header in STEP_WEIGHTS
    }

    def longer(number: int) -> list[Run]:
        out = []
        for run in kept:
            lines = quoted.get((run.turn_id, run.header), [])
            count = min(number, len(lines))
            chosen = [lines[at * len(lines) // count] for at in range(count)]
            out.append(replace(run, text="\n".join([run.text, *chosen])) if chosen else run)
        return out

    least, most = 0, max((len(quoted.get((run.turn_id, run.header), ())) for run in kept), default=0)
    while least < most:
        number = (least + most + 1) // 2
        if fits(longer(number)):
            least = number
        else:
            most = number - 1
    return longer(least)
