"""Long coding-agent sessions at one budget: budget, prefix, pairs and verbatim recall after every single turn.

python -m benchmarks.coding [--file sessions.jsonl] [--budget 16000] [--profile mini]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from benchmarks import DATA
from optical_memory import OpticalMemory
from optical_memory.turns import open_calls

SESSIONS = DATA / "coding_agent/sessions.jsonl"


def digests(messages: list[dict[str, Any]]) -> list[bytes]:
    return [hashlib.sha256(json.dumps(message).encode()).digest() for message in messages]


def pairs_hold(messages: list[dict[str, Any]]) -> bool:
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                return False
            waiting.discard(message["tool_call_id"])
        else:
            if waiting:
                return False
            waiting = {call["id"] for call in message.get("tool_calls") or ()}
    return True


def run(session: dict[str, Any], profile: str, budget: int) -> dict[str, Any]:
    start = time.perf_counter()
    over = broken = unpaired = 0
    with OpticalMemory(session["id"], profile=profile, budget=budget, renderer="dense") as memory:
        before, epoch = [b""], -1
        for message in session["messages"]:
            memory.extend([message])
            context = memory.context()
            over += context.tokens > budget
            sent = memory.messages()
            now = digests(sent)
            if context.epoch == epoch and now[: len(before)] != before:
                broken += 1
            unpaired += not pairs_hold(sent) if not open_calls(context.recent) else 0
            before, epoch = now, context.epoch
        turns = memory.store.turns(session["id"])
        verbatim = sum(t.raw == m for t, m in zip(turns, session["messages"], strict=True))
        return {
            "turns": len(turns),
            "text": context.text_tokens,
            "context": context.tokens,
            "epochs": context.epoch,
            "over": over,
            "broken": broken,
            "unpaired": unpaired,
            "verbatim": verbatim,
            "seconds": time.perf_counter() - start,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, default=SESSIONS)
    parser.add_argument("--budget", type=int, default=16_000)
    parser.add_argument("--profile", default="mini")
    options = parser.parse_args()
    total = {"turns": 0, "epochs": 0, "over": 0, "broken": 0, "unpaired": 0}
    print(f"{'session':34} turns  text tok  context  epochs  over  broken  unpaired  verbatim  seconds")
    for line in options.file.read_text("utf-8").splitlines():
        session = json.loads(line)
        row = run(session, options.profile, options.budget)
        print(
            f"{session['id'][:34]:34} {row['turns']:5} {row['text']:9,} {row['context']:8,} {row['epochs']:7} "
            f"{row['over']:5} {row['broken']:7} {row['unpaired']:9} {row['verbatim']:9} {row['seconds']:8.1f}",
            flush=True,
        )
        for key in total:
            total[key] += row[key]
    print(f"one epoch per {total['turns'] / max(total['epochs'], 1):.1f} turns (at least 20 wanted); {total}")


if __name__ == "__main__":
    main()
