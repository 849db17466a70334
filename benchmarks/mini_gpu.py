"""The mini's parallel head on one GPU: pages a second in batches, and the share of the device's matrix rate.

    python -m benchmarks.mini_gpu [--batch 256] [--seconds 75] [--json FILE]

Pages of 6,528 characters at Tiny (512 x 512 px), random ink, bfloat16, compiled; from ink to code points, each
character from the point nearest to the middle of its cell. Attention runs by the fastest of PyTorch's kernels for
windows of 64 patches. Small batches stay in the device's cache, so several sizes are measured. What fails is said and
left out. The rates of a product of 8192 x 8192 matrices and of copying memory are measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from optical_memory.model.mini import MiniNetwork, model, readout, weights
from optical_memory.model.mini.cells import Cells, filling
from optical_memory.model.mini.head import DOWN
from optical_memory.model.mini.reading import cell_points

SIDE = 512
KERNELS = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION)
Read = Callable[[Tensor], Tensor]


class Reader:
    """Reads batches of pages of one grid: only the points under the middles of cells go through the head."""

    def __init__(self, cells: Cells, device: str, dtype: torch.dtype) -> None:
        """Load the weights."""
        self.network = MiniNetwork()
        weights.load_weights(self.network, model.WEIGHTS)
        self.network.to(device, dtype).to(memory_format=torch.channels_last).eval().requires_grad_(False)
        across = SIDE // 2
        row, column = (part.long() for part in (cell_points(cells, SIDE) // across, cell_points(cells, SIDE) % across))
        self.rows = sorted(set((row % DOWN).tolist()))
        rank = torch.tensor([self.rows.index(one) for one in (row % DOWN).tolist()])
        self.points = ((row // DOWN * len(self.rows) + rank) * across + column).to(device)

    def read(self, ink: Tensor) -> Tensor:
        """Ink (B, 1, S, S) -> code points (B, cells)."""
        slots = self.network.head.slots(self.network.encoder(ink)[1], self.rows)[:, self.points]  # (B, cells, slot)
        return readout.best(self.network.head, slots)


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
    return statistics.median(times)


def limits() -> dict[str, float]:
    """Return what a bf16 matrix product, FLOP/s, and a copy, bytes read and written a second, reach."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in "ab")
    matrix = 2 * 8192**3 / seconds(lambda: a @ b, 20)
    wide = torch.zeros(1 << 30, device="cuda", dtype=torch.bfloat16)
    return {"matrix_tflops": matrix / 1e12, "copy_tb_per_second": 2 * wide.nbytes / seconds(wide.clone, 10) / 1e12}


def attention(windows: int = 4096) -> tuple[SDPBackend, dict[str, float]]:
    """Return the fastest kernel for attention in windows, and each one's milliseconds for the windows of 256 pages."""
    q, k, v = torch.randn(windows, 64, 3, 5, 64, device="cuda", dtype=torch.bfloat16).permute(2, 0, 3, 1, 4)
    took: dict[SDPBackend, float] = {}
    for kernel in KERNELS:
        try:
            with sdpa_kernel(kernel):
                took[kernel] = seconds(lambda: F.scaled_dot_product_attention(q, k, v), 10) * 1e3
        except RuntimeError as error:
            print(f"{kernel.name}: {str(error).splitlines()[0]}", flush=True)
    return min(took, key=lambda kernel: took[kernel], default=SDPBackend.MATH), {
        kernel.name: time for kernel, time in took.items()
    }


