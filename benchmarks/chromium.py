"""Chromium: pages a second at 1024² with a warm browser, text in and PNG bytes out, and memory over many pages.

python -m benchmarks.chromium [--pages 1000]

The processor time of the whole process tree says what two idle cores would give, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import time

import psutil

from benchmarks import ROOT
from optical_memory.renderers import ChromiumRenderer, png
from optical_memory.renderers.base import Grid
from optical_memory.renderers.layout import Run, lay_out

TOGETHER = 16
GRID = Grid(width=1024, height=1024, cell_width=10, cell_height=16)


def tree() -> list[psutil.Process]:
    """Return this process and all its children."""
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def resident_mb() -> float:
    """Return the resident memory of the process tree, shared pages counted each time, in MB."""
    return sum(process.memory_info().rss for process in tree()) / 1e6


def processor_seconds() -> float:
    """Return the processor time of the process tree; a tab that was closed keeps what it took in its parent's sum."""
    times = [process.cpu_times() for process in tree()]
    return sum(each.user + each.system + each.children_user + each.children_system for each in times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=1_000)
    options = parser.parse_args()
    text = "".join(path.read_text("utf-8") for path in sorted(ROOT.glob("optical_memory/**/*.py")))
    renderer = ChromiumRenderer()
    run = Run(turn_id="t", role="user", text=(text * 20)[: options.pages * GRID.capacity], header="user:")
    drawn, size = 0, 0
    renderer.draw(lay_out([Run(turn_id="t", role="user", text="warm")], GRID, renderer_key="w"), size=(1024, 1024))
    print(f"start: {resident_mb():.0f} MB resident in the process tree")
    start, start_processor = time.perf_counter(), processor_seconds()
    layouts = lay_out([run], GRID, renderer_key=renderer.key, repertoire=renderer.repertoire)[: options.pages]
    for first in range(0, len(layouts), TOGETHER):
        pages = png.paint(renderer, layouts[first : first + TOGETHER], size=(1024, 1024))
        size += sum(map(len, pages))
        if drawn < len(layouts) // 2 <= drawn + len(pages):
            print(f"middle: {resident_mb():.0f} MB")
        drawn += len(pages)
    seconds, processor = time.perf_counter() - start, processor_seconds() - start_processor
    print(f"end: {resident_mb():.0f} MB")
    print(
        f"{drawn} pages in {seconds:.1f} s: {drawn / seconds:.1f} pages/s (30 wanted), "
        f"{size / drawn / 1e3:.0f} KB a page"
    )
    print(
        f"{1e3 * processor / drawn:.1f} ms of processor a page: {2 * drawn / processor:.1f} pages/s on two idle cores"
    )
    renderer.close()


if __name__ == "__main__":
    main()
