"""The mini's decoder beside its read-out head: the same pages, token by token."""

from __future__ import annotations

import statistics

import bpe_openai

from benchmarks.mini.pages import MINI, cell
from benchmarks.mini.score import loops
from benchmarks.mini.text import layouts
from optical_memory.readers.fidelity import precision
from optical_memory.readers.mini import MiniReader
from optical_memory.renderers import DenseRenderer, png


def decoding(reader: MiniReader, pages: int) -> list[dict[str, object]]:
    """Return, by cell and kind of text, the precision of head and decoder and the decoder's seconds a page."""
    encoding = bpe_openai.get_encoding("o200k_base")
    rows: list[dict[str, object]] = []
    for name, grid in (("decoder 8x12", cell(8, 12)), ("decoder 6x10", cell(6, 10)), ("decoder tiny", MINI)):
        for kind in ("natural", "words", "random", "hex") if name == "decoder 8x12" else ("natural", "random", "hex"):
            sheets = layouts(kind, grid, pages)
            images = [png.encode(raster) for raster in DenseRenderer().draw(sheets, size=(512, 512))]
            head = [reader.read(image) for image in images]
            said = [reader.read(image, autoregressive=True) for image in images]
            row: dict[str, object] = {
                "page": name,
                "text": kind,
                "text_tokens": statistics.mean(len(encoding.encode(sheet.text)) for sheet in sheets),
                "head": statistics.mean(precision(s.text, r.text) for s, r in zip(sheets, head, strict=True)),
                "decoder": statistics.mean(precision(s.text, r.text) for s, r in zip(sheets, said, strict=True)),
                "loops": sum(loops(r.text) and not loops(s.text) for s, r in zip(sheets, said, strict=True)),
                "seconds": statistics.median(reading.seconds for reading in said),
            }
            rows.append(row)
            print(f"{name:26} {kind:8} {row['text_tokens']:6.0f} text tokens  head {row['head']:.5f}"
                  f"  decoder {row['decoder']:.5f}  {row['seconds']:.2f} s", flush=True)  # fmt: skip
    return rows
