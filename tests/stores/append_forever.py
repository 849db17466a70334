"""Append turns to a store until killed, telling each one on standard output only after it was acknowledged.

Usage: python append_forever.py URL SESSION NAME. A batch is a tool call and its result, so that halves would show.
"""

from __future__ import annotations

import sys
from itertools import count

from optical_memory.errors import DuplicateTurnError
from optical_memory.stores import open_store
from optical_memory.turns import ToolCall, Turn


def main(url: str, session: str, name: str) -> None:
    store = open_store(url)
    for number in count():
        call_id = f"{name}-{number}"
        call = ToolCall(id=call_id, name="search", arguments=f'{{"page": {number}}}')
        turns = [
            Turn(id=f"{call_id}-call", role="assistant", tool_calls=(call,)),
            Turn(id=f"{call_id}-result", role="tool", text=f"result {number} " * 20, tool_call_id=call_id),
        ]
        try:
            store.append(session, turns)
        except DuplicateTurnError:
            raise SystemExit("an earlier process of this name was not killed") from None
        print(call_id, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
