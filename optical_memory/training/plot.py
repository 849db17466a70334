"""Plots of training: losses and errors on unseen text over device seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def curves(logs: list[Path], out: Path) -> None:
    """Draw the logs of stages, one after the other, into a PNG: the losses, and what the last of them watched."""
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
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), dpi=80)
    for name in ("late", "early"):
        left.semilogy(seconds, [entry[name] for entry in entries], label={"late": "tokens", "early": "patches"}[name])
    left.set_ylabel("loss, nats per character")
    for name in (key for key in entries[-1] if key not in ("seconds", "step", "late", "early")):
        known = [entry for entry in entries if name in entry]
        right.semilogy(
            [entry["seconds"] for entry in known], [max(1e-4, 1 - entry[name]) for entry in known], label=name
        )
    right.set_ylabel("share of characters wrong")
    for axes in (left, right):
        axes.set_xlabel("seconds on the GPU")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(out)
