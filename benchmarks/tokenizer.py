"""What the first count of a process costs, by how the encoding is loaded: seconds, memory, speed, and equal counts.

Then what the first ``messages()`` of a process costs, once the memory is open.

Run: pip install tiktoken quicktok-v1; python -m benchmarks.tokenizer

Each way runs in a process of its own. "ours" is what optical_memory does. Packages that are not installed are left out.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[1] / "tests" / "data" / "coding.jsonl"
WORDS = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
"""How o200k_base splits text into words (tiktoken_ext/openai_public.py)."""


def ours() -> Callable[[str], int]:
    """Load the compiled module of bpe-openai alone."""
    from optical_memory.budget.encodings import encoding

    return encoding("o200k_base")


def package() -> Callable[[str], int]:
    """Load bpe-openai as its documentation says."""
    from bpe_openai import get_encoding

    encode = get_encoding("o200k_base").encode_ordinary
    return lambda text: len(encode(text))


def tiktoken() -> Callable[[str], int]:
    """Give tiktoken the ranks in the wheel of bpe-openai."""
    import tiktoken

    file = Path(str(find_spec("bpe_openai").origin)).parent / "data" / "o200k_base.tiktoken.gz"
    lines = (line.split() for line in gzip.decompress(file.read_bytes()).splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    encode = tiktoken.Encoding("o200k", pat_str=WORDS, mergeable_ranks=ranks, special_tokens={}).encode_ordinary
    return lambda text: len(encode(text))


def quicktok() -> Callable[[str], int]:
    """Load quicktok-v1, which has its own tables."""
    import quicktok

    return quicktok.get_encoding("o200k_base").count


WAYS = {"ours": ours, "bpe-openai": package, "tiktoken": tiktoken, "quicktok-v1": quicktok}
MODULES = {"ours": "bpe_openai", "bpe-openai": "bpe_openai", "tiktoken": "tiktoken", "quicktok-v1": "quicktok"}


def resident() -> float:
    """Return the memory of this process, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def measure(way: str) -> None:
    """Print what one way costs, as JSON."""
    import optical_memory.budget  # noqa: F401  what any way has already

    warnings.simplefilter("ignore")
    if way == "messages":
        print(json.dumps(first_messages()))
        return
    memory, start = resident(), time.perf_counter()
    count = WAYS[way]()
    count("hello world")
    first = {"seconds": time.perf_counter() - start, "MB": resident() - memory}
    lines = [json.loads(line) for line in DATA.read_text("utf-8").splitlines()]
    texts = [json.dumps(line) for line in lines]
    start = time.perf_counter()
    counts = [count(text) for text in texts]
    rate = sum(map(len, texts)) / (time.perf_counter() - start) / 1e6
    print(json.dumps(first | {"rate": rate, "counts": counts}))


def first_messages() -> dict[str, float]:
    """Return what this process pays from its first memory, with three turns, to its messages; not for the import."""
    from optical_memory import OpticalMemory

    memory, start = resident(), time.perf_counter()
    with OpticalMemory(profile="gpt-5", budget=8_000, renderer="dense") as kept:
        for number in range(3):
            kept.add("user", f"turn {number}")
        kept.messages()
        return {"seconds": time.perf_counter() - start, "MB": resident() - memory}


def fastest(way: str) -> dict[str, Any]:
    """Measure a way in three processes and return the fastest."""
    command = [sys.executable, "-m", "benchmarks.tokenizer", "--way", way]
    runs = [json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(3)]
    return min(runs, key=lambda run: run["seconds"])


def main() -> None:
    """Print a table, and whether all ways count the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", choices=[*WAYS, "messages"], help="measure one way in this process")
    if way := parser.parse_args().way:
        measure(way)
        return
    found = {}
    print("| way | first count, s | MB | million characters a second | same counts |")
    print("|---|---|---|---|---|")
    for way in (way for way in WAYS if find_spec(MODULES[way])):
        best = fastest(way)
        found[way] = best["counts"]
        same = "yes" if best["counts"] == found["ours"] else "no"
        print(f"| {way} | {best['seconds']:.2f} | {best['MB']:.0f} | {best['rate']:.1f} | {same} |")
    first = fastest("messages")
    print(f"\na memory and its first messages(): {first['seconds']:.2f} s, {first['MB']:.0f} MB")


if __name__ == "__main__":
    main()
