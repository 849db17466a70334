"""How long a caller waits for messages(): median and p99 over 10,000 turns, with and without drawing ahead.

python -m benchmarks.waiting [--turns 10000] [--renderers dense chromium] [--gaps 0 20 200] [--kind airline]

Real conversations are stored message by message in SQLite, one after another, and messages() is called right after each
is added. With a gap the caller does nothing for so many milliseconds behind the call, until the next message is there:
0 is a tight loop, as when a recorded session is replayed; 20 a tool that answers at once; 200 a small model's short
answer; 1000 and more what most models take. Half of the gaps stand before a tool's or a user's message and half before
a model's: in both nobody waits for the memory.

"arrivals" are calls that show a large result that just came as pages: these are drawn while the caller waits, as nobody
knew of them before. All others should find everything drawn.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.keep.sessions import load
from optical_memory import OpticalMemory


@dataclass(slots=True)
class Waits:
    """Milliseconds of each call, those of epochs and of arrivals once more, and a hash of all that was sent."""

    calls: list[float] = field(default_factory=list)
    epochs: list[float] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    sent: Any = field(default_factory=hashlib.sha256)

    def row(self, name: str) -> str:
        """Return a line of the table."""
        median, last = statistics.median(self.calls), _percentile(self.calls, 99)
        figures = (median, _percentile(self.calls, 90), last, last / median, max(self.calls))
        epochs = (statistics.median(self.epochs), _percentile(self.epochs, 90)) if self.epochs else (0.0, 0.0)
        arrivals = statistics.median(self.arrivals) if self.arrivals else 0.0
        cells = " | ".join(f"{figure:.1f}" for figure in (*figures, *epochs))
        counts = f"{len(self.epochs)} of {len(self.calls):,} | {arrivals:.1f} | {len(self.arrivals)}"
        return f"| {name} | {cells} | {counts} | {self.sent.hexdigest()[:8]} |"


def _percentile(values: Iterable[float], percent: int) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) * percent // 100, len(ranked) - 1)]


def messages(kind: str) -> Iterator[dict[str, Any]]:
    """Yield the messages of all conversations of a kind, without their system prompts, round and round."""
    sessions = load(100, 100, 10)
    said = [m for session in sessions if session.kind == kind for m in session.messages if m["role"] != "system"]
    return itertools.cycle(said)


def wait(path: Path, said: Iterable[dict[str, Any]], gap: float, **settings: Any) -> Waits:
    """Add messages one by one, and time messages() right after each; ``gap`` is in seconds, behind the call."""
    out = Waits()
    with OpticalMemory("s", store=f"sqlite:///{path}", **settings) as memory:
        epoch = 0
        for message in said:
            memory.extend([message], format="openai")
            start = time.perf_counter()
            sent = memory.messages()
            out.calls.append((time.perf_counter() - start) * 1_000)
            if gap:
                time.sleep(gap)
            context = memory.peek()
            if context.epoch != epoch:
                out.epochs.append(out.calls[-1])
                out.sent.update(json.dumps(sent).encode())
                epoch = context.epoch
            if context.latest[-1].page is not None and context.latest[-1].turn_ids == (context.recent[-1].id,):
                out.arrivals.append(out.calls[-1])
    return out


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, default=10_000)
    parser.add_argument("--renderers", nargs="+", default=["dense", "chromium"])
    parser.add_argument("--gaps", nargs="+", type=float, default=[0, 20], help="milliseconds behind each call")
    parser.add_argument("--kind", choices=["airline", "coding", "talk"], default="airline")
    parser.add_argument("--profile", default="deepseek-ocr")
    parser.add_argument("--budget", type=int, default=8_000)
    parser.add_argument("--ahead", nargs="+", choices=["off", "on"], default=["off", "on"])
    options = parser.parse_args()
    print(
        "| renderer, gap, drawing ahead | median ms | p90 | p99 | p99 / median | most | epochs: median ms | p90 | ",
        end="",
    )
    print("epochs | arrivals: median ms | arrivals | sent |\n|---|" + "--:|" * 11)
    for renderer, gap, ahead in itertools.product(options.renderers, options.gaps, options.ahead):
        with tempfile.TemporaryDirectory() as folder:
            waits = wait(
                Path(folder) / "memory.db",
                itertools.islice(messages(options.kind), options.turns),
                gap / 1_000,
                profile=options.profile,
                budget=options.budget,
                renderer=renderer,
                draw_ahead=ahead == "on",
            )
        print(waits.row(f"{renderer}, {gap:g} ms, {ahead}"), flush=True)


if __name__ == "__main__":
    main()
