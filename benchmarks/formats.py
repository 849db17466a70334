"""How long 1,000 messages take into turns and out again, in each format.

python -m benchmarks.formats [TRANSCRIPTS.jsonl]
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

from benchmarks import DATA
from optical_memory.formats import FORMATS, from_turns, to_turns

TRANSCRIPTS = DATA / "coding_agent/sessions.jsonl"


def main() -> None:
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else TRANSCRIPTS
    sessions = [json.loads(line)["messages"] for line in file.read_text(encoding="utf-8").splitlines()]
    messages = [message for session in sessions for message in session][:1000]
    print(f"{len(messages)} messages, CPU time, median of 7")
    for name in FORMATS:
        seconds: list[tuple[float, float]] = []
        for _ in range(7):
            start = time.process_time()
            turns = to_turns(messages, "openai")
            middle = time.process_time()
            from_turns(turns, name)
            seconds.append((middle - start, time.process_time() - middle))
        into, out = (1e3 * statistics.median(each) for each in zip(*seconds, strict=True))
        print(f"{name:12} in {into:5.1f} ms   out {out:5.1f} ms")


if __name__ == "__main__":
    main()
