"""Part of ``benchmarks.gpu`` on the encoder: pages of every mode, in the three ways that the encoder can be run."""

from __future__ import annotations

import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.counts import encoder_flops, squares
from optical_memory.model.blocks import ATTENTION, Layers, Mlp
from optical_memory.model.image import MODES
from optical_memory.model.ocr import DeepseekOcr

WAYS = ("eager", "default", "compiled")
"""Every score written out and layers as written; the model as it comes; the model after ``compile()``."""


def set_way(model: DeepseekOcr, way: str) -> None:
    """Let the model's encoder run in one of :data:`WAYS`."""
    for module in model.encoder.modules():
        if hasattr(module, "attend"):
            module.attend = ATTENTION["eager" if way == "eager" else "fused"]  # type: ignore[assignment]
        if isinstance(module, Mlp):
            module.gelu_in_product = way != "eager"
        if isinstance(module, Layers):
            module.in_place = way != "eager"
            for layer in module:
                layer._compiled_call_impl = None
    if way == "compiled" and model.device.type == "cuda":
        model.compile()


def encoder(bench: Bench, model: DeepseekOcr) -> None:
    """Encode pages of every mode in every way."""
    modes = ["base", "small", "gundam", "tiny", "large"] if not bench.tiny else ["tiny"]
    for way in WAYS:
        measure(bench, model, way, modes)
    set_way(model, "default")


def measure(bench: Bench, model: DeepseekOcr, way: str, modes: list[str]) -> None:
    """Time one way in some modes; Gundam's squares are those of other modes and not timed anew."""
    set_way(model, way)
    known: dict[int, float] = {}  # seconds a square, by its side
    for name in modes:
        with bench.section(f"encoder {name} {way}") as found:
            flops = seconds = 0.0
            for side, count in squares(MODES[name]):
                batch = 2 if bench.tiny else max(1, (4 if way == "eager" else bench.pages) * 1024**2 // side**2)
                if side not in known:
                    known[side], tokens = timed(bench, model, side, batch)
                    if way == "eager":
                        bench.tokens[side] = tokens
                    elif side in bench.tokens:
                        found["distance"] = float((tokens - bench.tokens[side]).norm() / bench.tokens[side].norm())
                seconds += known[side] * count
                flops += encoder_flops(model.config, side) * count
                found["batch"] = batch
            found |= {"pages_per_second": 1 / seconds, "tflop_per_page": flops / 1e12}
            found["share_of_matrix_rate"] = flops / seconds / 1e12 / bench.results["ceilings"]["matrix_tflops"]
            plain = found if way == "eager" else bench.results.get(f"encoder {name} eager", {})
            if "pages_per_second" in plain:
                found["over_eager"] = found["pages_per_second"] / plain["pages_per_second"]


def timed(bench: Bench, model: DeepseekOcr, side: int, batch: int) -> tuple[float, torch.Tensor]:
    """Return the seconds of a square, of a batch of noise, and the first one's tokens, the same noise in every way."""
    known = torch.Generator(bench.device).manual_seed(1)
    pixels = torch.rand(batch, 3, side, side, device=bench.device, dtype=bench.dtype) * 2 - 1
    pixels[0] = torch.rand(3, side, side, device=bench.device, dtype=bench.dtype, generator=known) * 2 - 1
    seconds = bench.seconds(lambda: model.vision_tokens(pixels), repeat=5)
    return seconds / batch, model.vision_tokens(pixels)[0].float()


def check_encoder(bench: Bench, model: DeepseekOcr) -> None:
    """Compare the tokens of the encoder as it comes with the plain way's, on random input."""
    with bench.section("check of encoder") as found:
        side = 1024 if bench.device.type == "cuda" else 128
        pixels = torch.rand(1, 3, side, side, device=bench.device, dtype=bench.dtype) * 2 - 1
        tokens = []
        for way in ("eager", "default"):
            set_way(model, way)
            tokens.append(model.vision_tokens(pixels).float())
        found["encoder_error"] = float((tokens[0] - tokens[1]).norm() / tokens[0].norm())
