"""What it costs to store one turn of 10 MB, by the kind of its text.

    python -m benchmarks.large_turns [--json] [--megabytes 10]

Each text goes into a SQLite database of its own. Seconds of the processor, as other work on the machine does not
count: most of it makes words for the search index.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import sys
import tempfile
import time

from rich.console import Console
from rich.table import Table

from optical_memory.stores import SqliteStore
from optical_memory.turns import Turn


def texts(size: int) -> dict[str, str]:
    """Return texts of ``size`` bytes, by what they are."""
    chance = random.Random(1)
    lines = (f"line {n}: value {n * 7919 % 10007}\n" for n in range(size // 18))
    log = (f"2026-11-28T12:{n % 60:02} src/page_cache.py:{n} getUserName id={n * 7919:x}\n" for n in range(size // 55))
    return {
        "numbered lines": "".join(lines),
        "a log with paths": "".join(log),
        "base64": base64.b64encode(chance.randbytes(size * 3 // 4)).decode(),
        "JSON of numbers": json.dumps(list(range(size // 8))),
        "Chinese": "".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(size // 3)),
        "French": "été après la pluie " * (size // 22),
        "one letter": "a" * size,
        "a ligature of 18 letters": "\ufdfa" * (size // 3),
    }


def measure(size: int) -> dict[str, dict[str, float]]:
    """Return the seconds of one append for each text: of the processor, and by the clock."""
    report: dict[str, dict[str, float]] = {}
    for name, text in texts(size).items():
        with tempfile.TemporaryDirectory() as folder:
            store = SqliteStore(f"{folder}/store.db")
            clock, processor = time.perf_counter(), time.process_time()
            store.append("s", [Turn(id="large", role="user", text=text)])
            report[name] = {"seconds": time.process_time() - processor, "clock": time.perf_counter() - clock}
            store.close()
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=10.0)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args()
    report = measure(round(options.megabytes * 1_000_000))
    if options.json:
        print(json.dumps(report))
        return 0
    table = Table("text", "processor, s", "clock, s")
    for name, row in report.items():
        table.add_row(name, f"{row['seconds']:.1f}", f"{row['clock']:.1f}")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
