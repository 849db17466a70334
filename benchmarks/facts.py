"""How many of the exact values on a page its line of facts holds: airline conversations, pages of 6,500 characters.

    python -m benchmarks.facts [TRANSCRIPTS.jsonl] [--tokens 64]

Prints for each kind of value: how many stand on pages, the share that ``extract`` finds at all, the share in the page's
own line, and the share in that line or in that of a newer page, as older pages do not repeat what is beside newer ones.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter
from pathlib import Path

from benchmarks import DATA
from optical_memory.budget import count_tokens
from optical_memory.facts import extract, facts_line, listed
from optical_memory.formats import to_turns
from optical_memory.turns import transcript

TRANSCRIPTS = DATA / "tau_bench/airline.jsonl"
PAGE = 6500
KINDS = {
    "reservation ids": re.compile(r"\b(?=[A-Z0-9]*[A-Z])[A-Z0-9]{6}\b"),
    "user ids": re.compile(r"\b[a-z]+_[a-z]+_\d{4}\b"),
    "payment ids": re.compile(r"\b(?:credit_card|gift_card|certificate)_\d{7}\b"),
    "flight numbers": re.compile(r"\bHAT\d{3}\b"),
    "amounts": re.compile(r'\$\d[\d,.]*\d|(?<="amount": )\d+'),
}


def pages(messages: list[dict[str, object]]) -> list[list[tuple[str, str]]]:
    """Cut a conversation into pages of (turn id, text)."""
    out: list[list[tuple[str, str]]] = [[]]
    room = PAGE
    for turn in to_turns(messages):
        if turn.is_instruction:
            continue
        header, body = transcript(turn)
        text = f"{header}: {body}"
        while text:
            out[-1].append((turn.id, text[:room]))
            room, text = room - len(text[:room]), text[room:]
            if room == 0:
                out.append([])
                room = PAGE
    return [page for page in out if page]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("transcripts", nargs="?", type=Path, default=TRANSCRIPTS)
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args()

    found, lines, near, total = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    used, page_count, seconds = 0, 0, 0.0
    for line in options.transcripts.open():
        messages = json.loads(line)["messages"]
        # A reservation id is what some message calls so: six letters alone may be anything.
        called = set(re.findall(r'reservation_id\W+(\w{6})"', line)) | set(re.findall(r'"(\w{6})\\"[,\]]', line))
        seen: list[str] = []
        made: list[str] = []
        texts: list[str] = []
        known: list[str] = []
        for page in reversed(pages(messages)):
            start = time.perf_counter()
            facts = extract("".join(text for _, text in page))
            seconds += time.perf_counter() - start
            made.append(facts_line(facts, options.tokens, lambda text: count_tokens(text, "gpt-5"), seen=seen))
            seen += listed(made[-1])
            texts.append("".join(text for _, text in page))
            known.append(" | ".join(str(fact) for fact in facts))
            used += count_tokens(made[-1], "gpt-5")
            page_count += 1
        for place, text in enumerate(texts):
            around = " | ".join(made[: place + 1])
            for kind, pattern in KINDS.items():
                for value in set(pattern.findall(text)):
                    if kind == "reservation ids" and value not in called:
                        continue
                    whole = re.compile(rf"(?<![\w]){re.escape(value)}(?!\w)")
                    total[kind] += 1
                    found[kind] += bool(whole.search(known[place]))
                    lines[kind] += bool(whole.search(made[place]))
                    near[kind] += bool(whole.search(around))
    print(f"{page_count} pages, {used / page_count:.1f} tokens a line, {1e3 * seconds / page_count:.2f} ms a page")
    print(f"{'value':16} {'on pages':>8} {'found':>7} {'in line':>8} {'or newer':>10}")
    for kind in KINDS:
        shares = [counter[kind] / total[kind] for counter in (found, lines, near)]
        print(f"{kind:16} {total[kind]:8} {shares[0]:7.1%} {shares[1]:8.1%} {shares[2]:10.1%}")


if __name__ == "__main__":
    main()
