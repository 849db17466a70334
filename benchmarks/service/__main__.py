"""The service: `load` measures appends a second, `crash` kills it under load and counts lost turns."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.service.crash import crash
from benchmarks.service.load import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["crash", "load"])
    parser.add_argument("--store", help="default: a Redis (load) or SQLite file (crash) of its own")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2, help="processes of the service")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to measure")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.what == "crash":
            store = arguments.store or f"sqlite:///{folder}/memory.db"
            print(crash(store, kills=arguments.kills, writers=arguments.writers))
        else:
            found = load(Path(folder), seconds=arguments.seconds, workers=arguments.workers, store=arguments.store)
            print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
