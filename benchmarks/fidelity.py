"""How much of a real session's pages a reader still reads at each tier.

    python -m benchmarks.fidelity --data ../shared/data/coding_agent/sessions.jsonl --reader rapidocr --pages 2

Pages are drawn by the dense renderer from the text of one session, from its middle on. Prints a Markdown table; the
columns are those of ``optical_memory.readers.fidelity.Score``.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path

from optical_memory.budget import count_tokens, get_profile
from optical_memory.pages import render
from optical_memory.readers import load_reader
from optical_memory.readers.fidelity import Score, score


def session_text(path: Path, characters: int) -> str:
    """Return ``characters`` from the middle of the first session of a file in OpenAI message format."""
    with path.open(encoding="utf-8") as lines:
        messages = json.loads(next(lines))["messages"]
    text = "\n".join(f"{message['role']}: {message['content']}" for message in messages if message.get("content"))
    start = max(0, (len(text) - characters) // 2)
    return text[start : start + characters]


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def row(profile: str, tier: str, found: Score, text_tokens: int) -> str:
    cells = [profile, tier, f"{found.characters:,}", f"{text_tokens / found.tokens:.1f}", share(found.precision)]
    cells += [share(found.precision_folded), f"{found.identifiers}", share(found.exact), share(found.silently_wrong)]
    return "| " + " | ".join([*cells, f"{found.seconds / found.pages:.1f}"]) + " |"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="sessions as JSON lines")
    parser.add_argument("--reader", default="rapidocr")
    parser.add_argument("--profiles", nargs="+", default=["deepseek-ocr", "mini"])
    parser.add_argument("--tiers", nargs="+", help="only these")
    parser.add_argument("--pages", type=int, default=1, help="full pages of each tier")
    chosen = parser.parse_args(arguments)
    reader = load_reader(chosen.reader)
    print(f"{reader.name}, {platform.machine()}, {time.strftime('%F')}\n")
    print(
        "| profile | tier | characters | text tokens / image tokens | characters right | whitespace folded |", end=" "
    )
    print("identifiers | exact | silently wrong | s a page |")
    print("|" + "---|" * 10)
    for name in chosen.profiles:
        profile = get_profile(name)
        text = session_text(chosen.data, profile.grid.capacity * chosen.pages)
        for tier in (*profile.tiers, profile.gist):
            if (chosen.tiers and tier.name not in chosen.tiers) or tier.name == "gist":
                continue
            pages = render(text, tier=tier.name, profile=profile)[: chosen.pages]
            found = score({tier.name: pages}, reader)[tier.name]
            tokens = sum(count_tokens(page.text, profile) for page in pages)
            print(row(name, tier.name, found, tokens), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
