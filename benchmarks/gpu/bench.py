"""What every part needs: the device and its rates, time and memory measured, results kept at once."""

from __future__ import annotations

import gc
import json
import platform
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from optical_memory.model import build
from optical_memory.model.ocr import DeepseekOcr

TINY: dict[str, Any] = {
    "vocab_size": 200,
    "hidden_size": 64,
    "intermediate_size": 64,
    "moe_intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "max_position_embeddings": 512,
    "vision_config": {
        "width": {
            "sam_vit_b": {"width": 16, "layers": 2, "heads": 2, "global_attn_indexes": [1], "neck_channels": 8}
            | {"downsample_channels": [8, 16]},
            "clip-l-14-224": {"width": 16, "layers": 1, "heads": 2},
        }
    },
}


class Bench:
    """The device, its two rates, the results so far, and the time that is left."""

    def __init__(self, *, tiny: bool, seconds: float, out: Path | None = None, pages: int = 32) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() and not tiny else "cpu")
        self.dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        self.tiny, self.pages = tiny, pages
        self.sizes = TINY if tiny else {}
        self.start = time.monotonic()
        self.end, self.out = self.start + seconds, out
        self.tokens: dict[int, torch.Tensor] = {}  # the plain encoder's for a square, by its side
        self.results: dict[str, Any] = {"device": self.name(), "torch": torch.__version__, "date": time.strftime("%F")}

    def name(self) -> str:
        """Say what the figures are measured on."""
        return torch.cuda.get_device_name() if self.device.type == "cuda" else platform.processor() or "CPU"

    def wait(self) -> None:
        """Let the device finish."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, run: Callable[[], Any], *, repeat: int = 5, warm: int = 2) -> float:
        """Median wall time of a run in seconds, the device waited for."""
        for _ in range(1 if self.tiny else warm):
            run()
        times = []
        for _ in range(2 if self.tiny else repeat):
            self.wait()
            start = time.perf_counter()
            run()
            self.wait()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def model(self, **options: Any) -> DeepseekOcr:
        """Build a model; its random values are made on the device."""
        return build("deepseek-ocr", device=self.device, dtype=self.dtype, **self.sizes, **options)

    @contextmanager
    def section(self, name: str) -> Iterator[dict[str, Any]]:
        """Collect figures under ``name``; a failure is recorded and the rest goes on; peak memory is measured.

        Raises TimeoutError when the time for beginning sections is over.
        """
        if time.monotonic() > self.end and "ceilings" in self.results:
            raise TimeoutError(f"no time left to begin {name!r}")
        found: dict[str, Any] = {}
        start = time.perf_counter()
        self.clear()
        try:
            yield found
        except Exception as error:
            if isinstance(error, TimeoutError):
                raise
            self.failed(found, error)
        self.record(name, found, start)

    def part(self, name: str, run: Callable[[Bench, DeepseekOcr], None], model: DeepseekOcr) -> None:
        """Run one part; what stops it is recorded."""
        found: dict[str, Any] = {}
        start = time.perf_counter()
        try:
            run(self, model)
        except Exception as error:
            self.failed(found, error)
        self.record(f"part {name}", found, start)

    def failed(self, found: dict[str, Any], error: Exception) -> None:
        """Note an error, and let go of what it holds on the device."""
        found["error"] = f"{type(error).__name__}: {error}"[:600]
        traceback.clear_frames(error.__traceback__)

    def ran_out(self, name: str) -> bool:
        """Say whether the device was too small for a section."""
        return "OutOfMemory" in self.results[name].get("error", "")

    def record(self, name: str, found: dict[str, Any], start: float) -> None:
        """Keep the figures of what began at ``start``, print them, and write the file anew."""
        if self.device.type == "cuda":
            found["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        found["took_seconds"] = round(time.perf_counter() - start, 1)
        self.results[name] = found
        self.results["seconds"] = round(time.monotonic() - self.start, 1)
        print(name, json.dumps(found), flush=True)
        if self.out:
            self.out.write_text(json.dumps(self.results, indent=1))

    def clear(self) -> None:
        """Give back memory that nothing uses any more, and begin to measure the peak anew."""
        if self.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def ceilings(bench: Bench) -> None:
    """Measure the matrix rate (FLOP/s) and the copy rate (bytes read and written a second)."""
    with bench.section("ceilings") as found:
        side, count = (128, 2**16) if bench.tiny else (8192, 2**31)
        a, b = (torch.randn(side, side, device=bench.device, dtype=bench.dtype) for _ in range(2))
        found["matrix_tflops"] = 2 * side**3 / bench.seconds(lambda: a @ b, repeat=20) / 1e12
        source = torch.randn(count // 8, device=bench.device).repeat(4)
        target = torch.empty_like(source)
        found["copy_tbps"] = 2 * source.nbytes / bench.seconds(lambda: target.copy_(source), repeat=10) / 1e12
