"""How the bundled reader reads conversations and code on Chromium's pages: characters, identifiers shown, prose marked.

    python -m benchmarks own_pages --pages 6 --types bfloat16 float32

The pages are of the halves of the recorded sessions that the reader's certainty was not calibrated on (every second
conversation or session; ``--half calibration`` takes the others), drawn as a memory draws them, in the tiers of the
mini's profile. A word outside of identifiers counts as prose; its marked characters are given as a share of all inked
ones.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import DATA
from benchmarks.own_pages.calibration import Judged, write
from optical_memory.formats import to_turns
from optical_memory.model import load_model
from optical_memory.model.mini.cells import Cells
from optical_memory.readers.fidelity import compare, page_identifiers
from optical_memory.readers.mini import mark
from optical_memory.renderers import ChromiumRenderer, png
from optical_memory.renderers.base import Grid, Layout
from optical_memory.renderers.layout import Run, lay_out
from optical_memory.turns import transcript

GRID = Grid(width=1280, height=1280, cell_width=12.5, cell_height=20)
TIERS = {"base": 1024, "small": 640, "tiny": 512}
SOURCES = ("customer service", "coding", "memory")
HALVES = {"calibration": 0, "held-out": 1}


def sessions(source: str, half: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the messages of one half of a source: all conversations in one, or a session of code each."""
    if source == "memory":
        files = sorted((DATA / "bfcl_memory").glob("conversation_*.jsonl"))
        rows = [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]
        yield [message for row in rows[half::2] for part in row["question"] for message in part]
        return
    name = {"customer service": "tau_bench/airline.jsonl", "coding": "coding_agent/sessions.jsonl"}[source]
    lines = (DATA / name).read_text("utf-8").splitlines()[half::2]
    found = [[m for m in json.loads(line)["messages"] if m["role"] != "system"] for line in lines]
    yield from found if source == "coding" else [list(chain.from_iterable(found))]


def layouts(source: str, half: int, pages: int, renderer: ChromiumRenderer) -> list[Layout]:
    """Return pages of a source, evenly out of all that it has."""
    every: list[Layout] = []
    for messages in sessions(source, half):
        runs = [
            Run(turn_id=turn.id, role=turn.role, header=header, text=text)
            for turn in to_turns(messages)
            for header, text in [transcript(turn)]
        ]
        every += lay_out(runs, GRID, renderer_key=renderer.key, repertoire=renderer.repertoire)
    places = np.linspace(0, len(every) - 1, min(pages, len(every))).astype(int)
    return [every[place] for place in places.tolist()]


def cells_of(side: int) -> Cells:
    """Return the mini's grid on a page of ``side`` px."""
    return Cells(width=12.5 * side / 1280, height=20 * side / 1280, columns=102, rows=64)


def row(model: Any, tier: str, drawn: list[tuple[Layout, bytes]]) -> str:
    """Read pages and return a row of the table."""
    side = TIERS[tier]
    cells = cells_of(side)
    right = characters = found = read = shown = silent = marked = prose = 0
    for layout, image in drawn:
        sheet = model.read(image, cells=cells)
        text, plain = mark(sheet)[0], mark(sheet, 0.0)[0]
        names = page_identifiers(layout.text)
        best, told = compare(layout.text, plain, names), compare(layout.text, text, names)
        right += best.length - best.edits
        characters += best.length
        found, read = found + told.identifiers, read + best.exact
        shown, silent = shown + told.exact, silent + told.silently_wrong
        lost = [word for word in text.split() if "\ufffd" in word and not any(c.isdigit() for c in word)]
        marked += sum(word.count("\ufffd") for word in lost)
        prose += int(sheet.inked.sum())
    named = max(found, 1)  # a page may hold none
    shares = (right / characters, read / named, shown / named, silent / named, marked / prose)
    return f"{tier:6} | {found:5} | " + " | ".join(f"{share:8.3%}" for share in shares)


def calibrate(chosen: argparse.Namespace, renderer: ChromiumRenderer) -> None:
    """Write how sure identifiers must be at each size (``optical_memory/model/mini/confidence.toml``)."""
    sizes: dict[tuple[float, float], list[Judged]] = {}
    model = load_model("mini", dtype=getattr(torch, chosen.types[0]))
    for source in chosen.sources:
        for page in layouts(source, HALVES[chosen.half], chosen.pages, renderer):
            for side in (TIERS[tier] for tier in chosen.tiers):
                cells = cells_of(side)
                image = png.encode(renderer.draw([page], size=(side, side))[0])
                judged = Judged.of(page, model.read(image, cells=cells))
                sizes.setdefault((cells.width, cells.height), []).append(judged)
    write(sizes, chosen.calibrate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=6, help="of each source")
    parser.add_argument("--types", nargs="+", default=["bfloat16"], choices=["bfloat16", "float32"])
    parser.add_argument("--tiers", nargs="+", default=list(TIERS), choices=list(TIERS))
    parser.add_argument("--sources", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    parser.add_argument("--half", default="held-out", choices=list(HALVES))
    parser.add_argument("--calibrate", type=Path, metavar="FILE", help="write how sure identifiers must be")
    chosen = parser.parse_args()
    renderer = ChromiumRenderer()
    if chosen.calibrate:
        calibrate(chosen, renderer)
        renderer.close()
        return
    print(f"{platform.machine()}, {time.strftime('%F')}, {chosen.pages} pages of each source, {chosen.half}")
    print(
        "source, type, tier | identifiers | characters right | read | shown and exact | silently wrong | prose marked"
    )
    for source in chosen.sources:
        pages = layouts(source, HALVES[chosen.half], chosen.pages, renderer)
        for tier in chosen.tiers:
            size = (TIERS[tier], TIERS[tier])
            drawn = [(page, png.encode(renderer.draw([page], size=size)[0])) for page in pages]
            for name in chosen.types:
                model = load_model("mini", dtype=getattr(torch, name))
                print(f"{source:16} {name:8} {row(model, tier, drawn)}", flush=True)
    renderer.close()


if __name__ == "__main__":
    main()