def recorded(read: Read, ink: Tensor) -> Callable[[], object]:
    """Return a call that replays the reading of a batch as one CUDA graph."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        read(ink)
    return graph.replay


class Table:
    """Measures ways of reading within a time, and keeps what was measured."""

    def __init__(self, reader: Reader, budget: float) -> None:
        """Count what a page costs; ``budget`` is in seconds from now."""
        self.reader, self.ends = reader, time.monotonic() + budget
        with FlopCounterMode(display=False) as counter:
            reader.read(ink_of(8))
        self.flop_per_page = counter.get_total_flops() / 8
        self.rows: list[dict[str, float | str]] = []

    def add(self, name: str, batches: Sequence[int], options: dict[str, str | int | bool | Callable[..., Any]]) -> None:
        """Compile a way of reading, for batches of any size where several are named, and measure it.

        Each is measured as it is and recorded as a graph. What goes wrong is printed.
        """
        left = int(self.ends - time.monotonic())
        if left < 15:
            print(f"{name}: left out, no time", flush=True)
            return
        signal.alarm(left)
        try:
            torch.compiler.reset()
            started = time.perf_counter()
            read = torch.compile(self.reader.read, dynamic=False if len(batches) == 1 else None, fullgraph=True,
                                 options=options or None)  # fmt: skip
            for batch in batches:
                self._measure(name, read, batch, started)
                started = time.perf_counter()
        except Exception as error:  # a way that fails is no reason to lose the others
            print(f"{name}: {type(error).__name__}: {str(error)[:300]}", flush=True)
        finally:
            signal.alarm(0)

    def _measure(self, name: str, read: Read, batch: int, started: float) -> None:
        ink = ink_of(batch)
        torch._dynamo.maybe_mark_dynamic(ink, 0)
        read(ink)
        torch.cuda.synchronize()
        compiled = time.perf_counter() - started
        self._note(name, batch, compiled, seconds(lambda: read(ink), 20))
        self._note(f"{name}, as a graph", batch, compiled, seconds(recorded(read, ink), 20))

    def _note(self, name: str, batch: int, compiled: float, took: float) -> None:
        row: dict[str, float | str] = {
            "way": name,
            "batch": batch,
            "pages_per_second": batch / took,
            "tflops": self.flop_per_page * batch / took / 1e12,
            "compile_seconds": compiled,
            "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
        }
        self.rows.append(row)
        print(
            f"{name:36} batch {batch:4d}  {batch / took:8,.0f} pages/s  {row['tflops']:6.1f} TFLOP/s"
            f"  (compiled in {compiled:.0f} s)",
            flush=True,
        )


def ink_of(batch: int) -> Tensor:
    """Return random ink."""
    ink = torch.rand(batch, 1, SIDE, SIDE, device="cuda", dtype=torch.bfloat16)
    return ink.to(memory_format=torch.channels_last)


@torch.inference_mode()
def measure(batch: int, budget: float) -> dict[str, object]:
    """Read batches of pages in several ways; return the figures, the best way's beside all."""
    table = Table(Reader(filling(SIDE, 5.0, 8.0), "cuda", torch.bfloat16), budget)
    kernel, kernels = attention()
    print(f"attention in windows, ms a layer for 256 pages: {kernels}", flush=True)
    with sdpa_kernel([kernel, SDPBackend.MATH]):
        table.add("compiled", (batch,), {})
        table.add("compiled for any batch", (16, 32, 64, 128, 512), {})
        table.add("compiled, kernels tuned", (batch,), {"coordinate_descent_tuning": True})
        table.add("compiled, products tuned", (batch,), {"max_autotune_gemm": True})
    found = limits()
    best = max(table.rows, key=lambda row: float(row["pages_per_second"]), default={})
    share = float(best.get("tflops", 0)) / found["matrix_tflops"]
    return {
        "device": torch.cuda.get_device_name(),
        **best,
        "gflop_per_page": table.flop_per_page / 1e9,
        **found,
        "share": share,
        "ways": table.rows,
        "attention_ms": kernels,
    }


def stop(*_: object) -> None:
    """End a compilation that takes too long."""
    raise TimeoutError("took too long")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256, help="pages of a batch where the compiler is told the number")
    parser.add_argument("--seconds", type=float, default=75, help="time for compiling and measuring")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, stop)
    figures = measure(options.batch, options.seconds)
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
