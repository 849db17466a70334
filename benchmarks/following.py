"""Following and compressing long lists: milliseconds with nothing new, with two new messages, and from nothing.

optical-memory bench following
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optical_memory import Compressor, OpticalMemory
from optical_memory.budget import count_tokens

WORDS = "The crate of the northern hall was moved at noon, as the foreman said, and nobody wrote down where it went. "


def conversation(turns: int, repeat: int) -> list[dict[str, Any]]:
    """Return a list of user and assistant messages; ``repeat`` makes them long."""
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": f"{n}: {WORDS * repeat}"} for n in range(turns)]


def milliseconds(work: Callable[[], object], times: int) -> list[float]:
    """Return how long each of ``times`` calls takes."""
    out = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        out.append((time.perf_counter() - started) * 1_000)
    return out


def row(name: str, taken: list[float]) -> None:
    """Print the median and the largest."""
    print(f"{name:<64} {statistics.median(taken):9.2f} {max(taken):9.2f}")


def following(store: str, turns: int, times: int) -> None:
    """Follow a list of ``turns`` messages, each time parsed anew as a server would get it."""
    import json

    messages = conversation(turns, 1)
    text = json.dumps(messages)
    with OpticalMemory("s", store=store, profile="mini", renderer="dense", budget=8_000) as memory:
        row(f"follow, {turns:,} messages from nothing", milliseconds(lambda: memory.follow(messages), 1))
        same = [json.loads(text) for _ in range(times)]
        row(f"follow, {turns:,} messages, nothing new", milliseconds(lambda: memory.follow(same.pop()), times))

        def grow() -> None:
            messages.extend(conversation(2, 1))
            memory.follow(messages)

        row(f"follow, {turns:,} messages, two new", milliseconds(grow, times))
    with OpticalMemory("s", store=store, profile="mini", renderer="dense", budget=8_000) as memory:
        row(f"follow, {turns:,} messages, first call after a restart", milliseconds(lambda: memory.follow(messages), 1))


def compressing(tokens: int, times: int) -> None:
    """Compress a list of about ``tokens`` tokens that grows by two messages a call."""
    messages = conversation(tokens // count_tokens(WORDS * 12, "gpt-5"), 12)
    compressor = Compressor()
    settings: dict[str, Any] = {"profile": "gpt-5", "budget": 16_000, "renderer": "dense"}
    size = sum(count_tokens(message["content"], "gpt-5") for message in messages)
    row(f"compress, {size:,} tokens from nothing", milliseconds(lambda: compressor.compress(messages, **settings), 1))

    def grow() -> None:
        messages.extend(conversation(2, 12))
        compressor.compress(messages, **settings)

    row("compress, seen before but for its last two messages", milliseconds(grow, times))
    row("compress, seen before", milliseconds(lambda: compressor.compress(messages, **settings), times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=10_000)
    parser.add_argument("--tokens", type=int, default=150_000)
    parser.add_argument("--times", type=int, default=41)
    options = parser.parse_args()
    print(f"{'':<64} {'median ms':>9} {'most ms':>9}")
    with tempfile.TemporaryDirectory() as folder:
        following(f"sqlite:///{Path(folder) / 'memory.db'}", options.turns, options.times)
    compressing(options.tokens, options.times)


if __name__ == "__main__":
    main()
