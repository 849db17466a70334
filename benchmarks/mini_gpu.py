"""The mini's parallel head on one GPU: pages a second in batches, and the share of the device's matrix rate.

    python benchmarks/mini_gpu.py [--batch 256] [--json FILE]

Pages of 6,528 characters at Tiny (512 x 512 px), random ink, bfloat16, compiled; from ink to code points. The rate of a
product of 8192 x 8192 matrices is measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from optical_memory.model.mini import MiniNetwork, model, readout, weights
from optical_memory.model.mini.cells import filling
from optical_memory.model.mini.reading import cell_points


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call on the device, in seconds."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


def matrix_rate() -> float:
    """Return what a bf16 matrix product reaches, FLOP/s."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in "ab")
    return 2 * 8192**3 / seconds(lambda: a @ b, 20)


@torch.inference_mode()
def measure(batch: int) -> dict[str, float | str]:
    """Read batches of pages; return the figures."""
    network = MiniNetwork()
    weights.load_weights(network, model.WEIGHTS)
    network.to("cuda", torch.bfloat16).eval()
    points = cell_points(filling(512, 5.0, 8.0), 512).to("cuda")
    ink = torch.rand(batch, 1, 512, 512, device="cuda", dtype=torch.bfloat16)

    def read(ink: torch.Tensor) -> torch.Tensor:
        slots = network(ink)[:, points]  # (B, cells, slot)
        return readout.best(network.head, slots.flatten(0, 1))

    with FlopCounterMode(display=False) as counter:
        read(ink)
    compiled = torch.compile(read, dynamic=False)
    took = seconds(lambda: compiled(ink), 20)
    rate = matrix_rate()
    flops = counter.get_total_flops()
    return {
        "device": torch.cuda.get_device_name(),
        "pages_per_second": batch / took,
        "gflop_per_page": flops / batch / 1e9,
        "tflops": flops / took / 1e12,
        "matrix_tflops": rate / 1e12,
        "share": flops / took / rate,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options.batch)
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
