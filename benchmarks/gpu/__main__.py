"""DeepSeek-OCR at its real sizes with random weights on one GPU: encoder, prefill, decoding, whole pages.

    python -m benchmarks.gpu --out gpu.json          # a CUDA device of 80 GB; two to three minutes
    python -m benchmarks.gpu --parts encoder single  # some parts alone
    python -m benchmarks.gpu --tiny                  # any machine: the same code at toy sizes, for the tests

Every rate stands beside what the device itself does in the same run: a matrix product (bf16, random data) and a copy.
A part that fails, for memory or time, is recorded as such and the others go on; each section is printed and the file
written as it ends. Batches that do not fit are made smaller until one does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.bench import Bench, ceilings
from benchmarks.gpu.decoder import batched, check_steps, prefilling, single
from benchmarks.gpu.encoder import check_encoder, encoder
from benchmarks.gpu.table import table
from benchmarks.gpu.whole import against_transformers, whole_pages
from optical_memory.model.ocr import DeepseekOcr


def check(bench: Bench, model: DeepseekOcr) -> None:
    """Compare what the fast paths compute with the plain ones."""
    check_steps(bench, model)
    check_encoder(bench, model)


PARTS: dict[str, Callable[[Bench, DeepseekOcr], None]] = {
    "check": check,
    "single": single,
    "batched": batched,
    "prefill": prefilling,
    "whole": whole_pages,
    "encoder": encoder,
    "transformers": against_transformers,
}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run everything; return and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="toy sizes on the CPU")
    parser.add_argument("--seconds", type=float, default=240, help="begin no section after this time")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="run only these")
    parser.add_argument("--pages", type=int, default=32, help="pages of Base that the encoder takes at once")
    chosen = parser.parse_args(arguments)
    torch.manual_seed(0)
    bench = Bench(tiny=chosen.tiny, seconds=chosen.seconds, out=chosen.out, pages=chosen.pages)
    ceilings(bench)
    model = bench.model()
    model.ready(model.decoder, model.encoder)
    for name in chosen.parts:
        bench.part(name, PARTS[name], model)
    print(table(bench.results))
    return bench.results


if __name__ == "__main__":
    main(sys.argv[1:])
