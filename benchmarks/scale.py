"""Cost against history: messages() after one add with 1,000 and 100,000 turns, a restart, and the import.

python -m benchmarks.scale [--turns 100000]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from optical_memory import OpticalMemory

SAMPLE = 200
SETTINGS = {"profile": "mini", "renderer": "dense", "budget": 16_000}


def grow(path: Path, turns: int) -> OpticalMemory:
    """Return a memory with this many turns, its first epochs behind it."""
    memory = OpticalMemory("bench", store=f"sqlite:///{path}", **SETTINGS)
    batch = 1_000
    for start in range(0, turns, batch):
        memory.extend(
            {"role": ("user", "assistant")[n % 2], "content": f"Turn {n}: order A{n:06d} moved to shelf {n % 97}. " * 3}
            for n in range(start, min(start + batch, turns))
        )
        memory.context()
    return memory


def per_call(memory: OpticalMemory) -> tuple[list[float], list[float], list[float], int]:
    """Return milliseconds of messages(), on the clock and of the processor, and of add(); and changes of the epoch.

    Calls that changed the epoch are left out.
    """
    calls, work, adds, changes = [], [], [], 0
    epoch = memory.context().epoch
    memory.messages()
    for number in range(SAMPLE):
        start = time.perf_counter()
        memory.add("user", f"And question {number}: where is order A{number:06d} now?")
        middle, begun = time.perf_counter(), time.process_time()
        memory.messages()
        end, done = time.perf_counter(), time.process_time()
        now = memory.context().epoch
        if now == epoch:
            adds.append((middle - start) * 1e3)
            calls.append((end - middle) * 1e3)
            work.append((done - begun) * 1e3)
        changes += now != epoch
        epoch = now
    return calls, work, adds, changes


def restart(path: Path) -> tuple[float, int]:
    """Return seconds until a new process has its messages, and how many pages it drew."""
    code = (
        "import sys, time; from optical_memory import OpticalMemory\n"
        "from optical_memory.renderers import DenseRenderer\n"
        "drawn = 0; draw = DenseRenderer.draw\n"
        "def counted(self, layouts, **size):\n"
        "    global drawn; drawn += len(layouts); return draw(self, layouts, **size)\n"
        "DenseRenderer.draw = counted\n"
        f"start = time.perf_counter(); memory = OpticalMemory('bench', store='sqlite:///{path}', **{SETTINGS!r})\n"
        "memory.messages(); print(time.perf_counter() - start, drawn)"
    )
    seconds, drawn = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    return float(seconds), int(drawn)


def import_cost() -> float:
    """Return the median extra milliseconds of processor time of importing the package over numpy and Pillow.

    Processor time, because other work on the machine does not count; the byte code is cached, as once installed.
    """
    with tempfile.TemporaryDirectory() as cache:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = cache

        def run(code: str) -> float:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", code], check=True, env=environment)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3

        base, ours = "import numpy, PIL.Image", "import numpy, PIL.Image, optical_memory; optical_memory.OpticalMemory"
        run(ours)
        return statistics.median(run(ours) - run(base) for _ in range(9))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=100_000)
    options = parser.parse_args()
    medians = {}
    for turns in (1_000, options.turns):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "memory.db"
            start = time.perf_counter()
            with grow(path, turns) as memory:
                grown = time.perf_counter() - start
                calls, work, adds, changes = per_call(memory)
                print(memory.context().explain())
            medians[turns] = statistics.median(calls)
            again, drawn = restart(path)
            print(
                f"{turns:>7,} turns: messages() {medians[turns]:.2f} ms median, {max(calls):.2f} max, "
                f"{statistics.median(work):.2f} of the processor; "
                f"add() {statistics.median(adds):.2f} ms; {changes} epoch changes in {SAMPLE} turns; "
                f"restart {again:.2f} s, {drawn} pages drawn; filled in {grown:.0f} s"
            )
    print(f"ratio {medians[options.turns] / medians[1_000]:.2f} (at most 1.5 wanted)")
    print(f"import: {import_cost():.0f} ms of processor time over numpy and Pillow (under 150 wanted)")


if __name__ == "__main__":
    main()
