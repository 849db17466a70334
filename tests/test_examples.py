"""The examples run as they stand, on real parts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_two_replicas_share_a_session(redis_url: str) -> None:
    done = subprocess.run([sys.executable, EXAMPLES / "two_replicas.py", redis_url], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "160 turns from both, in one order" in done.stdout
    assert "BERT0007" in done.stdout
