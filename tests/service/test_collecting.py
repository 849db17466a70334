"""A serving process looks for cycles now and then, and not at what it began with."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, time, weakref
from optical_memory.service.collecting import collect_rarely

class Node:
    pass

collect_rarely(0.01)
assert gc.get_freeze_count() > 1_000 and gc.get_threshold()[2] >= 1_000_000
node = Node()
node.itself = node
seen = weakref.ref(node)
gc.collect(1)  # it has grown old: only a look at all objects finds it
gc.collect(1)
del node
while seen() is not None:
    time.sleep(0.01)
print("gone")
"""


def test_what_grew_old_in_cycles_goes() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == "gone\n"
