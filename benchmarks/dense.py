"""How fast the dense renderer makes pages on one core: text in, PNG bytes out, layout and page ids included.

    python -m benchmarks.dense

The text is that of the coding sessions beside the checkout or, without them, this package's source. Each rate
is the median over some seconds of rounds, the first left out, in which glyphs are fetched. One thread does all the
work, so that pages per CPU second are what an idle core would give.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import optical_memory
from benchmarks import DATA
from optical_memory.renderers import DenseRenderer, png
from optical_memory.renderers.base import Grid
from optical_memory.renderers.layout import Run, lay_out

SESSIONS = DATA / "coding_agent/sessions.jsonl"
MINI = Grid(width=1280, height=1280, cell_width=12.5, cell_height=20)
DEEPSEEK_OCR = Grid(width=1280, height=1280, cell_width=15, cell_height=25)
CASES: tuple[tuple[str, Grid, tuple[int, int], int], ...] = (
    ("1568x728, cells 5x8", Grid(width=1568, height=728, cell_width=5, cell_height=8), (1568, 728), 300),
    ("1024x1024, cells 10x16", Grid(width=1024, height=1024, cell_width=10, cell_height=16), (1024, 1024), 300),
    ("mini, base 1024x1024", MINI, (1024, 1024), 300),
    ("mini, tiny 512x512", MINI, (512, 512), 0),
    ("mini, small 640x640", MINI, (640, 640), 0),
    ("mini, large 1280x1280", MINI, (1280, 1280), 0),
    ("deepseek-ocr, tiny 512x512", DEEPSEEK_OCR, (512, 512), 0),
    ("deepseek-ocr, base 1024x1024", DEEPSEEK_OCR, (1024, 1024), 300),
)


def real_text() -> tuple[str, str]:
    """Return text, and where it is from."""
    if SESSIONS.is_file():
        messages = [m for line in SESSIONS.open() for m in json.loads(line)["messages"]]
        return "\n".join(m["content"] for m in messages if isinstance(m.get("content"), str)), "coding sessions"
    sources = sorted(Path(optical_memory.__file__).parent.rglob("*.py"))
    return "\n".join(path.read_text() for path in sources), "the package's source"


def measure(text: str, grid: Grid, size: tuple[int, int], pages: int, seconds: float) -> dict[str, float]:
    """Return medians of pages a second of wall time and of CPU time, and characters and bytes a page."""
    renderer = DenseRenderer()
    text = (text * (grid.capacity * pages // len(text) + 1))[: grid.capacity * pages]
    rounds: list[tuple[float, float]] = []
    files: list[bytes] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(rounds) < 3:
        start, start_cpu = time.perf_counter(), time.process_time()
        # A document is laid out as a whole; a page's raster is gone before the next one is drawn.
        layouts = lay_out([Run(turn_id="text", role="user", text=text)], grid, renderer_key=renderer.key)
        files = [png.encode(renderer.draw([layout], size=size)[0]) for layout in layouts]
        rounds.append((time.perf_counter() - start, time.process_time() - start_cpu))
    wall, cpu = (statistics.median(times) for times in zip(*rounds[1:], strict=True))
    return {
        "pages_per_second": len(files) / wall,
        "pages_per_cpu_second": len(files) / cpu,
        "characters": len(text) / len(files),
        "bytes": sum(map(len, files)) / len(files),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each case")
    parser.add_argument("--pages", type=int, default=20, help="pages of a document")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    text, source = real_text()
    results: list[dict[str, Any]] = [
        {"case": name, "aim": aim} | measure(text, grid, size, options.pages, options.seconds)
        for name, grid, size, aim in CASES
    ]
    if options.json:
        print(json.dumps({"text": source, "cases": results}, indent=2))
        return
    print(f"text: {source}; one core")
    print(f"{'case':30} {'pages/s':>8} {'pages/CPU s':>12} {'aim':>5} {'M characters/s':>15} {'KB a page':>10}")
    for case in results:
        rate, cpu_rate = case["pages_per_second"], case["pages_per_cpu_second"]
        millions, size = rate * case["characters"] / 1e6, case["bytes"] / 1000
        print(f"{case['case']:30} {rate:8.0f} {cpu_rate:12.0f} {case['aim'] or '':>5} {millions:15.1f} {size:10.1f}")


if __name__ == "__main__":
    main()
