"""Two replicas of an agent share one session through Redis.

Each replica is a process of its own with its own OpticalMemory; both append to the same session and both see what
the other has added, in one order. Start a Redis and run it:

    redis-server --port 6379 --appendonly yes &
    python examples/two_replicas.py redis://localhost:6379/0
"""

from __future__ import annotations

import multiprocessing
import sys

from optical_memory import OpticalMemory

SESSION = "two-replicas"
TURNS = 40


def agent(name: str, url: str, turns: int) -> None:
    """One replica: takes requests, answers them, and asks for the context before each answer."""
    with OpticalMemory(SESSION, store=url, profile="mini", renderer="dense", budget=4_000) as memory:
        for number in range(turns):
            request = f"{name}-{number}"
            memory.add("user", f"Request {request}: please book seat {number + 1}A. " * 6, id=f"{request}-ask")
            context = memory.context()
            answer = f"Done by {name}: confirmation {name.upper()}{number:04d} after {context.text_tokens} tokens."
            memory.add("assistant", answer, name=name, id=f"{request}-answer")


def main(url: str = "redis://localhost:6379/0") -> None:
    """Run both replicas side by side, then show what a third one sees."""
    with OpticalMemory(SESSION, store=url, profile="mini", renderer="dense", budget=4_000) as memory:
        memory.forget(everything=True)
    spawn = multiprocessing.get_context("spawn")
    replicas = [spawn.Process(target=agent, args=(name, url, TURNS)) for name in ("anna", "bert")]
    for replica in replicas:
        replica.start()
    for replica in replicas:
        replica.join()
        if replica.exitcode:
            raise SystemExit(f"a replica ended with status {replica.exitcode}")
    with OpticalMemory(SESSION, store=url, profile="mini", renderer="dense", budget=4_000) as memory:
        print(memory.context().explain())
        turns = memory.store.turns(SESSION)
        assert [turn.seq for turn in turns] == list(range(4 * TURNS)), "every turn once, in one order"
        print(f"{len(turns)} turns from both, in one order")
        print("recall:", memory.recall("confirmation BERT0007", k=1)[0].text[:60])


if __name__ == "__main__":
    main(*sys.argv[1:2])
