"""Why texts that a coding agent replaces did not stand as text: where they came from, how large that was, how long ago.

Run: python -m benchmarks.keep.edits [--profiles gpt-5 …] [--budgets 8000 16000 …] [--coding 6]

Of each call that replaces a text, the lines of it that did not stand as text are looked for in the turns before, the
newest first. The edit counts where most of them came from. "small": what came cost at most a tenth of the budget,
"large" more. "on arrival": the turn is still in the tail, but was too large to be text. "ago" is the median of turns
since it came.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.keep.replay import replaced_lines, words_of
from benchmarks.keep.sessions import Session, load
from benchmarks.keep.values import spoken
from optical_memory import OpticalMemory
from optical_memory.budget import count_message
from optical_memory.context.base import Context
from optical_memory.errors import BudgetError
from optical_memory.formats import to_turns
from optical_memory.turns import Turn

SMALL = 1 / 10
"""Share of the budget up to which a turn is small."""
CAUSES = (
    "text", "on arrival", "sealed, small result", "sealed, large result", "sealed, the model's", "sealed, the user's",
    "in no turn",
)  # fmt: skip


@dataclass(slots=True)
class Causes:
    """How many edits had which cause, and how many turns before the text had come."""

    counts: Counter[str] = field(default_factory=Counter)
    ages: list[int] = field(default_factory=list)

    def row(self, name: str) -> str:
        """Return a line of the table."""
        cells = [str(sum(self.counts.values())), *(str(self.counts[cause]) for cause in CAUSES)]
        return f"| {name} | {' | '.join(cells)} | {statistics.median(self.ages) if self.ages else 0:.0f} |"


def look(session: Session, profile: str, budget: int, causes: Causes) -> None:
    """Replay a session and count the causes of its edits, after the first epoch."""
    before: list[tuple[Turn, str]] = []
    context: Context | None = None
    with OpticalMemory(session.id, profile=profile, budget=budget, renderer="dense", draw_ahead=False) as memory:
        for message in session.messages:
            (turn,) = to_turns([message], "openai")
            if context is not None and context.epoch:
                shown = "\n".join(map(words_of, context.pieces()))
                for lines in replaced_lines(turn):
                    missing = [line for line in lines if line not in shown]
                    causes.counts[_cause(missing, before, context, memory, causes.ages)] += 1
            (stored,) = memory.extend([message])
            before.append((stored, spoken(turn)))
            try:
                context = memory.context()
            except BudgetError:
                continue


def _cause(
    missing: Sequence[str],
    before: Sequence[tuple[Turn, str]],
    context: Context,
    memory: OpticalMemory,
    ages: list[int],
) -> str:
    if not missing:
        return "text"
    found = Counter(_places(missing, before))
    if not found:
        return "in no turn"
    place = max(found, key=lambda at: (found[at], at))
    turn = before[place][0]
    ages.append(len(before) - place)
    if any(recent.id == turn.id for recent in context.recent):
        return "on arrival"
    if turn.role == "tool":
        is_small = count_message(turn, memory.profile) <= memory.budget * SMALL
        return "sealed, small result" if is_small else "sealed, large result"
    return "sealed, the user's" if turn.role == "user" else "sealed, the model's"


def _places(lines: Sequence[str], before: Sequence[tuple[Turn, str]]) -> Iterator[int]:
    """Yield for each line the place of the newest turn with it, if any."""
    for line in lines:
        for place in range(len(before) - 1, -1, -1):
            if line in before[place][1]:
                yield place
                break


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profiles", nargs="+", default=["deepseek-ocr", "gpt-5", "claude-4.7"])
    parser.add_argument("--budgets", nargs="+", type=int, default=[8_000, 16_000, 32_000])
    parser.add_argument("--coding", type=int, default=6, help="sessions of the coding agent")
    options = parser.parse_args()
    print(f"| profile, budget | edits | {' | '.join(CAUSES)} | ago |\n|---|{'--:|' * (len(CAUSES) + 2)}")
    for profile in options.profiles:
        for budget in options.budgets:
            causes = Causes()
            for session in load(options.coding, 0, 0):
                look(session, profile, budget, causes)
            print(causes.row(f"{profile} {budget:,}"), flush=True)


if __name__ == "__main__":
    main()
