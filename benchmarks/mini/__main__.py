"""How the bundled model reads: characters, identifiers, silent errors and seconds, by tier, script, renderer and font.

    python -m benchmarks.mini [--quick] [--pages 4] [--only TEXT] [--fonts FOLDER]... [--json FILE] [--plots FOLDER]
    python -m benchmarks.mini --calibrate optical_memory/model/mini/confidence.toml

Natural text comes from the transcripts of ../shared/data, which no training source holds; random text and
identifiers are drawn with a fixed seed. Pages are read from their images alone, on two threads of the CPU.
Precision is 1 - edit distance / length, whitespace kept. Chromium's rows need a browser, held-out fonts their files.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.mini.calibration import calibrate
from benchmarks.mini.decoder import decoding
from benchmarks.mini.finding import finding
from benchmarks.mini.floors import floors
from benchmarks.mini.pages import cases
from benchmarks.mini.plots import draw
from benchmarks.mini.score import Bench, Row
from benchmarks.mini.speed import seconds
from optical_memory.errors import OpticalMemoryError
from optical_memory.readers.mini import MiniReader


def options() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the most telling rows, one page each: about two minutes")
    parser.add_argument("--pages", type=int, help="pages per row (4; 1 with --quick), of identifiers twice as many")
    parser.add_argument("--only", default="", help="only rows whose name holds this")
    parser.add_argument("--fonts", type=Path, action="append", help="folder with held-out fonts, beside the system's")
    parser.add_argument("--json", type=Path, help="write the rows to a file")
    parser.add_argument("--plots", type=Path, help="draw plots into a folder")
    parser.add_argument("--calibrate", type=Path, metavar="FILE", help="measure the mark's thresholds, write them, end")
    return parser.parse_args()


def run(bench: Bench, only: str, fonts: list[Path], quick: bool) -> list[Row]:
    """Measure and print the rows chosen; what cannot be drawn on this machine is said and left out."""
    rows = []
    for case in cases(fonts):
        if only not in case.name or (quick and not case.quick):
            continue
        for kind in case.kinds:
            try:
                rows.append(bench.row(case, kind))
            except OpticalMemoryError as error:
                print(f"{case.name:26} {kind:8} left out: {error}", flush=True)
                break
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Run the benchmark."""
    chosen = options()
    torch.set_num_threads(2)
    reader = MiniReader()
    fonts = [Path("/usr/share/fonts"), *(chosen.fonts or [])]
    pages = chosen.pages or (1 if chosen.quick else 4)
    bench = Bench(reader.model, pages)
    if chosen.calibrate:
        calibrate(bench, chosen.calibrate, fonts)
        bench.close()
        return
    rows = run(bench, chosen.only, fonts, chosen.quick)
    bench.close()
    error = bench.judged.calibration_error() if rows else None
    if rows:
        print(f"expected calibration error over all rows {error:.5f}; loops {sum(row.loops for row in rows)}")
    tiers = {row.page: row.precision for row in rows if row.group == "tier" and row.text == "random"}
    if tiers:
        print("legibility (profiles.toml): " + ", ".join(f"{name[5:]} {share:.4f}" for name, share in tiers.items()))
    found = finding(reader.model, 2 * pages) if chosen.only in "find" else []
    said = decoding(MiniReader(threshold=0.0), 1 if chosen.quick else 2) if chosen.only in "decoder" else []
    times = seconds(reader, 10 if chosen.quick else 40) if chosen.only in "seconds" else {}
    asked = list(floors(rows, found, said, times))
    print("\n".join(("", f"{'floor':58} | {'asked':>8} | {'measured':>12} | met", *map(str, asked))))
    if chosen.json:
        result = {
            "rows": [asdict(row) for row in rows],
            "find": found,
            "decoder": said,
            "seconds": times,
            "calibration_error": error,
            "floors": [{**asdict(floor), "met": floor.met} for floor in asked],
        }
        chosen.json.write_text(json.dumps(result, indent=1) + "\n")
    if chosen.plots:
        draw(rows, bench.judged, chosen.plots)


if __name__ == "__main__":
    main()
