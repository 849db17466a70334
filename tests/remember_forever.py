"""Feed a memory until killed, asking for the messages after each turn; tell each turn once it was acknowledged.

Usage: python remember_forever.py URL NAME. The budget is small, so that epochs are frequent; every third turn is a
tool call with its result.
"""

from __future__ import annotations

import sys
from itertools import count

from optical_memory import OpticalMemory

SETTINGS = {"profile": "mini", "renderer": "dense", "budget": 2_000}


def main(url: str, name: str) -> None:
    memory = OpticalMemory("remembered", store=url, **SETTINGS)  # type: ignore[arg-type]
    for number in count():
        call_id = f"{name}-{number}"
        if number % 3 == 2:
            call = {"id": call_id, "type": "function", "function": {"name": "look", "arguments": "{}"}}
            result = {"role": "tool", "tool_call_id": call_id, "content": f"box {number} " * 60}
            turns = memory.extend([{"role": "assistant", "content": None, "tool_calls": [call]}, result])
        else:
            turns = [memory.add("user", f"{call_id} asks for the blue box on shelf {number} again. " * 8, id=call_id)]
        print(*(turn.id for turn in turns), flush=True)
        memory.messages()


if __name__ == "__main__":
    main(*sys.argv[1:])
