"""Plots of training: losses and accuracy on unseen random text over device seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def curves(logs: list[Path], out: Path) -> None:
    """Draw the logs of stages, one after the other, into a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    entries: list[dict[str, Any]] = []
    for log in logs:
        before = entries[-1]["seconds"] if entries else 0.0
        for line in log.read_text().splitlines():
            entry = json.loads(line)
            entries.append({**entry, "seconds": entry["seconds"] + before})
    seconds = [entry["seconds"] for entry in entries]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 3), dpi=80)
    for name in ("late", "early"):
        left.semilogy(seconds, [entry[name] for entry in entries], label={"late": "tokens", "early": "patches"}[name])
    left.set_ylabel("loss, nats per character")
    for name in (key for key in entries[0] if key not in ("seconds", "step", "late", "early")):
        right.semilogy(seconds, [max(1e-4, 1 - entry[name]) for entry in entries], label=name)
    right.set_ylabel("share of random characters wrong")
    for axes in (left, right):
        axes.set_xlabel("seconds on the GPU")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.tight_layout()
    figure.savefig(out)
