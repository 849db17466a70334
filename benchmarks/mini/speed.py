"""How many seconds the bundled model takes for a page, and for a memory of many, on the CPU."""

from __future__ import annotations

import statistics
import time

from rich.progress import track

from benchmarks.mini.pages import MINI
from benchmarks.mini.text import layouts
from optical_memory.readers.mini import MiniReader
from optical_memory.renderers import DenseRenderer, png


def seconds(reader: MiniReader, pages: int = 40) -> dict[str, float]:
    """Return seconds of one Tiny page of 6,528 characters, and of a memory of 40 read one after the other."""
    sheets = layouts("natural", MINI, pages)
    images = [png.encode(raster) for raster in DenseRenderer().draw(sheets, size=(512, 512))]
    single = []
    for image in images[:10]:
        started = time.perf_counter()
        reader.read(image)
        single.append(time.perf_counter() - started)
    started = time.perf_counter()
    for _ in track(reader.read_all(images), description=f"{pages} Tiny pages", total=pages):
        continue
    whole = time.perf_counter() - started
    print(f"a Tiny page {statistics.median(single):.3f} s (least {min(single):.3f}), {pages} pages {whole:.1f} s")
    return {"page": statistics.median(single), "least": min(single), "pages": float(pages), "all": whole}
