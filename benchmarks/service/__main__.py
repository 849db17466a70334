"""The service: `crash` kills it under load and counts lost turns, `load` measures appends and reads a second."""

from __future__ import annotations

import argparse
import tempfile

from benchmarks.service.crash import crash
from benchmarks.service.load import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["crash", "load"])
    parser.add_argument("--store", help="default: a SQLite file of its own")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to measure")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = arguments.store or f"sqlite:///{folder}/memory.db"
        if arguments.what == "crash":
            print(crash(store, kills=arguments.kills, writers=arguments.writers))
        else:
            print(load(store, writers=arguments.writers, seconds=arguments.seconds))


if __name__ == "__main__":
    main()
