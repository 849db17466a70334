"""Make the demo's conversation: one long shift of a customer-service agent, from real recorded conversations.

Source: the historical trajectories of sierra-research/tau-bench (MIT, see LICENSES/tau-bench.txt), as one
``{"id", "messages"}`` a line. The system prompt is kept once; everything else is unchanged.

    python scripts/make_example.py airline.jsonl optical_memory/examples/airline-shift.jsonl
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

CONVERSATIONS = 32


def main(source: str, target: str) -> None:
    """Write the messages of the first conversations as one session, one message a line."""
    lines = Path(source).read_text("utf-8").splitlines()[:CONVERSATIONS]
    messages = []
    for line in lines:
        for message in json.loads(line)["messages"]:
            if message["role"] != "system" or not messages:
                messages.append(message)
    text = "".join(json.dumps(message, ensure_ascii=False) + "\n" for message in messages)
    Path(target).write_text(text, "utf-8")
    print(f"{len(messages)} messages, {len(text):,} characters")


if __name__ == "__main__":
    main(*sys.argv[1:3])
